"""A grid of trainings -> a table of figures."""
