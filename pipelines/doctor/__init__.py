"""What would fail, before it does."""
