"""The doors: one file per verb that parses a command line, calls one pipeline and prints."""
