"""The child process that decodes: native code may die here without taking the run along.

Started by :mod:`emosphere.audio.decoding.child`. Requests come as lines of JSON on standard input; messages go out on
the descriptor named by the first argument. Standard output is turned into standard error before any decoder is loaded.
"""

import contextlib
import importlib
import json
import os
import resource
import select
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any, Final

import numpy as np

from emosphere.audio.decoding.child_messages import BLOCK, FAILURE, HEADER, OUTCOME, PROGRESS, STOPPED, pack
from emosphere.audio.sixteen_bit import to_16_bit
from emosphere.errors import BadRecording

MAX_NOISE_BYTES: Final = 1 << 20
"""What the child may write to its standard error (a file): decoders can chatter without end."""
ORPHAN_CHECK_S: Final = 2.0


def main() -> None:
    out = int(sys.argv[1])
    settings = json.loads(sys.argv[2])
    os.dup2(2, 1)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)  # sent to every process of a service that ends: the parent decides
    _limit_memory(settings["max_memory_bytes"])
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_NOISE_BYTES, MAX_NOISE_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    threading.Thread(target=_leave_with_parent, args=(os.getppid(),), daemon=True).start()
    # Before it is asked for: a child may be started early. What fails here is said over the first recording.
    with contextlib.suppress(Exception):
        importlib.import_module("emosphere.audio.decoding.decode")

    def send(letter: bytes, body: bytes | dict[str, Any] = b"") -> None:
        _write_all(out, pack(letter, body))

    for line in iter(sys.stdin.buffer.readline, b""):
        request = json.loads(line)
        if "path" in request:
            _answer(request, settings["limits"], send)


def _answer(request: dict[str, Any], limits: dict[str, Any], send: Callable[..., None]) -> None:
    # Imported late: what a decoder prints while loading already goes to standard error.
    from emosphere.audio.decoding.decode import DecodeLimits, open_recording

    try:
        path = os.fsdecode(bytes.fromhex(request["path"]))
        stream = open_recording(
            path,
            start_s=request["start_s"],
            limits=DecodeLimits(**limits),
            on_progress=lambda: send(PROGRESS),
        )
        header = stream.header
        send(
            HEADER,
            {
                "codec": header.codec,
                "sample_rate_hz": header.sample_rate_hz,
                "num_channels": header.num_channels,
                "duration_ms": header.duration_ms,
                "start_sample": stream.start_sample,
            },
        )
        for block in stream:
            if _is_cancelled():
                stream.close()
                send(STOPPED)
                return
            send(BLOCK, np.uint32(len(block)).tobytes() + to_16_bit(block).tobytes())
        outcome = stream.outcome
        send(OUTCOME, {"end_sample": outcome.end_sample, "flaw": outcome.flaw, "message": outcome.message})
    except BadRecording as error:
        send(FAILURE, {"code": error.code, "message": str(error)})
    except MemoryError:
        send(FAILURE, {"code": "REFUSED", "message": "Decoding needs more memory than a recording is given."})
    except BrokenPipeError:
        raise
    except OSError as error:
        send(FAILURE, {"errno": error.errno, "message": error.strerror or str(error)})
    except Exception as error:
        send(FAILURE, {"code": "CRASHED", "message": f"The decoder failed: {type(error).__name__}: {error}"})


def _is_cancelled() -> bool:
    """Whether the parent has written something; it does so in the middle of a recording only to stop it."""
    readable, _, _ = select.select([0], [], [], 0)
    return bool(readable)


def _write_all(descriptor: int, content: bytes) -> None:
    view = memoryview(content)
    while view:
        view = view[os.write(descriptor, view) :]


def _limit_memory(max_bytes: int) -> None:
    resource.setrlimit(resource.RLIMIT_AS, (max_bytes, max_bytes))


def _leave_with_parent(parent: int) -> None:
    """End when the parent is gone, even in the middle of an endless decode."""
    while os.getppid() == parent:
        time.sleep(ORPHAN_CHECK_S)
    os._exit(0)


if __name__ == "__main__":
    main()
