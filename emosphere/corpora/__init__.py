"""Labelled corpora as their makers ship them, read into rows of the canonical manifest; one corpus per file."""
