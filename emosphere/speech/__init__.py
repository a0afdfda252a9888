"""Samples -> segments of speech, with what their sound is worth."""
