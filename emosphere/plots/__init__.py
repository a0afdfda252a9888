"""Pictures as SVG text, for every page."""
