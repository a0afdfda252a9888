"""Emotion words and the points of the scale that people gave them: weak labels for acted speech."""

from typing import Final

MEAN_VAD: Final[dict[str, tuple[float, float, float]]] = {
    "anger": (-0.51, 0.59, 0.25),
    "happiness": (0.81, 0.51, 0.46),
    "sadness": (-0.63, -0.27, -0.33),
    "fear": (-0.64, 0.60, -0.43),
    "disgust": (-0.60, 0.35, 0.11),
    "surprise": (0.40, 0.67, -0.13),
    "boredom": (-0.65, -0.62, -0.33),
    "calm": (0.68, -0.46, 0.06),
    "neutral": (0.0, 0.0, 0.0),
}
"""Centred (V, A, D) that people gave to each emotion word: Russell & Mehrabian (1977), their "relaxed" for calm.

Weak labels: means over a word, not ratings of these voices. Their dominance is nearly a copy of valence."""

EMOTIONS: Final = tuple(MEAN_VAD)
"""Emotion words; a category label is an index into them."""

STRONG: Final = 1.0
"""Share of the mean for an emotion acted strongly."""
OTHERWISE: Final = 0.75
"""Share of the mean for any other intensity, also one the corpus does not give."""


def weak_vad(emotion: str, intensity: str) -> tuple[float, float, float]:
    """Target of an acted emotion: the word's mean, whole where acted strongly, three quarters otherwise.

    >>> weak_vad("sadness", "strong")
    (-0.63, -0.27, -0.33)
    """
    share = STRONG if intensity == "strong" else OTHERWISE
    valence, arousal, dominance = MEAN_VAD[emotion]
    return (share * valence, share * arousal, share * dominance)
