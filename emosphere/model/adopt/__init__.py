"""Checkpoints that others published, converted once into the folder format of this project. Evidence: docs/adopt.md."""
