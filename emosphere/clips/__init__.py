"""Labelled clips: their manifest, and the batches that a training is fed."""
