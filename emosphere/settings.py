"""What can be asked of a scorer: how speech is found, how much is computed at once."""

from dataclasses import dataclass, field

from emosphere.model.architecture import Precision
from emosphere.speech.cells import CellGrid
from emosphere.speech.quality import QualityConfig
from emosphere.speech.segment import SegmentConfig


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
