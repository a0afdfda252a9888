"""Writes docs/pictures: the sphere with its regions, a recording's timeline, the way of the data.

All are made by the project itself: regions by its geometry, points and lines from the rows that the bundled model gives
for the demo archive. These rows lie beside the pictures, so that drawing needs no model; `--score` makes them anew.
"""

import csv
import html
import itertools
import math
import sys
import zipfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

import torch

from emosphere.geometry import REGION_NAMES, SphericalVad, from_spherical, region_of
from emosphere.vad import VAD_DIMS

Row = dict[str, str]
"""A segment of the demo archive, as it is kept."""

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
ROWS = PICTURES / "demo_segments.csv"
RECORDINGS = (
    "calls/2026-11-20_call_0001.wav",
    "calls.zip/call_0002.wav",
    "calls.zip/call_0003.mp3",
    "interview.m4a",
    "podcast_episode_01.mp3",
    "podcast_episode_02.ogg",
    "story.flac",
)
"""Of demo/archive."""
CALL = RECORDINGS[0]
SPEAKERS = ("channel 0, the customer", "channel 1, the agent")

COLUMNS = ("channel", "start_ms", "end_ms", *VAD_DIMS, "radius", "azimuth_deg", "polar_deg", "region_name")

STEPS: Final = (
    ("plan", "list", "pipelines/archive/listing.py", "objects, members, cells of tables"),
    ("plan", "choose", "pipelines/score/plan/choose.py", "what is not finished"),
    ("plan", "cut", "pipelines/score/plan/cut.py", "units, in parts"),
    ("score", "fetch", "pipelines/archive/fetch.py", "a recording's bytes"),
    ("score", "decode", "emosphere/audio/decoding/decode.py", "blocks at 16 kHz"),
    ("score", "cells", "emosphere/speech/cells.py", "about a minute of a channel"),
    ("score", "find speech", "emosphere/speech/cut_segments.py", "segments, at most 12 s"),
    ("score", "batch", "emosphere/model/cut_batches.py", "like lengths together"),
    ("score", "model", "emosphere/model/predict.py", "VAD, probabilities"),
    ("score", "columns", "emosphere/tasks/vad.py", "radius, angles, region"),
    ("score", "stage", "pipelines/score/publish/staged.py", "a row per unit"),
    ("publish", "fold", "pipelines/score/publish/fold.py", "units to recordings"),
    ("publish", "replace", "pipelines/score/publish/replace.py", "each file whole: Parquet"),
)
"""Part of the run, step, the file to read, what comes out."""
WHERE: Final = {"plan": "the command", "score": "actors, on Ray", "publish": "the command"}

STYLE: Final = """<style>
text{font:13px sans-serif;fill:#24292f}.s{font-size:11px;fill:#57606a}.b{font-weight:bold}.m{font:11px monospace}
.r{fill:#1b1f24}.g{stroke:#8c959f;stroke-width:1;fill:none}.p{stroke:#d0d7de;stroke-width:1;fill:none}
.box{fill:#f6f8fa;stroke:#8c959f}.dot{fill:#1b1f24;fill-opacity:.75}
.valence{stroke:#1a7f37;fill:#1a7f37}.arousal{stroke:#cf222e;fill:#cf222e}.dominance{stroke:#0969da;fill:#0969da}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.s{fill:#9da7b3}.r{fill:#1b1f24}.p{stroke:#3d444d}
.box{fill:#161b22;stroke:#6e7681}.valence{stroke:#3fb950;fill:#3fb950}.arousal{stroke:#ff7b72;fill:#ff7b72}
.dominance{stroke:#58a6ff;fill:#58a6ff}}
</style>"""
COLOURS: Final = {
    "A+V+D+": "#f2c14e", "A-V+D+": "#8fcf7a", "A-V-D+": "#7fb2e5", "A+V-D+": "#f08a76",
    "A+V+D-": "#d9b25f", "A-V+D-": "#7fb070", "A-V-D-": "#7896b8", "A+V-D-": "#c98377",
}  # fmt: skip
"""Of the eight regions, readable under dark text on any ground."""
AXES: Final = {"arousal": ((0, 90), "middle"), "valence": ((90, 90), "start"), "dominance": ((0, 0), "middle")}
"""Direction of each axis of the globe, and where its word stands."""

EYE: Final = (math.radians(18), math.radians(62))
"""Azimuth and polar angle of the direction that the globe is seen from."""
OUTLINE: Final = (
    *((-45, polar) for polar in range(0, 90, 3)),
    *((azimuth, 90) for azimuth in range(-45, 45, 3)),
    *((45, polar) for polar in range(90, -1, -3)),
)
"""Border of an octant: azimuth from its middle, polar angle from the nearer pole, in degrees."""


def sphere(rows: Sequence[Row]) -> str:
    """The globe of directions from one side, and all of it as a map, with the demo's segments on it."""
    parts = [
        _text(190, 28, "The sphere of directions", kind="b", anchor="middle"),
        *_globe(190, 190, 125),
        _text(660, 28, "All of it, and the segments of the demo archive", kind="b", anchor="middle"),
        *_map(rows, 420, 70, 480, 240),
    ]
    return _svg(920, 370, parts, "Sphere of directions with its eight regions, as a globe and as a map")


def _globe(x: float, y: float, radius: float) -> Iterator[str]:
    for name, (azimuth, polar) in _octants().items():
        seen = [_seen(azimuth + turn, down if polar < 90 else 180 - down) for turn, down in OUTLINE]
        # What lies behind the edge is drawn on it.
        flat = [(a, b) if near >= 0 else (a / math.hypot(a, b), b / math.hypot(a, b)) for a, b, near in seen]
        if max(near for *_, near in seen) > 0:
            points = " ".join(f"{x + radius * a:.1f} {y - radius * b:.1f}" for a, b in flat)
            yield f'<path fill="{COLOURS[name]}" stroke="{COLOURS[name]}" d="M{points}Z"/>'
    yield f'<circle class="g" cx="{x:g}" cy="{y:g}" r="{radius:g}"/>'
    for name, middle in _octants().items():
        a, b, near = _seen(*middle)
        if near > 0.4:
            yield _text(x + radius * a, y - radius * b + 4, name, kind="r", anchor="middle")
    for dim, (direction, anchor) in AXES.items():
        a, b, _ = _seen(*direction)
        yield _line(x + radius * a, y - radius * b, x + 1.2 * radius * a, y - 1.2 * radius * b, "g", width=2)
        kind = "r" if math.hypot(a, b) < 0.7 else "s"
        yield _text(x + 1.24 * radius * a, y - 1.28 * radius * b + 6, f"+{dim}", kind=kind, anchor=anchor)


def _map(rows: Sequence[Row], left: float, top: float, width: float, height: float) -> Iterator[str]:
    def x(azimuth: float) -> float:
        return left + (azimuth + 180) / 360 * width

    def y(polar: float) -> float:
        return top + polar / 180 * height

    for name, (azimuth, polar) in _octants().items():
        corner = f'x="{x(azimuth - 45):g}" y="{y(polar - 45):g}"'
        yield f'<rect fill="{COLOURS[name]}" {corner} width="{width / 4:g}" height="{height / 2:g}"/>'
        label_y = y(0) + 18 if polar < 90 else y(180) - 8
        yield _text(x(azimuth), label_y, name, kind="r", anchor="middle")
    for azimuth in range(-180, 181, 90):
        yield _line(x(azimuth), top, x(azimuth), top + height, "g")
        yield _text(x(azimuth), top + height + 16, f"{azimuth}°", kind="s", anchor="middle")
    for polar in (0, 90, 180):
        yield _line(left, y(polar), left + width, y(polar), "g")
        yield _text(left - 6, y(polar) + 4, f"{polar}°", kind="s", anchor="end")
    for row in rows:
        place = f'cx="{x(float(row["azimuth_deg"])):.1f}" cy="{y(float(row["polar_deg"])):.1f}"'
        yield f'<circle class="dot" {place} r="{2 + 5 * float(row["radius"]):.1f}"/>'
    across = "azimuth, from +arousal (0°) to +valence (90°)"
    down = "polar angle, from +dominance (0°) down; a larger dot is a larger radius"
    yield _text(left + width / 2, top + height + 34, across, kind="s", anchor="middle")
    yield _text(left + width / 2, top - 14, down, kind="s", anchor="middle")


def timeline(rows: Sequence[Row]) -> str:
    """Valence, arousal and dominance of the demo's call over time, a panel per channel."""
    call = [row for row in rows if row["recording"] == CALL]
    end_s = math.ceil(max(int(row["end_ms"]) for row in call) / 1000)
    parts = [_text(60, 22, f"demo/archive/{CALL}", kind="b")]
    for place, dim in enumerate(VAD_DIMS):
        x = 560 + 95 * place
        parts += [_line(x, 18, x + 18, 18, dim, width=4), _text(x + 24, 22, dim)]
    for channel, speaker in enumerate(SPEAKERS):
        top = 56 + channel * 196
        parts.append(_text(60, top - 10, speaker, kind="s"))
        parts += _panel([row for row in call if int(row["channel"]) == channel], end_s, 60, top, 780, 150)
    return _svg(880, 450, parts, "Valence, arousal and dominance of a call over time, customer and agent")


def _panel(rows: Sequence[Row], end_s: int, left: float, top: float, width: float, height: float) -> Iterator[str]:
    def x(seconds: float) -> float:
        return left + seconds / end_s * width

    def y(value: float) -> float:
        return top + (0.5 - value) * height

    for value in (-0.5, -0.25, 0.0, 0.25, 0.5):
        yield _line(left, y(value), left + width, y(value), "p" if value else "g")
        yield _text(left - 6, y(value) + 4, f"{value:g}", kind="s", anchor="end")
    for second in range(0, end_s + 1, 5):
        yield _line(x(second), top, x(second), top + height, "p")
        yield _text(x(second), top + height + 16, f"{second} s", kind="s", anchor="middle")
    for dim in VAD_DIMS:
        spans = [(x(int(row["start_ms"]) / 1000), x(int(row["end_ms"]) / 1000), y(float(row[dim]))) for row in rows]
        yield from (_line(start, at, stop, at, dim, width=4) for start, stop, at in spans)
        for (_, stop, at), (start, _, then) in itertools.pairwise(spans):
            yield _line(stop, at, start, then, dim, dashed=True)


def pipeline() -> str:
    """The way of the data, step by step, with the file that does each."""
    left, top, step, width = 150.0, 20.0, 46.0, 560.0
    parts = []
    for part, steps in itertools.groupby(enumerate(STEPS), key=lambda step: step[1][0]):
        places = [place for place, _ in steps]
        first, last = top + places[0] * step, top + places[-1] * step + 34
        parts += [
            f'<path class="g" d="M{left - 14:g} {first:g}h-8V{last:g}h8"/>',
            _text(left - 34, (first + last) / 2, part, kind="b", anchor="end"),
            _text(left - 34, (first + last) / 2 + 16, WHERE[part], kind="s", anchor="end"),
        ]
    for place, (_, name, file, gives) in enumerate(STEPS):
        y = top + place * step
        parts += [
            f'<rect class="box" x="{left:g}" y="{y:g}" width="{width:g}" height="34" rx="6"/>',
            _text(left + 14, y + 22, name, kind="b"),
            _text(left + 120, y + 22, gives),
            _text(left + width - 12, y + 21, file, kind="m", anchor="end"),
        ]
        if place:
            x = left + 28
            parts.append(f'<path class="g" d="M{x:g} {y - 12:g}v10m-4 -5l4 5l4 -5"/>')
    return _svg(740, top + len(STEPS) * step, parts, "The way of the data: " + ", ".join(name for _, name, *_ in STEPS))


def drawn(rows: Sequence[Row]) -> dict[str, str]:
    """File name -> content of each picture."""
    return {"sphere.svg": sphere(rows), "timeline.svg": timeline(rows), "pipeline.svg": pipeline()}


def kept_rows() -> list[Row]:
    """The rows that lie beside the pictures."""
    with ROWS.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def scored_rows(recordings: Iterable[str] = RECORDINGS) -> Iterator[dict[str, Any]]:
    """Rows that the bundled model gives for recordings of the demo archive, as `emosphere score` does."""
    import emosphere

    scorer = emosphere.load("default", device="cpu")
    with TemporaryDirectory() as folder:
        for name in recordings:
            segments = scorer.score(_waveform(name, Path(folder)), sample_rate_hz=16_000)
            for row in segments[list(COLUMNS)].to_dict("records"):
                yield {"recording": name} | {
                    key: round(value, 3) if isinstance(value, float) else value for key, value in row.items()
                }


def _waveform(name: str, scratch: Path) -> Any:
    """(channels, samples) at 16 kHz and 16 bits."""
    import numpy as np

    from emosphere.audio.decoding.decode import DecodeLimits, open_recording
    from emosphere.audio.sixteen_bit import from_16_bit, to_16_bit

    archive = ROOT / "demo" / "archive"
    path = archive / name
    if name.startswith("calls.zip/"):
        with zipfile.ZipFile(archive / "calls.zip") as calls:
            path = Path(calls.extract(name.removeprefix("calls.zip/"), scratch))
    return from_16_bit(to_16_bit(np.concatenate(list(open_recording(str(path), limits=DecodeLimits())), axis=1)))


def _octants() -> dict[str, tuple[int, int]]:
    """Name of each of the eight regions -> azimuth and polar angle of its middle, in degrees."""
    octants = {}
    for azimuth, polar in itertools.product(range(-135, 180, 90), (45, 135)):
        point = SphericalVad(*(torch.tensor(value) for value in (1.0, math.radians(azimuth), math.radians(polar))))
        octants[REGION_NAMES[8][int(region_of(from_spherical(point)))]] = (azimuth, polar)
    return octants


def _seen(azimuth_deg: float, polar_deg: float) -> tuple[float, float, float]:
    """A direction as seen by the eye: right, up, towards it; each within [-1, 1]."""
    point = SphericalVad(*(torch.tensor(value).deg2rad() for value in (1.0, azimuth_deg, polar_deg)))
    valence, arousal, dominance = from_spherical(point._replace(radius=torch.tensor(1.0))).tolist()
    turn, tilt = EYE
    forth = arousal * math.cos(turn) + valence * math.sin(turn)
    right = -arousal * math.sin(turn) + valence * math.cos(turn)
    up = dominance * math.sin(tilt) - forth * math.cos(tilt)
    return right, up, forth * math.sin(tilt) + dominance * math.cos(tilt)


def _svg(width: float, height: float, parts: Iterable[str], label: str) -> str:
    size = f'width="{width:g}" height="{height:g}" viewBox="0 0 {width:g} {height:g}"'
    body = "\n".join(parts)
    opening = f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{html.escape(label)}">'
    return f"{opening}{STYLE}\n{body}\n</svg>\n"


def _text(x: float, y: float, text: str, *, kind: str = "", anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{html.escape(text)}</text>'


def _line(x: float, y: float, to_x: float, to_y: float, kind: str, *, width: float = 1, dashed: bool = False) -> str:
    dash = ' stroke-dasharray="2 4"' if dashed else ""
    return f'<path class="{kind}" stroke-width="{width:g}"{dash} d="M{x:.1f} {y:.1f}L{to_x:.1f} {to_y:.1f}"/>'


if __name__ == "__main__":
    if "--score" in sys.argv:
        rows = list(scored_rows())
        with ROWS.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["recording", *COLUMNS], lineterminator="\n")
            writer.writeheader()
            writer.writerows(rows)
    for name, content in drawn(kept_rows()).items():
        (PICTURES / name).write_text(content, encoding="utf-8")
