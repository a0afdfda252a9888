"""From a corpus as shipped to the manifest that training reads: from a disk or S3, whole or refused, decoded once."""

import csv
import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import soundfile

from emosphere.clips.batches import read_clip
from emosphere.clips.manifest import Clip, read_manifest
from emosphere.corpora.audformat import read_audformat
from emosphere.corpora.iemocap import read_iemocap
from emosphere.corpora.msp_podcast import PRIMARY
from emosphere.errors import MachineError, UsageError
from emosphere.store import locate
from pipelines.prepare.command import prepare
from pipelines.prepare.request import PrepareRequest
from pipelines.prepare.shards import decode_batch
from tests.corpora.audformat_database import make_database
from tests.corpora.iemocap import make_iemocap
from tests.corpora.msp_podcast import make_msp_podcast


@pytest.fixture(scope="module")
def podcast(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_msp_podcast(tmp_path_factory.mktemp("podcast") / "corpus", 120, seed=1, release="1.11")


def run(source: Path | str, out: Path | str, **options: Any) -> dict[str, Any]:
    known = {"format": "msp-podcast", "release": "1.11"} if "format" not in options else {}
    return prepare(PrepareRequest(source=str(source), out=str(out), **known | options))


def copy_of(podcast: Path, folder: Path) -> Path:
    """The same labels, the same audio under other names: tests may break them."""
    (folder / "Labels").mkdir(parents=True)
    (folder / "Audios").mkdir()
    for path in podcast.rglob("*.*"):
        (folder / path.relative_to(podcast)).write_bytes(path.read_bytes())
    return folder


def test_every_labelled_clip_is_in_the_manifest_or_in_the_list(podcast: Path, tmp_path: Path) -> None:
    result = run(podcast, tmp_path / "m.parquet")
    clips = read_manifest(str(tmp_path / "m.parquet"))
    with (podcast / "Labels" / "labels_consensus.csv").open() as file:
        given = {row["FileName"]: row for row in csv.DictReader(file)}
    with (tmp_path / "m.dropped.csv").open() as file:
        dropped = list(csv.DictReader(file))
    assert len(clips) + len(dropped) == len(given) == 120
    assert result["dropped"] == {"category": len(dropped)}
    assert result["dropped_list"] == str(tmp_path / "m.dropped.csv")
    assert {given[Path(row["uri"]).name]["EmoClass"] for row in dropped} == {"X", "O"}
    for clip in clips:
        row = given[clip.name]
        rated = [float(row[name]) for name in ("EmoVal", "EmoAct", "EmoDom")]
        assert clip.vad == pytest.approx([(y - 4) / 3 for y in rated])
        assert clip.duration_ms == int(soundfile.info(clip.uri).duration * 1000)
        assert np.mean([answer["valence"] for answer in json.loads(clip.ratings or "")]) == pytest.approx(rated[0])


def test_the_summary_counts_what_the_manifest_holds(podcast: Path, tmp_path: Path) -> None:
    result = run(podcast, tmp_path / "m.parquet", in_house_test=2)
    clips = read_manifest(str(tmp_path / "m.parquet"))
    splits = [clip.split for clip in clips]
    assert {part["split"]: part["clips"] for part in result["parts"]} == {
        split: splits.count(split) for split in ("train", "dev", "in-house-test", "test1", "test2")
    }
    assert splits.count("dev") == 16
    (dev,) = (part for part in result["parts"] if part["split"] == "dev")
    assert dev["categories"] == dict.fromkeys(PRIMARY, 2)
    assert result["hours"] == pytest.approx(sum(clip.duration_ms or 0 for clip in clips) / 3.6e6, abs=1e-4)
    assert result["speakers"] == len({clip.speaker for clip in clips})
    assert any("speakers of in-house-test are in dev too" in note for note in result["notes"])


def test_too_few_of_a_category_are_refused_before_anything_is_written(podcast: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="--in-house-test 300: the development part has too few clips of anger"):
        run(podcast, tmp_path / "m.parquet", in_house_test=300)
    assert list(tmp_path.iterdir()) == []


def test_a_dry_run_counts_alike_and_writes_nothing(podcast: Path, tmp_path: Path) -> None:
    dry = run(podcast, tmp_path / "m.parquet", dry_run=True)
    assert list(tmp_path.iterdir()) == []
    wet = run(podcast, tmp_path / "m.parquet")
    same = ("clips", "hours", "parts", "dropped", "notes")
    assert [dry[name] for name in same] == [wet[name] for name in same]


def test_unusable_audio_is_listed_and_refused_or_left_out(podcast: Path, tmp_path: Path) -> None:
    source = copy_of(podcast, tmp_path / "corpus")
    wavs = sorted((source / "Audios").iterdir())
    wavs[0].unlink()
    wavs[1].write_bytes(b"")
    wavs[2].write_bytes(wavs[2].read_bytes()[:4000])
    out = tmp_path / "m.parquet"
    with pytest.raises(UsageError, match=r"3 clips of \d+ cannot be heard: .*There is no such file; .*m\.dropped\.csv"):
        run(source, out)
    assert not out.exists()
    listed = (tmp_path / "m.dropped.csv").read_text()
    assert all(reason in listed for reason in (",NOT_FOUND,", ",EMPTY,", ",TRUNCATED,"))
    result = run(source, out, drop_missing=True)
    assert {name: count for name, count in result["dropped"].items() if name != "category"} == {
        "NOT_FOUND": 1, "EMPTY": 1, "TRUNCATED": 1,
    }  # fmt: skip
    names = {clip.name for clip in read_manifest(str(out))}
    assert not names & {path.name for path in wavs[:3]}


def test_a_later_run_without_loss_takes_the_old_list_away(podcast: Path, tmp_path: Path) -> None:
    run(podcast, tmp_path / "m.parquet")
    assert (tmp_path / "m.dropped.csv").exists()
    assert run(podcast, tmp_path / "m.parquet", drop="")["dropped_list"] is None
    assert not (tmp_path / "m.dropped.csv").exists()


def test_speakers_in_two_splits_are_refused_unless_allowed(podcast: Path, tmp_path: Path) -> None:
    source = copy_of(podcast, tmp_path / "corpus")
    table = source / "Labels" / "labels_consensus.csv"
    table.write_text(table.read_text().replace(",1,Male,Train", ",9,Male,Train"))  # 9 speaks in Development
    with pytest.raises(UsageError, match=r"1 of \d+ speakers are in more than one split: msp-podcast_9 in train"):
        run(source, tmp_path / "m.parquet")
    result = run(source, tmp_path / "m.parquet", allow_shared_speakers=True)
    assert any("msp-podcast_9 in train" in note for note in result["notes"])


def test_labels_off_the_scale_are_refused_by_row(podcast: Path, tmp_path: Path) -> None:
    source = copy_of(podcast, tmp_path / "corpus")
    table = source / "Labels" / "labels_consensus.csv"
    lines = table.read_text().splitlines()
    cells = lines[1].split(",")
    lines[1] = ",".join([*cells[:2], "7.5", *cells[3:]])
    table.write_text("\n".join(lines) + "\n")
    with pytest.raises(UsageError, match=rf"labels_consensus\.csv row 0 \({cells[0]}\): arousal is 7\.5, outside"):
        run(source, tmp_path / "m.parquet")
    assert run(source, tmp_path / "m.parquet", drop_bad_labels=True)["dropped"]["bad_label"] == 1


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "wav"}, "--format 'wav' is not one of msp-podcast, iemocap, audformat, csv, parquet"),
        ({"format": "msp-podcast"}, r"Which release is it\? --release 1\.11\|1\.12\|2\.0"),
        ({"format": "iemocap", "scale": "1..7", "release": "2.0"}, "--release, --scale: means nothing to --format iem"),
        ({"format": "csv", "out": "m.csv"}, r"--out m\.csv: a manifest is a file that ends in \.parquet"),
        ({"format": "csv", "out": "http://x/m.parquet"}, "--out cannot be written over http"),
        ({"format": "csv", "scale": "1..7"}, r"wants a file that ends in \.csv"),
        ({"format": "csv", "source": "t.csv", "words": True, "scale": "1..7"}, "--words leaves no room for --scale"),
    ],
)
def test_options_that_do_not_fit_are_refused(tmp_path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        prepare(PrepareRequest(**{"source": str(tmp_path), "out": str(tmp_path / "m.parquet")} | options))


def test_acted_words_are_prepared_as_training_reads_them(shared_data: Path, tmp_path: Path) -> None:
    table = shared_data / "emotion" / "manifest.csv"
    result = run(table, tmp_path / "m.parquet", format="csv", words=True)
    read, direct = read_manifest(str(tmp_path / "m.parquet")), read_manifest(str(table))
    assert result["clips"] == len(direct) == 2931
    for mine, other in zip(read, direct, strict=True):
        np.testing.assert_array_equal(mine.vad, other.vad)
        for name in ("uri", "weak", "category", "intensity", "speaker", "gender", "corpus", "split"):
            assert getattr(mine, name) == getattr(other, name)
        assert abs(mine.duration_ms - other.duration_ms) <= 1
    rated = [clip for clip in read if clip.corpus == "emodb"]
    assert len(rated) == 28
    assert not any(clip.weak for clip in rated)


def test_a_corpus_on_s3_becomes_a_manifest_on_s3(s3: Any, podcast: Path) -> None:
    s3.put(str(podcast), "audio/msp", recursive=True)
    s3.rm("audio/msp/Audios/MSP-PODCAST_0000_0001.wav")
    s3.pipe("audio/msp/Transcripts/MSP-PODCAST_0000_0000.txt", b"I am angry.\n")
    with pytest.raises(
        UsageError, match=r"1 clip of \d+ cannot be heard: .*There is no such file\. All are listed in s3:"
    ):
        run("s3://audio/msp", "s3://tables/m.parquet")
    result = run("s3://audio/msp", "s3://tables/m.parquet", drop_missing=True)
    assert result["dropped"]["NOT_FOUND"] == 1
    assert s3.exists("tables/m.dropped.csv")
    clips = read_manifest("s3://tables/m.parquet")
    assert len(clips) == result["clips"]
    assert all(clip.uri.startswith("s3://audio/msp/Audios/") for clip in clips)
    assert [clip.transcript for clip in clips] == ["I am angry.", *[None] * (len(clips) - 1)]
    name = clips[0].name
    assert clips[0].duration_ms == int(soundfile.info(podcast / "Audios" / name).duration * 1000)
    np.testing.assert_array_equal(read_clip(clips[0]), soundfile.read(podcast / "Audios" / name, dtype="float32")[0])

    names = ("uri", "start_ms", "end_ms", "channel")
    batch = [json.dumps({name: getattr(clip, name) for name in names}) for clip in clips[:3]]
    gone = json.dumps({"uri": "s3://audio/msp/none.wav", "start_ms": 0, "end_ms": None, "channel": None})
    answers = decode_batch({"number": range(4), "clip": [*batch, gone]}, "s3://tables/flac")
    assert list(answers["code"]) == ["", "", "", "NOT_FOUND"]
    assert list(answers["duration_ms"][:3]) == [clip.duration_ms for clip in clips[:3]]
    for clip, uri in zip(clips[:3], answers["uri"][:3], strict=True):
        assert uri.startswith("s3://tables/flac/")
        np.testing.assert_array_equal(read_clip(dataclasses.replace(clip, uri=uri)), read_clip(clip))


def test_sessions_and_databases_are_read_from_s3_alike(s3: Any, tmp_path: Path) -> None:
    make_iemocap(tmp_path / "iemocap")
    make_database(tmp_path / "database")
    s3.put(str(tmp_path / "iemocap"), "audio/iemocap", recursive=True)
    s3.put(str(tmp_path / "database"), "audio/database", recursive=True)
    for read, name in ((read_iemocap, "iemocap"), (read_audformat, "database")):
        here, there = (read(locate(f"{folder}/{name}")).rows for folder in (tmp_path, "s3://audio"))
        assert [row["uri"].replace(str(tmp_path), "s3://audio") for row in here] == [row["uri"] for row in there]
        assert [row["valence"] for row in here] == [row["valence"] for row in there]


@pytest.mark.ray
def test_decoded_copies_hold_the_same_sound_and_only_that(podcast: Path, tmp_path: Path) -> None:
    """Stretches, channels and other rates are gone from the copies; the labels are not."""
    rng = np.random.default_rng(0)
    (tmp_path / "a").mkdir()
    stereo = (rng.normal(scale=0.1, size=(48_000, 2)) * 32_768).astype(np.int16)
    soundfile.write(tmp_path / "a" / "call.wav", stereo, 16_000)
    soundfile.write(tmp_path / "a" / "wide.flac", rng.normal(scale=0.1, size=44_100), 44_100)
    (tmp_path / "a" / "none.mp3").write_bytes(b"no sound")
    rows = [
        ["call.wav", 500, 1500, 1, 2, "a", "train"],
        ["call.wav", 1500, "", "", 3, "a", "train"],
        ["wide.flac", "", "", "", 4, "b", "test"],
        ["none.mp3", "", "", "", 4, "c", "test"],
    ]
    with (tmp_path / "a" / "t.csv").open("w", newline="") as file:
        csv.writer(file).writerows([["path", "start_ms", "end_ms", "channel", "valence", "speaker", "split"], *rows])
    options = {"format": "csv", "scale": "1..5", "corpus": "c", "drop_missing": True}
    direct, copies = tmp_path / "direct.parquet", tmp_path / "copies.parquet"
    first = run(tmp_path / "a" / "t.csv", direct, **options)
    second = run(tmp_path / "a" / "t.csv", copies, **options, shards=str(tmp_path / "flac"))
    assert first["dropped"] == second["dropped"] == {"UNSUPPORTED": 1}
    assert first["parts"] == second["parts"]
    # The textbook twin: all samples of the training clips in a row.
    learnt = np.concatenate([read_clip(clip) for clip in read_manifest(str(copies)) if clip.split == "train"])
    moments = {"waveform_mean": learnt.mean(dtype=np.float64), "waveform_std": learnt.std(dtype=np.float64)}
    assert first["waveform"] is None
    assert second["waveform"] == pytest.approx(moments, rel=1e-9)
    stored = json.loads(pq.read_schema(copies).metadata[b"emosphere"])
    assert stored == {"manifest_version": 2, "scale": "centred", "range": [-1, 1], **second["waveform"]}
    for one, two in zip(read_manifest(str(direct)), read_manifest(str(copies)), strict=True):
        assert (one.vad[0], one.speaker, one.duration_ms) == (two.vad[0], two.speaker, two.duration_ms)
        assert (two.start_ms, two.end_ms, two.channel) == (0, None, None)
        assert two.uri.startswith(str(tmp_path / "flac"))
        assert soundfile.info(two.uri).subtype == "PCM_16"
        # Half a step of 16 bit; an average of two channels lies between the steps.
        np.testing.assert_allclose(read_clip(two), decoded_clip(one), atol=1.01 / 65_536)
    with pytest.raises(MachineError, match=r"Could not write .*t\.csv"):
        run(tmp_path / "a" / "t.csv", copies, **options, shards=str(tmp_path / "a" / "t.csv"))


def test_the_draw_is_the_same_from_decoded_copies(
    podcast: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(podcast, tmp_path / "m.parquet", in_house_test=2)

    def decoded(rows: list[dict[str, Any]], shards: str) -> Iterator[dict[str, Any]]:
        return ({"duration_ms": 1000, "shard": {"uri": f"{shards}/{number}.flac"}} for number in range(len(rows)))

    monkeypatch.setattr("pipelines.prepare.command.decode_into_shards", decoded)
    run(podcast, tmp_path / "d.parquet", in_house_test=2, shards="/flac")
    plain, copies = (read_manifest(str(tmp_path / name)) for name in ("m.parquet", "d.parquet"))
    assert [clip.split for clip in copies] == [clip.split for clip in plain]
    assert copies[0].uri == "/flac/0.flac"


def decoded_clip(clip: Clip) -> np.ndarray:
    """What training hears; at another rate, as the decoder of the house resamples it."""
    from emosphere.corpora.clip_audio import clip_samples

    if clip.uri.endswith(".wav"):
        return read_clip(clip)
    return clip_samples({"uri": clip.uri, "start_ms": 0, "end_ms": None, "channel": None})


def test_the_summary_is_json(podcast: Path, tmp_path: Path) -> None:
    json.dumps(run(podcast, tmp_path / "m.parquet", dry_run=True))
