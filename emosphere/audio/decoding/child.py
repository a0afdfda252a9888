"""Decoding in a child process: a decoder that dies or stalls costs one recording, never the run."""

import contextlib
import fcntl
import json
import os
import select
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

import numpy as np
from numpy.typing import NDArray

from emosphere.audio.decode_outcome import DecodeLimits, DecodeOutcome, RecordingHeader
from emosphere.audio.decoding.child_messages import BLOCK, FAILURE, HEADER, OUTCOME, PROGRESS, STOPPED, unpack
from emosphere.audio.sixteen_bit import from_16_bit
from emosphere.errors import BadRecording

CHILD_PROGRAM: Final = ("-m", "emosphere.audio.decoding.child_main")
STOP_TIMEOUT_S: Final = 5.0
"""How long a child may take to stop on request before it is replaced."""
NOISE_TAIL_BYTES: Final = 200


class IsolatedStream:
    """One recording decoded by the child. The same attributes as a DecodedStream; one may be open per decoder."""

    def __init__(self, decoder: "IsolatedDecoder", header: RecordingHeader, start_sample: int) -> None:
        self.header, self.start_sample = header, start_sample
        self._decoder = decoder
        self._outcome: DecodeOutcome | None = None
        self._is_open = True

    def __iter__(self) -> Iterator[NDArray[np.float32]]:
        """Blocks, float32 (channels, samples) at 16 kHz, rounded to 16 bits.

        Raises BadRecording as decoding does, and CRASHED or TIMED_OUT.
        """
        while self._is_open:
            try:
                letter, body = self._decoder._receive()
            except BaseException:
                self._is_open = False
                raise
            if letter == BLOCK:
                num_channels = int(np.frombuffer(body, dtype=np.uint32, count=1)[0])
                yield from_16_bit(np.frombuffer(body, dtype=np.int16, offset=4).reshape(num_channels, -1))
            elif letter == OUTCOME:
                self._is_open = False
                self._outcome = DecodeOutcome(**json.loads(body))

    @property
    def outcome(self) -> DecodeOutcome:
        """How decoding went; RuntimeError before the last block is out."""
        if self._outcome is None:
            raise RuntimeError("The outcome of a recording is known once its last block has been taken.")
        return self._outcome

    def close(self) -> None:
        """Stop early. The child lives on and takes the next recording."""
        if self._is_open:
            self._is_open = False
            self._decoder._stop_recording()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class IsolatedDecoder:
    """A child process that decodes one recording after another; started when needed, replaced when lost.

    For one thread at a time. As a context manager it ends the child on the way out.
    """

    def __init__(self, limits: DecodeLimits | None = None, *, program: Sequence[str] = CHILD_PROGRAM) -> None:
        """``program``: what Python runs as the child; another one must read requests and write messages as
        ``child_main`` does. For tests, whose child dies over some recordings.
        """
        self._limits, self._program = limits or DecodeLimits(), program
        self._child: subprocess.Popen[bytes] | None = None
        self._messages = -1
        self._noise: Any = None
        self._current: IsolatedStream | None = None
        self._waited_s = 0.0

    def start(self) -> None:
        """Start the child ahead of the first recording: loading what decodes takes it a while."""
        if self._child is None:
            self._start()

    def open(self, path: str, start_s: float = 0.0) -> IsolatedStream:
        """Open a recording as :func:`emosphere.audio.decoding.decode.open_recording` does, in the child.

        Raises BadRecording with the codes of open_recording, CRASHED when the child dies over it, TIMED_OUT when it
        says nothing for ``stall_timeout_s`` or was waited for ``max_wait_s`` in all, and OSError when the file cannot
        be read.
        """
        if self._current is not None:
            self._current.close()
            self._current = None
        # As bytes: names need not be text.
        request = {"path": os.fsencode(os.path.abspath(path)).hex(), "start_s": start_s}
        self._waited_s = 0.0
        self._send_request(request)
        while True:
            letter, body = self._receive()
            if letter == HEADER:
                fields = json.loads(body)
                start_sample = fields.pop("start_sample")
                self._current = IsolatedStream(self, RecordingHeader(**fields), start_sample)
                return self._current

    def close(self) -> None:
        """End the child."""
        if self._child is None:
            return
        self._child.kill()
        self._child.wait()
        for descriptor in (self._child.stdin, self._noise):
            with contextlib.suppress(OSError):
                if descriptor is not None:
                    descriptor.close()
        os.close(self._messages)
        self._child, self._messages, self._noise, self._current = None, -1, None, None

    def kill(self) -> None:
        """End the child over what it decodes, from another thread; who waits for it finds that it CRASHED."""
        if (child := self._child) is not None:
            child.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        with contextlib.suppress(Exception):
            self.close()

    def _send_request(self, request: dict[str, Any]) -> None:
        line = json.dumps(request).encode() + b"\n"
        for is_last_try in (False, True):
            child = self._child or self._start()
            os.ftruncate(self._noise.fileno(), 0)
            try:
                assert child.stdin is not None
                child.stdin.write(line)
                child.stdin.flush()
                return
            except OSError as error:
                # The child was lost between two recordings (killed from outside, out of memory): a new one takes over.
                self.close()
                if is_last_try:
                    raise BadRecording("CRASHED", f"The decoder process cannot be reached: {error}.") from error

    def _start(self) -> subprocess.Popen[bytes]:
        package_root = str(Path(__file__).resolve().parents[3])
        settings = {"max_memory_bytes": self._limits.max_memory_bytes, "limits": asdict(self._limits)}
        # One thread: the numeric libraries reserve address space for each, which the memory limit counts.
        single = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
        search_path = os.pathsep.join(filter(None, [package_root, os.environ.get("PYTHONPATH")]))
        self._noise = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the child
        flags = fcntl.fcntl(self._noise, fcntl.F_GETFL)
        fcntl.fcntl(self._noise, fcntl.F_SETFL, flags | os.O_APPEND)
        receiving, sending = os.pipe()
        try:
            self._child = subprocess.Popen(
                # -P: a file called numpy.py in the user's folder is no business of ours.
                [sys.executable, "-P", *self._program, str(sending), json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=self._noise,
                stderr=self._noise,
                pass_fds=(sending,),
                env={**os.environ, **single, "PYTHONPATH": search_path},
                # Ctrl-C, and whoever ends the parent with all its group, would make the recording look broken.
                process_group=0,
            )
        except BaseException:
            os.close(receiving)
            raise
        finally:
            os.close(sending)
        os.set_blocking(receiving, False)
        self._messages = receiving
        return self._child

    def _receive(self) -> tuple[bytes, bytes]:
        """The child's next message. A failure is raised; signs of life are swallowed."""
        while True:
            try:
                letter, body = unpack(self._read_exactly)
            except ValueError as error:
                self.close()
                raise BadRecording("CRASHED", f"The decoder process lost its senses ({error}).") from error
            if letter == FAILURE:
                self._current = None
                failure = json.loads(body)
                if "code" in failure:
                    raise BadRecording(failure["code"], failure["message"])
                raise OSError(failure["errno"], failure["message"])
            if letter != PROGRESS:
                return letter, body

    def _read_exactly(self, num_bytes: int) -> bytes:
        content = bytearray(num_bytes)
        view = memoryview(content)
        stall_s, most_s = self._limits.stall_timeout_s, self._limits.max_wait_s
        while view:
            poll = select.poll()
            poll.register(self._messages, select.POLLIN)
            began = time.monotonic()
            has_come = poll.poll(1000 * max(0.0, min(stall_s, most_s - self._waited_s)))
            self._waited_s += time.monotonic() - began
            if not has_come or self._waited_s > most_s:
                why = f"took {most_s:g} s" if self._waited_s >= most_s else f"gave nothing for {stall_s:g} s"
                tail = self._noise_tail()
                self.close()
                raise BadRecording("TIMED_OUT", f"The decoder {why} and was stopped.{tail}")
            num_read = os.readv(self._messages, [view])
            if num_read == 0:
                raise self._crashed()
            view = view[num_read:]
        return bytes(content)

    def _crashed(self) -> BadRecording:
        child = self._child
        assert child is not None
        try:
            status = child.wait(timeout=STOP_TIMEOUT_S)
            how = f"by signal {-status}" if status < 0 else f"with status {status}"
        except subprocess.TimeoutExpired:
            how = "without a word"
        tail = self._noise_tail()
        self.close()
        return BadRecording("CRASHED", f"The decoder process ended {how} over this recording.{tail}")

    def _stop_recording(self) -> None:
        """Ask the child to stop, and drain what it has already said; replace it when it does not answer."""
        self._current = None
        if self._child is None:
            return
        deadline = time.monotonic() + STOP_TIMEOUT_S
        try:
            self._send_request({"stop": True})
            while time.monotonic() < deadline:
                letter, _ = self._receive()
                if letter in (STOPPED, OUTCOME):
                    return
        except (BadRecording, OSError):
            return
        self.close()

    def _noise_tail(self) -> str:
        """The end of what native libraries printed, to be put behind a message."""
        size = os.fstat(self._noise.fileno()).st_size
        tail = os.pread(self._noise.fileno(), NOISE_TAIL_BYTES, max(0, size - NOISE_TAIL_BYTES))
        text = " ".join(tail.decode("utf-8", "replace").split())
        return f" Its last words: {text}" if text else ""
