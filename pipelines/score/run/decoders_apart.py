"""Decoding on machines apart from the model's: a Ray actor decodes, and its cells follow a few ahead, at 16 bits."""

import contextlib
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

import numpy as np
import ray
from numpy.typing import NDArray

from emosphere.audio.sixteen_bit import from_16_bit, to_16_bit
from emosphere.errors import EmosphereError, MachineError
from emosphere.speech.cells import Cell
from pipelines.archive.seal import Seal
from pipelines.score.run.decoders import QUEUED_CELLS, Decoders, DecodersLost, Event
from pipelines.score.settings import ScoreSettings
from pipelines.score.unit import DecodedUnit, Unit

CLOSE_S = 10.0
"""Time that an actor is given to wipe its scratch folders."""
LOSSES = (
    ray.exceptions.RayActorError,
    ray.exceptions.ObjectLostError,
    ray.exceptions.OutOfMemoryError,
    ray.exceptions.NodeDiedError,
    ray.exceptions.WorkerCrashedError,
)
"""How Ray says that an actor, or its machine, is gone."""


class PackedCell(NamedTuple):
    """A cell as it travels: half as large as it is to the model."""

    cell: Cell
    """All but its samples."""
    samples: NDArray[np.int16]


Message = tuple[int, PackedCell | DecodedUnit] | str
"""What an event says, by the unit's row in its part; or why the machine is broken."""


class DecodersApart:
    """What :class:`Decoders` are to a lane, somewhere else in the cluster. Made anew where they are lost."""

    def __init__(self, count: int, settings: ScoreSettings, seal: Seal, withheld: frozenset[int]) -> None:
        self._count, self._arguments = count, (count, settings, seal, withheld)
        self._actor: Any = None

    def start(self) -> None:
        """Nothing: their actor starts with the first part."""

    def decode(self, units: Sequence[Unit]) -> "PartApart":
        """Begin with the units of a part."""
        return PartApart(units, self)

    def messages(self, units: Sequence[Unit]) -> Iterator[Any]:
        """References to messages, as they come; no more than a queue's worth wait in the object store."""
        if self._actor is None:
            # As references: what an actor is made with is otherwise kept by the head, and the seal holds a secret.
            self._actor = _REMOTE.options(
                num_cpus=self._count, max_restarts=0, max_task_retries=0, scheduling_strategy="SPREAD"
            ).remote(*map(ray.put, self._arguments))
        decode = self._actor.decode.options(num_returns="streaming", _generator_backpressure_num_objects=QUEUED_CELLS)
        return iter(decode.remote(units))

    def close(self) -> None:
        """End the actor, its processes with it, and wipe what it had fetched."""
        if self._actor is not None and ray.is_initialized():
            with contextlib.suppress(ray.exceptions.RayError):  # it is gone, or busy with what nobody wants any more
                ray.get(self._actor.close.remote(), timeout=CLOSE_S)
            ray.kill(self._actor)
        self._actor = None


class PartApart:
    """What :class:`PartDecoding` is where the decoders are beside the model."""

    def __init__(self, units: Sequence[Unit], decoders: DecodersApart) -> None:
        self.waited_s = 0.0
        self._units, self._decoders = units, decoders

    def events(self) -> Iterator[Event]:
        """As :meth:`PartDecoding.events`. Raises DecodersLost when the actor is gone."""
        messages, num_open = self._decoders.messages(self._units), len(self._units)
        while num_open:
            began = time.monotonic()
            try:
                message: Message = ray.get(next(messages))
            except (StopIteration, *LOSSES) as error:
                self._decoders.close()
                raise DecodersLost(
                    f"The machine that decoded was lost: {type(error).__name__}. The same command resumes."
                ) from error
            finally:
                self.waited_s += time.monotonic() - began
            if isinstance(message, str):
                raise MachineError(message)
            row, content = message
            if isinstance(content, DecodedUnit):
                num_open -= 1
                yield row, content
            else:
                yield row, replace(content.cell, samples=from_16_bit(content.samples))


class _DecodingActor:
    """Holds the decoders of one lane."""

    def __init__(self, count: int, settings: ScoreSettings, seal: Seal, withheld: frozenset[int]) -> None:
        self._arguments = (count, settings, seal, withheld)
        self._decoders: Decoders | None = None

    def decode(self, units: Sequence[Unit]) -> Iterator[Message]:
        """The events of a part. A broken machine travels as a message: its words are ours."""
        try:
            # Not before: there may be no room for its scratch folders, and then it is here that somebody hears of it.
            self._decoders = self._decoders or Decoders(*self._arguments)
            decoding = self._decoders.decode(units)
            for row, content in decoding.events():
                if isinstance(content, DecodedUnit):
                    yield row, content
                else:
                    yield row, PackedCell(replace(content, samples=content.samples[:0]), to_16_bit(content.samples))
        except EmosphereError as error:
            yield str(error)

    def close(self) -> None:
        """Wipe the scratch folders."""
        if self._decoders is not None:
            self._decoders.close()


_REMOTE: Final = ray.remote(_DecodingActor)
