"""What can be asked of a scorer: how speech is found, how much is computed at once."""

import math
from dataclasses import dataclass, field

from emosphere.errors import UsageError
from emosphere.model.architecture import Precision
from emosphere.model.description import Description
from emosphere.speech.cells import CellGrid
from emosphere.speech.cut_segments import SegmentConfig
from emosphere.speech.quality import QualityConfig


@dataclass(frozen=True, kw_only=True, slots=True)
class SpeechSettings:
    """How speech is found and cut. Every field can change a row, so all of them are in the settings digest."""

    find_speech: bool = True
    """Whether speech is looked for. False takes all audio for speech, cut evenly: for archives of utterances."""
    grid: CellGrid = field(default_factory=CellGrid)
    """The absolute grid that speech activity runs on."""
    segment: SegmentConfig = field(default_factory=SegmentConfig)
    """Where segments begin and end."""
    quality: QualityConfig = field(default_factory=QualityConfig)
    """What makes confidence low."""

    def check_model(self, model: Description) -> None:
        """Raise UsageError where a segment could be longer than what ``model`` was trained to hear at once."""
        if self.segment.max_s > model.config.max_clip_s:
            raise UsageError(
                f"[listen.segment] max_s={self.segment.max_s}: the model {model.name} was trained on clips of at most "
                f"{model.config.max_clip_s} s and cannot hear longer segments. Set max_s to {model.config.max_clip_s} "
                "or less, or take a model that was trained on longer clips."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class BatchSettings:
    """How much is held and computed at once. Only ``precision`` changes a row, and then the settings digest too."""

    batch_s: float = 40.0
    """Seconds of audio, padding included, that go through the network at once. On a CPU more than about a minute leaves
    its caches and is slower; a GPU wants several hundred."""
    pool_s: float | None = None
    """Seconds of segments gathered before they are sorted by length into batches; None takes 32 batches' worth, so that
    a batch holds segments of nearly one length, and little padding."""
    cells: int = 8
    """Cells that speech activity hears at once."""
    precision: Precision = "float32"
    """Of a pretrained encoder (WavLM, wav2vec 2.0, HuBERT). ``bfloat16`` is for GPUs and CPUs with AMX; others are
    far slower at it. It moved scores by up to 0.008 where that was measured, and by 0.001 with what shared a batch: ten
    times what is promised of rows, hence not the default."""

    def __post_init__(self) -> None:
        if not 0 < self.batch_s < math.inf:
            raise ValueError(f"batch_s={self.batch_s} must be above 0 and finite.")
        if self.pool_s is not None and not 0 <= self.pool_s < math.inf:
            raise ValueError(f"pool_s={self.pool_s} must be at least 0 and finite, or left out.")
        if self.cells < 1:
            raise ValueError(f"cells={self.cells} must be at least 1.")
