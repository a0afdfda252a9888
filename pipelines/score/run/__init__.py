"""From the parts of a plan to staged rows: the engine, the actor that it runs, and what decodes for it."""
