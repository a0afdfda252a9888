"""The three dimensions of emotion and their one order.

VAD means valence, arousal, dominance everywhere in this house. Finding speech in a recording is *speech activity*.
"""

from typing import Final

VAD_DIMS: Final = ("valence", "arousal", "dominance")
"""Order of the last axis of every VAD tensor; in tables the dimensions go by these names."""
