"""A decoder that dies, stalls or grows costs one recording."""

import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from emosphere.audio.decoding.child import IsolatedDecoder
from emosphere.audio.decoding.decode import DecodeLimits
from emosphere.audio.sixteen_bit import from_16_bit, to_16_bit
from emosphere.errors import BadRecording

LIMITS = DecodeLimits(stall_timeout_s=20.0)
MISBEHAVING = (str(Path(__file__).with_name("misbehaving_child.py")),)


@pytest.fixture(scope="module")
def decoder():
    with IsolatedDecoder(LIMITS) as decoder:
        yield decoder


@pytest.fixture(scope="module")
def misbehaving():
    with IsolatedDecoder(LIMITS, program=MISBEHAVING) as decoder:
        yield decoder


@pytest.fixture
def jfk(shared_data):
    return str(shared_data / "longform" / "jfk_inaugural.wav")


@pytest.fixture
def named(jfk, tmp_path):
    """The same recording under a name that tells the misbehaving child what to do."""

    def copy(name):
        return shutil.copy(jfk, tmp_path / f"{name}.wav")

    return copy


def drain(stream):
    return np.concatenate(list(stream), axis=1)


@pytest.mark.parametrize(
    ("name", "start_s"),
    [("jfk_inaugural.wav", 0.0), ("librivox_sonnet.mp4", 5.5), ("stereo_call_mulaw_8k.wav", 12.0)],
)
def test_the_child_gives_what_decoding_here_gives(decoder, decode, shared_data, name, start_s):
    path = shared_data / "longform" / name
    expected, here = decode(path, start_s)
    stream = decoder.open(str(path), start_s)
    np.testing.assert_array_equal(drain(stream), from_16_bit(to_16_bit(expected)))
    assert (stream.header, stream.start_sample, stream.outcome) == (here.header, here.start_sample, here.outcome)


def test_errors_come_through_with_code_and_message(decoder, shared_data, jfk):
    for name, code in (("own_nan_inf_float.wav", "NON_FINITE"), ("own_text.wav", "UNSUPPORTED")):
        with pytest.raises(BadRecording) as failure:
            drain(decoder.open(str(shared_data / "broken" / name)))
        assert failure.value.code == code
    with pytest.raises(FileNotFoundError):
        decoder.open("/nowhere/at all.wav")
    assert drain(decoder.open(jfk)).shape == (1, 176_000)


def test_a_decoder_that_dies_costs_one_recording(misbehaving, jfk, named):
    with pytest.raises(BadRecording, match="signal 11") as failure:
        misbehaving.open(named("die"))
    assert failure.value.code == "CRASHED"
    assert drain(misbehaving.open(jfk)).shape == (1, 176_000)


def test_whoever_ends_the_parent_spares_the_child(decoder, jfk):
    """By Ctrl-C, or by SIGTERM to every process of a service: the recording would look as if it were broken."""
    stream = decoder.open(jfk)
    child = decoder._child.pid
    assert os.getpgid(child) == child
    os.kill(child, signal.SIGTERM)
    assert drain(stream).shape == (1, 176_000)
    assert decoder._child.pid == child


def test_a_decoder_that_is_killed_from_another_thread_has_crashed(jfk):
    with IsolatedDecoder(LIMITS) as decoder:
        stream = decoder.open(jfk)
        decoder.kill()
        with pytest.raises(BadRecording, match="signal 9"):
            drain(stream)
        assert drain(decoder.open(jfk)).shape == (1, 176_000)


def test_a_decoder_that_stalls_is_stopped(jfk, named):
    with IsolatedDecoder(replace(LIMITS, stall_timeout_s=1.0), program=MISBEHAVING) as decoder:
        # Starting up takes its time on a busy machine; it is not what is measured here.
        for _ in range(20):
            try:
                drain(decoder.open(jfk))
                break
            except BadRecording:
                continue
        began = time.monotonic()
        with pytest.raises(BadRecording, match="gave nothing for 1 s") as failure:
            decoder.open(named("spin"))
        assert failure.value.code == "TIMED_OUT"
        assert time.monotonic() - began < 5


def test_a_decoder_that_trickles_for_ever_is_stopped(jfk, named):
    limits = replace(LIMITS, stall_timeout_s=30.0, max_wait_s=2.0)
    with IsolatedDecoder(limits, program=MISBEHAVING) as decoder:
        with pytest.raises(BadRecording, match="took 2 s and was stopped") as failure:
            decoder.open(named("trickle"))
        assert failure.value.code == "TIMED_OUT"
    with IsolatedDecoder(replace(LIMITS, max_wait_s=30.0)) as decoder:
        for _ in range(3):  # each recording has the whole of it
            assert drain(decoder.open(jfk)).shape == (1, 176_000)
            decoder._waited_s += 29.0


def test_a_decoder_that_grows_is_refused(jfk, named):
    with IsolatedDecoder(replace(LIMITS, max_memory_bytes=600_000_000), program=MISBEHAVING) as decoder:
        with pytest.raises(BadRecording, match="more memory") as failure:
            decoder.open(named("grow"))
        assert failure.value.code == "REFUSED"
        assert drain(decoder.open(jfk)).shape == (1, 176_000)


def test_a_child_killed_from_outside_is_replaced(decoder, jfk):
    drain(decoder.open(jfk))
    decoder._child.kill()
    decoder._child.wait()
    assert drain(decoder.open(jfk)).shape == (1, 176_000)


def test_a_recording_can_be_left_in_the_middle(decoder, shared_data, jfk):
    long = str(shared_data / "longform" / "composite_long.mp3")
    drain(decoder.open(jfk))
    child = decoder._child.pid
    with decoder.open(long) as stream:
        next(iter(stream))
    # Also without saying so.
    next(iter(decoder.open(long)))
    assert drain(decoder.open(jfk)).shape == (1, 176_000)
    assert decoder._child.pid == child


def test_chatter_of_native_code_stays_in_the_child(misbehaving, named, capfd):
    drain(misbehaving.open(named("chatter")))
    assert capfd.readouterr() == ("", "")


def test_the_last_words_of_a_dying_decoder_are_kept(misbehaving, named):
    with pytest.raises(BadRecording, match=r"Its last words: .*noise noise"):
        misbehaving.open(named("chatter-and-die"))


def test_decoders_of_several_threads_do_not_meet(shared_data):
    results = {}

    def work(number):
        with IsolatedDecoder(LIMITS) as decoder:
            name = ("jfk_inaugural.wav", "french_read.wav")[number % 2]
            results[number] = drain(decoder.open(str(shared_data / "longform" / name))).shape[1]

    threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == {0: 176_000, 1: 234_282, 2: 176_000, 3: 234_282}


def test_a_child_that_was_started_ahead_takes_the_first_recording(jfk, decode):
    with IsolatedDecoder(LIMITS) as decoder:
        decoder.start()
        early = decoder._child
        decoder.start()
        assert decoder._child is early
        stream = decoder.open(jfk)
        assert decoder._child is early
        np.testing.assert_array_equal(drain(stream), decode(jfk)[0])


def test_a_child_that_died_before_the_first_recording_is_replaced(jfk):
    with IsolatedDecoder(LIMITS) as decoder:
        decoder.start()
        decoder._child.kill()
        decoder._child.wait()
        assert decoder.open(jfk).header.codec == "pcm_s16le"


def test_the_child_starts_without_torch(root):
    command = [sys.executable, "-m", "tests.emosphere.audio.decoding.child_modules"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def test_the_child_goes_when_its_parent_is_killed(jfk, root):
    command = [sys.executable, "-m", "tests.emosphere.audio.decoding.child_parent", jfk]
    parent = subprocess.Popen(command, cwd=root, stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 20
    while Path(f"/proc/{child}").exists() and _is_running(child):
        assert time.monotonic() < deadline
        time.sleep(0.1)


def _is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize(
    "name", ["wav", "flac", "ogg-vorbis", "ogg-opus", "mp3-cbr", "m4a-alac", "mp4-opus", "webm-opus", "amr", "wma"]
)
def test_flipped_bytes_end_as_audio_or_as_a_code(decoder, encoded, tmp_path, name):
    content = Path(encoded(name).path).read_bytes()
    dice = random.Random(name)
    codes: list[str] = []
    for round_number in range(6):
        damaged = bytearray(content)
        # Some rounds hit the headers, some all of the file, some cut it.
        reach = 400 if round_number % 2 else len(damaged)
        for _ in range(dice.choice([1, 5, 50])):
            damaged[dice.randrange(min(reach, len(damaged)))] = dice.randrange(256)
        path = tmp_path / f"{round_number}"
        path.write_bytes(damaged[: dice.choice([len(damaged), len(damaged), len(damaged) // 3])])
        try:
            samples = drain(decoder.open(os.fspath(path)))
        except BadRecording as failure:
            codes.append(failure.code)
        else:
            assert np.isfinite(samples).all()
    assert "TIMED_OUT" not in codes
