"""Bytes of any container -> samples on the recording's own clock."""
