"""What a plan has to keep and must not show: signed addresses, and with an id key every name."""

import base64
import hashlib
import hmac
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Final
from urllib.parse import urlsplit

from emosphere.errors import BadRecording
from emosphere.redaction import redact
from emosphere.store import ABSENT, explained, locate
from emosphere.tables.identity import IdKey, public_uri
from pipelines.archive.recording import Recording, options_for

MARK: Final = b"sealed:"
TAG_BYTES: Final = 16
MANIFESTS: Final = (".csv", ".parquet")
END_BYTES: Final = 1 << 20
"""Bytes of either end of a manifest that go into the secret."""


@dataclass(frozen=True, slots=True, repr=False)
class Seal:
    """Seals the address of a recording for the plan, and opens it again on the worker that fetches it.

    Deterministic, so that a plan written twice is the same plan: the tag is the HMAC-SHA256 of the text, and the text
    is added to SHAKE256 of key and tag (the construction of RFC 5297, with other primitives).
    """

    secret: bytes
    key: IdKey | None = None

    def cover(self, recording: Recording) -> Recording:
        """The recording as it may be stored."""
        attributes = recording.attributes and redact(recording.attributes)
        message = recording.error_message and self.say(recording.error_message, recording)
        if self.key is None and not _is_signed(recording.url):
            return replace(recording, attributes=attributes, error_message=message)
        covered = replace(recording, url=self._sealed(recording.url), attributes=attributes, error_message=message)
        if self.key is None:
            return covered
        member = recording.member and self._sealed(os.fsencode(recording.member)).decode()
        return replace(covered, source_uri=public_uri(recording.source_uri, self.key), member=member)

    def uncover(self, recording: Recording) -> Recording:
        """The recording as it can be fetched, still under its public URI. Raises BadRecording for another's seal."""
        member = recording.member
        if member is not None and member.startswith(MARK.decode()):
            member = os.fsdecode(self._opened(member.encode()))
        url = self._opened(recording.url) if recording.url.startswith(MARK) else recording.url
        return replace(recording, url=url, member=member)

    def say(self, message: str, recording: Recording) -> str:
        """A message about a recording as it may be stored; with an id key, without any of its names."""
        if self.key is not None:
            url = os.fsdecode(recording.url)
            path = url.removeprefix("file://")
            names = [recording.source_uri, url, path, path.rpartition("/")[2], url.rpartition("://")[2]]
            message = self.key.hide(message, [*names, urlsplit(url).path, recording.member or ""])
        return redact(message)

    def hide(self, message: str) -> str:
        """A message of a worker as it may be printed."""
        return redact(message if self.key is None else self.key.hide(message))

    def _sealed(self, text: bytes) -> bytes:
        tag = hmac.digest(self.secret, text, "sha256")[:TAG_BYTES]
        return MARK + base64.urlsafe_b64encode(tag + self._mixed(text, tag))

    def _opened(self, sealed: bytes) -> bytes:
        data = base64.urlsafe_b64decode(sealed.removeprefix(MARK))
        tag, text = data[:TAG_BYTES], self._mixed(data[TAG_BYTES:], data[:TAG_BYTES])
        if not hmac.compare_digest(tag, hmac.digest(self.secret, text, "sha256")[:TAG_BYTES]):
            raise BadRecording(
                "FETCH_FAILED", "Its signed address is of another command or manifest; it is asked anew."
            )
        return text

    def _mixed(self, text: bytes, tag: bytes) -> bytes:
        stream = hashlib.shake_256(b"emosphere seal" + hashlib.sha256(self.secret).digest() + tag).digest(len(text))
        return bytes(a ^ b for a, b in zip(text, stream, strict=True))


UNSEALED: Final = Seal(b"")
"""For plans with nothing to hide."""


def seal_for(archives: Sequence[str], key: IdKey | None, store_options: dict[str, Any]) -> Seal:
    """Seal of a command. Its secret is the id key, or else what holds the signatures: the ARCHIVE words and manifests.

    So the same command opens its own plan again, on any machine, and who only reads OUT does not.
    """
    if key is not None:
        return Seal(key.secret, key)
    secret = hashlib.sha256()
    for archive in archives:
        secret.update(archive.encode(errors="surrogateescape") + b"\n")
        location = locate(archive, **options_for(archive, store_options))
        if location.path.startswith(("http://", "https://")) or not location.path.lower().endswith(MANIFESTS):
            continue
        # Listing says what is wrong with it.
        try:
            with explained(f"read {location.uri}", absence=False):
                size = location.fs.info(location.path)["size"]
                for start in sorted({0, max(0, (size or 0) - END_BYTES)}):
                    secret.update(location.fs.cat_file(location.path, start=start, end=start + END_BYTES))
        except ABSENT:
            continue
    return Seal(secret.digest())


def _is_signed(url: bytes) -> bool:
    return url.startswith((b"http://", b"https://")) and (b"?" in url or b"@" in url)
