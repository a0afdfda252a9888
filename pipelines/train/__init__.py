"""Labelled clips -> a checkpoint, on Ray Train."""
