"""A checkpoint and labelled clips -> figures and a page."""
