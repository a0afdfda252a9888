"""The model card that a checkpoint carries."""
