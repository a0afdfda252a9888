"""What a plan has to keep and must not show: signed addresses, and with an id key every name."""

import base64
import functools
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from emosphere.errors import BadRecording
from emosphere.redaction import redact
from emosphere.store import ABSENT, explained, locate
from emosphere.tables.identity import IdKey, public_uri
from pipelines.archive.recording import Recording, options_for

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV

MARK: Final = b"aes-siv:"
"""What a sealed address begins with."""
EARLIER_MARK: Final = b"sealed:"
"""The same in plans of versions before this cipher, which only they can open."""
MANIFESTS: Final = (".csv", ".parquet")
END_BYTES: Final = 1 << 20
"""Bytes of either end of a manifest that go into the secret."""


@dataclass(frozen=True, slots=True, repr=False)
class Seal:
    """Seals the address of a recording for the plan, and opens it again on the worker that fetches it.

    By AES-SIV (RFC 5297), which is deterministic, so that a plan written twice is the same plan. A sealed address opens
    in its own column, under the source URI that it was sealed for, and nowhere else.
    """

    secret: bytes
    key: IdKey | None = None

    def cover(self, recording: Recording) -> Recording:
        """The recording as it may be stored."""
        attributes = recording.attributes and redact(recording.attributes)
        message = recording.error_message and self.say(recording.error_message, recording)
        if self.key is None and not _is_signed(recording.url):
            return replace(recording, attributes=attributes, error_message=message)
        uri = public_uri(recording.source_uri, self.key)
        member = recording.member
        if self.key is not None and member:
            member = self._sealed(os.fsencode(member), "member", uri).decode()
        return replace(
            recording,
            source_uri=uri,
            url=self._sealed(recording.url, "url", uri),
            member=member,
            attributes=attributes,
            error_message=message,
        )

    def uncover(self, recording: Recording) -> Recording:
        """The recording as it can be fetched, still under its public URI. Raises BadRecording for another's seal."""
        url, member = recording.url, recording.member
        if url.startswith((MARK, EARLIER_MARK)):
            url = self._opened(url, "url", recording.source_uri)
            if self.key is not None and member:
                member = os.fsdecode(self._opened(member.encode(), "member", recording.source_uri))
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

    def _sealed(self, text: bytes, column: str, uri: str) -> bytes:
        return MARK + base64.urlsafe_b64encode(_cipher(self.secret).encrypt(text, [column.encode(), uri.encode()]))

    def _opened(self, sealed: bytes, column: str, uri: str) -> bytes:
        if sealed.startswith(EARLIER_MARK):
            raise BadRecording(
                "FETCH_FAILED",
                "Its address was sealed by an earlier version, for a run that was not finished; it is asked anew.",
            )
        from cryptography.exceptions import InvalidTag

        try:
            data = base64.urlsafe_b64decode(sealed.removeprefix(MARK))
            return _cipher(self.secret).decrypt(data, [column.encode(), uri.encode()])
        except (InvalidTag, ValueError):
            raise BadRecording(
                "FETCH_FAILED", "Its signed address is of another command or manifest; it is asked anew."
            ) from None


@functools.lru_cache(maxsize=4)
def _cipher(secret: bytes) -> "AESSIV":
    # Imported where there is something to seal: most plans have nothing.
    from cryptography.hazmat.primitives.ciphers.aead import AESSIV
    from cryptography.hazmat.primitives.hashes import SHA512
    from cryptography.hazmat.primitives.kdf.hkdf import HKDF

    return AESSIV(HKDF(SHA512(), 64, salt=None, info=b"emosphere seal").derive(secret))


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
