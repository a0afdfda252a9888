"""A labelled corpus -> a manifest, decoded clips beside it."""
