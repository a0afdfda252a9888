"""How a network is fitted: one update, one epoch, over any source of clips. Knows neither Ray nor storage."""

from emosphere.training.answers import Answers, answers_for
from emosphere.training.fit import Fit
from emosphere.training.fit_config import FitConfig

__all__ = ["Answers", "Fit", "FitConfig", "answers_for"]
