"""Where it runs: resources, the host's facts, scratch disk."""
