"""What stays the same over one ``emosphere score`` command: what it reads and writes, by which model, as which run."""

import datetime
import json
import time
from dataclasses import asdict
from typing import Any

from emosphere.config import to_mapping
from emosphere.model.description import describe_checkpoint
from emosphere.model.find import find_model
from emosphere.redaction import redact
from emosphere.store import unsigned
from emosphere.tables.identity import id_key, public_uri
from pipelines.archive.seal import seal_for
from pipelines.output.columns import check_published
from pipelines.output.ledger import Ledger, RunHeader, command_key, new_run_id
from pipelines.output.state import Begun
from pipelines.output.writer import Writer
from pipelines.score.publish.result import file_metadata
from pipelines.score.request import ScoreRequest
from pipelines.score.settings import settings_digest


class Job:
    """One command at work. Raises UsageError, before anything is written, where it could not work."""

    def __init__(self, request: ScoreRequest) -> None:
        self.began = time.monotonic()
        self.request = request
        self.out = request.open_out()
        self.writer = Writer(self.out, "a command that is starting")
        self.id_key = id_key()
        self._key_fingerprint = None if self.id_key is None else self.id_key.fingerprint
        self.ledger.check_id_key(self._key_fingerprint)
        check_published(self.out)
        self.model = request.absolute_model()
        self.checkpoint = describe_checkpoint(find_model(self.model))
        request.settings.listen.check_model(self.checkpoint)
        self.model_partition = f"{self.checkpoint.name}-{self.checkpoint.digest}"
        self.settings_digest = settings_digest(request.settings, request.roles, request.exception)
        self.archives = request.absolute_archives()
        self.seal = seal_for(self.archives, self.id_key, request.settings.store)
        self.named_archives = [public_uri(unsigned(archive), self.id_key) for archive in self.archives]
        self.key = command_key(
            archives=sorted(self.archives if self.id_key is None else self.named_archives),
            window=asdict(request.window),
            dt=request.dt,
            limit=request.limit,
            model=self.model_partition,
            settings=self.settings_digest,
            purpose=request.purpose,
            exception=request.exception,
        )

    @property
    def ledger(self) -> Ledger:
        """Reads only until the job's writer is open."""
        return self.writer.ledger

    def new_header(self, begun: Begun | None) -> RunHeader:
        """Header of a fresh run, no plan yet. One that was begun and died while planning keeps its name and date."""
        now = datetime.datetime.now(datetime.UTC)
        if begun is None:
            dt = self.request.dt or f"{now:%Y-%m-%d}"
            begun = Begun(run_id=new_run_id(self.key, now), dt=dt, started_at=now.isoformat())
        return RunHeader(
            run_id=begun.run_id,
            key=self.key,
            dt=begun.dt,
            started_at=begun.started_at,
            model_name=self.checkpoint.name,
            model_digest=self.checkpoint.digest,
            model_licence=self.checkpoint.licence,
            settings_digest=self.settings_digest,
            config=_printable_settings(self.request),
            archives=self.named_archives,
            purpose=self.request.purpose,
            roles={str(channel): role for channel, role in self.request.roles.items()},
            exception=self.request.exception,
            id_key=self._key_fingerprint,
            file_metadata=file_metadata(self.checkpoint),
        )


def _printable_settings(request: ScoreRequest) -> dict[str, Any]:
    """The settings as the tables keep them; an address among the store's options may hold a password."""
    settings = to_mapping(request.settings) | {"max_error_rate": request.max_error_rate}
    printable: dict[str, Any] = json.loads(redact(json.dumps(settings, default=str)))
    return printable
