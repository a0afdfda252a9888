"""Losses as pure functions: concordance over VAD, weighted cross entropy over classes."""
