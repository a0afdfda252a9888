"""Text that may be printed, logged or stored: without signatures, user information and known secrets."""

import os
import re
from collections.abc import Mapping
from typing import Final

SECRET_VARIABLES: Final = (
    "AWS_ACCESS_KEY_ID",
    "AWS_SECRET_ACCESS_KEY",
    "AWS_SESSION_TOKEN",
    "EMOSPHERE_ID_KEY",
    "HF_TOKEN",
    "RAY_AUTH_TOKEN",
)
"""Environment variables whose values are taken out wherever they turn up."""
SHORTEST_SECRET: Final = 8
"""A shorter value is a placeholder (``test``), and a word of its own in other text."""

_USER: Final = re.compile(r"(?i)\b((?!zip|tar|parquet|file)[a-z][a-z0-9+.-]*://)[^\s/'\"?#]*@")
_PAIR: Final = re.compile(r"[^\s/'\"@:]+:[^\s/'\"@:]+@(?=[\w.-])")
_QUERY: Final = re.compile(r"(?i)(https?://[^\s?#'\"<>]*)[?#][^\s'\"<>]*")
_SIGNATURE: Final = re.compile(
    r"(?i)\b(X-(?:Amz|Goog)-(?:Signature|Credential|Security-Token)|AWSAccessKeyId|Signature|sig|access_token|token)"
    r"=[^\s&'\"]+"
)


def redact(text: str, environment: Mapping[str, str] = os.environ) -> str:
    """The text without queries and user information of URLs, signatures, and values of SECRET_VARIABLES.

    >>> redact("GET https://ann:pw@host/a.wav?X-Amz-Signature=f00 failed", {})
    'GET https://host/a.wav failed'
    """
    for name in SECRET_VARIABLES:
        value = environment.get(name, "")
        if len(value) >= SHORTEST_SECRET:
            text = text.replace(value, f"<{name}>")
    return _SIGNATURE.sub(r"\1=...", _QUERY.sub(r"\1", _PAIR.sub("", _USER.sub(r"\1", text))))
