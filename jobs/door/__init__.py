"""What all doors share; every other file of `jobs` is a door."""
