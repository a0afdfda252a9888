"""What a scoring run can be told by its TOML file: one table per stage."""

from dataclasses import dataclass, field
from typing import Any

from emosphere.audio.decode_outcome import DecodeLimits
from emosphere.config import digest, to_mapping
from emosphere.settings import BatchSettings, SpeechSettings
from pipelines.archive.fetch import FetchLimits
from pipelines.archive.members import ListLimits
from pipelines.cluster.resources import Resources
from pipelines.score.policy import withheld_channels

_SECRETS = frozenset(
    [
        "key",
        "secret",
        "token",
        "username",
        "password",
        "aws_access_key_id",
        "aws_secret_access_key",
        "aws_session_token",
    ]
)
PATIENCE = frozenset({"attempts", "first_pause_s"})
"""Fields of ``[fetch]`` that change no row: how often, and when, a store is asked again."""
ROWS_VERSION = 2
"""Raised when the same settings give other rows than before, so that finished recordings are scored again."""


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanSettings:
    """How an archive is divided into work. Only ``score_duplicates_once`` changes a row: it fills a column."""

    unit_bytes: int = 32 << 20
    """A recording of more encoded bytes than this is shared out over several units, whole cells each."""
    part_bytes: int = 64 << 20
    """Most encoded bytes of one part: what a worker takes at once and a resumed run may have to repeat."""
    part_units: int = 256
    """Most units of one part."""
    score_duplicates_once: bool = False
    """Score recordings of the same bytes once, and give each of them those rows under its own name. Every recording is
    then hashed (``content_digest``) when it is fetched, and those of the same size are planned together."""

    def __post_init__(self) -> None:
        if min(self.unit_bytes, self.part_bytes, self.part_units) < 1:
            raise ValueError(
                f"unit_bytes={self.unit_bytes}, part_bytes={self.part_bytes} and part_units={self.part_units} "
                "must all be above 0."
            )


@dataclass(frozen=True, kw_only=True, slots=True)
class ScoreSettings:
    """Settings of ``emosphere score``; every table of the TOML file is a field."""

    listen: SpeechSettings = field(default_factory=SpeechSettings)
    """How speech is found and cut."""
    archive: ListLimits = field(default_factory=ListLimits)
    """What an archive file may be, before it is unpacked."""
    decode: DecodeLimits = field(default_factory=DecodeLimits)
    """What a recording may cost to decode."""
    fetch: FetchLimits = field(default_factory=FetchLimits)
    """What a recording may cost to fetch."""
    batch: BatchSettings = field(default_factory=BatchSettings)
    """How much is computed at once, and how precisely."""
    plan: PlanSettings = field(default_factory=PlanSettings)
    """How work is divided."""
    resources: Resources = field(default_factory=Resources)
    """CPUs, GPUs and processes per worker."""
    store: dict[str, Any] = field(default_factory=dict)
    """Options of the S3 filesystem (s3fs): ``anon``, ``requester_pays``, ``profile`` ... Never keys: use roles."""

    def __post_init__(self) -> None:
        if not isinstance(client := self.store.get("client_kwargs", {}), dict):
            raise ValueError(f"[store] client_kwargs={client!r} must be a table of options.")
        if secrets := sorted(_SECRETS & {*self.store, *client}):
            raise ValueError(
                f"[store] holds {', '.join(secrets)}; settings are kept in the tables, so they take no secrets. Use a "
                "role, a profile or AWS_ environment variables."
            )


def settings_digest(settings: ScoreSettings, roles: dict[int, str], exception: str | None = None) -> str:
    """Digest of all that can change a row, and of nothing else: an exception counts where it lets a role be scored."""
    return digest(
        _RowSettings(
            rows_version=ROWS_VERSION,
            listen=to_mapping(settings.listen),
            archive=to_mapping(settings.archive),
            decode=to_mapping(settings.decode),
            fetch={name: value for name, value in to_mapping(settings.fetch).items() if name not in PATIENCE},
            precision=settings.batch.precision,
            content_digest=settings.plan.score_duplicates_once,
            roles={str(channel): role for channel, role in sorted(roles.items())},
            withheld=sorted(withheld_channels(roles, exception)),
        )
    )


@dataclass(frozen=True, kw_only=True)
class _RowSettings:
    rows_version: int
    listen: dict[str, Any]
    archive: dict[str, Any]
    decode: dict[str, Any]
    fetch: dict[str, Any]
    precision: str
    content_digest: bool
    roles: dict[str, str]
    withheld: list[int]
