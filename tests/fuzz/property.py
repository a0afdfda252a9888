"""Whatever is done to a file, the decoder gives sound or says why not: Hypothesis looks for the smallest exception."""

import random
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import hypothesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from emosphere.audio.decoding.child import IsolatedDecoder
from emosphere.audio.decoding.decode import DecodeLimits
from emosphere.errors import ERROR_CODES, BadRecording
from tests.fuzz.mutate import KINDS, MAX_BYTES

ALLOWED = {"some sound", "no sound", *ERROR_CODES} - {"TIMED_OUT", "INTERNAL", "CRASHED"}
ROUND = 100
"""Files between two looks at the clock."""


def outcome_of(decoder: IsolatedDecoder, path: str) -> str:
    """What decoding a file ends with: sound, none, or the code of a reason."""
    try:
        stream = decoder.open(path)
        num_samples = sum(block.shape[1] for block in stream)
    except BadRecording as error:
        return error.code
    return "some sound" if num_samples else "no sound"


def search(paths: list[Path], *, seconds: float, seed: int = 0, decode: Callable[[Path], str] | None = None) -> Counter:
    """Spoil files for about ``seconds``; how often each outcome came. Raises AssertionError with the smallest example
    of an outcome that is not allowed. ``decode`` takes the place of the real decoder in tests.
    """
    found: Counter[str] = Counter()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder, IsolatedDecoder(DecodeLimits()) as decoder:
        file = Path(folder) / "file"

        @settings(
            max_examples=ROUND, deadline=None, database=None, suppress_health_check=list(HealthCheck),
            phases=[Phase.generate, Phase.shrink],
        )  # fmt: skip
        @given(st.sampled_from(paths), st.lists(st.tuples(st.sampled_from(KINDS), st.integers(0, 1 << 30)), max_size=4))
        def every_file_has_an_outcome(path: Path, edits: list) -> None:
            data = bytearray(path.read_bytes()[:MAX_BYTES])
            for spoil, number in edits:
                spoil(data, random.Random(number), paths)
            file.write_bytes(data)
            outcome = decode(file) if decode else outcome_of(decoder, str(file))
            found[outcome] += 1
            steps = [(spoil.__name__, number) for spoil, number in edits]
            assert outcome in ALLOWED, f"{path.name} after {steps}: {outcome}"

        until = time.monotonic() + seconds
        while True:
            hypothesis.seed(seed)(every_file_has_an_outcome)()
            seed += 1
            if time.monotonic() >= until:
                return found
