"""A unit on its way through a run: planned, decoded, scored. Each is made once, from the one before, and stays."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow as pa

from emosphere.audio.decode_outcome import RecordingHeader
from emosphere.errors import RETRIED_CODES, ErrorCode
from pipelines.archive.recording import Recording, recording_of

if TYPE_CHECKING:
    from emosphere.inference import ScoredChannels

FIRST_FAILED = "Another recording of the same bytes, scored in its stead, failed in a way that may pass."


@dataclass(frozen=True, kw_only=True, slots=True)
class Unit:
    """As it was planned: a span of one recording, all its channels."""

    unit_id: int
    recording_id: str
    unit_index: int
    """Which span, 0-based, of the recording's ``num_units``."""
    num_units: int
    attempts: int
    """How many runs have tried this version of the recording, this one included."""
    recording: Recording
    """As the plan may keep it, its address sealed."""


class Reason(NamedTuple):
    """Why a recording has no scores, or fewer than its header promised; worded as tables may show it."""

    code: ErrorCode
    message: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DecodedUnit:
    """What its decoding came to. Its cells have gone ahead to the model, so this is small enough to travel anywhere."""

    header: RecordingHeader | None = None
    """None where the recording was not opened."""
    audio_ms: int = 0
    """Audio of the cells that went to the model, channels added up."""
    end_ms: int | None = None
    """Where the audio of this unit ends on the recording's clock; None where it has none."""
    is_withheld: bool = False
    """Whether policy kept some of it from the model."""
    failure: Reason | None = None
    """Why the recording has no scores."""
    flaw: Reason | None = None
    """Why less came out than the header promised; what came out is scored."""
    content_digest: str | None = None
    """sha256 of the recording's bytes, where it was computed."""
    same_as: int | None = None
    """Row in the part of the first unit of the same bytes and span, which is scored in this one's stead."""


@dataclass(frozen=True, kw_only=True, slots=True)
class UnitResult:
    """All that a run comes to know of a unit: what is staged."""

    unit: Unit
    decoded: DecodedUnit
    segments: Sequence[Mapping[str, Any]] = ()
    """Columns of ``segments`` that audio and model determine, a row per segment; none where it failed. Rows of a copied
    channel are among them, and are published only if it differs in another unit of the recording."""
    distinct_channels: frozenset[int] = frozenset()
    """Channels that differ from every earlier one somewhere in this unit; none where it failed."""

    @property
    def num_distinct_segments(self) -> int:
        """Segments without those of copied channels."""
        return sum(segment["channel"] in self.distinct_channels for segment in self.segments)


def units_of(part: pa.Table) -> list[Unit]:
    """The units of a planned part, in its order."""
    names = ("unit_id", "recording_id", "unit_index", "num_units", "attempts")
    return [Unit(recording=recording_of(row), **{name: row[name] for name in names}) for row in part.to_pylist()]


def results_of(
    units: Sequence[Unit], decoded: Mapping[int, DecodedUnit], scored: Mapping[int, "ScoredChannels"]
) -> list[UnitResult]:
    """The result of each unit of a part, by what decoding and scoring gave for its row."""
    results = [_result_of(unit, decoded[row], scored[row]) for row, unit in enumerate(units)]
    return [_with_scores_of_first(result, results) for result in results]


def _result_of(unit: Unit, decoded: DecodedUnit, scored: "ScoredChannels") -> UnitResult:
    if decoded.failure is not None:
        return UnitResult(unit=unit, decoded=decoded)
    return UnitResult(
        unit=unit, decoded=decoded, segments=scored.rows, distinct_channels=frozenset(scored.distinct_channels)
    )


def _with_scores_of_first(result: UnitResult, results: Sequence[UnitResult]) -> UnitResult:
    """A duplicate gets the scores of the unit that was decoded in its stead, or why that one has none."""
    if result.decoded.same_as is None:
        return result
    first = results[result.decoded.same_as]
    failure = first.decoded.failure
    if failure is not None and failure.code in RETRIED_CODES:  # that one's own trouble, not this one's
        failure = failure._replace(message=FIRST_FAILED)
    decoded = replace(first.decoded, content_digest=result.decoded.content_digest, failure=failure)
    return replace(first, unit=result.unit, decoded=decoded)
