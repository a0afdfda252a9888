"""From what the archive holds to parts of bounded work."""
