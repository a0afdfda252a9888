"""From the parts of a plan to staged rows: the Ray Data chain, its actor, and what decodes for it."""
