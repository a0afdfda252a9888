"""Speech to emotion: torch modules that compose by configuration, and the folders that hold trained ones."""
