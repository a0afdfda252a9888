"""What reading from a store costs."""

from collections import Counter

import pytest


@pytest.fixture
def requests(s3, monkeypatch) -> Counter:
    """Requests by method, and under ``bytes`` what the S3 server sent of the objects, from here on."""
    import s3fs

    counted: Counter = Counter()
    real = s3fs.S3FileSystem._call_s3

    async def counting(self, method, *args, **kwargs):
        answer = await real(self, method, *args, **kwargs)
        counted[method] += 1
        if method == "get_object":
            counted["bytes"] += answer["ContentLength"]
        return answer

    monkeypatch.setattr(s3fs.S3FileSystem, "_call_s3", counting)
    return counted
