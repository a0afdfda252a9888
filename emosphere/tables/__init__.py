"""The published tables: every column, and the names of recordings."""
