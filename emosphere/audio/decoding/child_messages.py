"""How an isolated decoder talks: messages of one letter, a length, and that many bytes."""

import json
import struct
from collections.abc import Callable
from typing import Any, Final

HEAD: Final = struct.Struct("<cI")
"""Letter and number of bytes that follow."""

HEADER: Final = b"H"
"""JSON: the recording's header and where the stream starts."""
BLOCK: Final = b"B"
"""Four bytes with the number of channels, then 16-bit samples channel by channel."""
PROGRESS: Final = b"P"
"""Nothing: still at work."""
OUTCOME: Final = b"O"
"""JSON: how decoding went; the recording is finished."""
FAILURE: Final = b"F"
"""JSON: the error that ended the recording."""
STOPPED: Final = b"S"
"""Nothing: stopped on request; the recording is finished."""

MAX_MESSAGE_BYTES: Final = 1 << 30
"""More than any block of ours: a longer message means that the other side has lost its senses."""


def pack(letter: bytes, body: bytes | dict[str, Any] = b"") -> bytes:
    """One message, ready to be written."""
    content = json.dumps(body).encode() if isinstance(body, dict) else body
    return HEAD.pack(letter, len(content)) + content


def unpack(read_exactly: Callable[[int], bytes]) -> tuple[bytes, bytes]:
    """Read one message; ValueError when it cannot be one."""
    letter, length = HEAD.unpack(read_exactly(HEAD.size))
    if letter not in (HEADER, BLOCK, PROGRESS, OUTCOME, FAILURE, STOPPED) or length > MAX_MESSAGE_BYTES:
        raise ValueError(f"not a message: {letter!r} with {length} bytes")
    return letter, read_exactly(length)
