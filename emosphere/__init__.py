"""Perceived vocal emotion of speech as valence, arousal and dominance, with times."""
