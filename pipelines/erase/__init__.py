"""A recording -> gone from every table, version and run."""
