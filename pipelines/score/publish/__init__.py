"""From staged rows to the published tables."""
