"""What may be printed: no signature, no user, no secret of the environment."""

import pytest

from emosphere.redaction import redact


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("https://h/a.wav?sig=x&y=z failed", "https://h/a.wav failed"),
        ("'https://h/a.wav?sig=x'", "'https://h/a.wav'"),
        ("https://h/a.wav#part", "https://h/a.wav"),
        ("http://ann:pw@h:80/a", "http://h:80/a"),
        ("s3://KEY:SECRET@bucket/a@b.wav", "s3://bucket/a@b.wav"),
        ("the bucket 'KEY:SECRET@bucket' is missing", "the bucket 'bucket' is missing"),
        ("nope://ann:pw@h/x", "nope://h/x"),
        ("GET /a.wav?X-Amz-Signature=f00&X-Amz-Date=1", "GET /a.wav?X-Amz-Signature=...&X-Amz-Date=1"),
        ("zip://a@b.wav::file:///x.zip", "zip://a@b.wav::file:///x.zip"),
        ("what? a question", "what? a question"),
    ],
)
def test_what_signs_or_names_a_user_is_taken_out_and_nothing_else(text, said):
    assert redact(text, {}) == said


def test_secrets_of_the_environment_are_taken_out_and_placeholders_stay():
    environment = {"AWS_SECRET_ACCESS_KEY": "wJalrXUtnFEMI", "AWS_SESSION_TOKEN": "test"}
    said = redact("the key wJalrXUtnFEMI is a test", environment)
    assert said == "the key <AWS_SECRET_ACCESS_KEY> is a test"
