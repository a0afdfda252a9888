"""Which recording is which: the same answer in every run, on every machine."""

import hashlib
import hmac
import os
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from emosphere.errors import UsageError

KEY_VARIABLE: Final = "EMOSPHERE_ID_KEY"
"""Environment variable of the secret key; never an option, which other users of a machine could see."""
MIN_KEY_BYTES: Final = 16


@dataclass(frozen=True, slots=True, repr=False)
class IdKey:
    """A secret under which URIs become ids, where file names say more than a table may. Never printed."""

    secret: bytes

    def __repr__(self) -> str:
        return f"IdKey({self.fingerprint})"

    def hash(self, text: str) -> str:
        """HMAC-SHA256 of the text, 64 hex digits."""
        return hmac.digest(self.secret, text.encode(), "sha256").hex()

    @property
    def fingerprint(self) -> str:
        """8 hex digits that tell this key from another and say nothing about it."""
        return self.hash("fingerprint of a key of emosphere")[:8]

    def hide(self, text: str, names: Iterable[str] = ()) -> str:
        """The text with ``names``, and whatever looks like a path or URI, put behind hashes. Files of Python stay."""
        for name in sorted({name for name in names if len(name) > 1}, key=len, reverse=True):
            text = text.replace(name, self._short(name))
        return _ADDRESS.sub(lambda match: self._short(match.group()), text)

    def _short(self, name: str) -> str:
        return f"keyed:{self.hash(name)[:12]}"


_ADDRESS = re.compile(
    r"""(?:[a-zA-Z][a-zA-Z0-9+.-]*://|(?<![\w.:/])/(?=\S))(?:(?!\.py\b)[^\n])*?(?=:\s|,\s|;\s|\s\(|['"]|$)""",
    re.MULTILINE,
)


def id_key(environment: Mapping[str, str] = os.environ) -> IdKey | None:
    """The key of this machine's environment, None without one. Raises UsageError for one that can be guessed."""
    value = environment.get(KEY_VARIABLE)
    if value is None:
        return None
    secret = os.fsencode(value)
    if len(secret) < MIN_KEY_BYTES:
        raise UsageError(
            f"{KEY_VARIABLE} holds {len(secret)} bytes; a key has at least {MIN_KEY_BYTES}, made for example by "
            "'openssl rand -hex 32'. Unset it for ids without a key."
        )
    return IdKey(secret)


def recording_id(source_uri: str, key: IdKey | None = None) -> str:
    """First 32 hex digits of the sha256 of ``source_uri``; with a key, of its HMAC-SHA256."""
    return (hashlib.sha256(source_uri.encode()).hexdigest() if key is None else key.hash(source_uri))[:32]


def public_uri(source_uri: str, key: IdKey | None = None) -> str:
    """What stands in the column ``source_uri``: the URI itself; with a key, its whole hash."""
    return source_uri if key is None else key.hash(source_uri)


def file_number(recording: str, num_files: int) -> int:
    """Which of ``num_files`` files of a partition holds a recording: a hash, so that it never moves."""
    return int(recording[:8], 16) % num_files
