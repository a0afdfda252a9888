"""The published tables: every column, the names of recordings, the columns of a VAD point."""
