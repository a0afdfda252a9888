"""Each distortion does what its name says, and the same seed gives the same copy."""

import numpy as np
import numpy.typing as npt
import pytest

from emosphere.clips.augment import (
    DistortionConfig,
    add_noise,
    add_room,
    change_level,
    change_speed,
    distort,
    overdrive,
    through_aac,
    through_mp3,
    through_telephone,
)

Sound = npt.NDArray[np.float32]


def tone(hz: float, seconds: float = 1.0) -> Sound:
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(int(16_000 * seconds)) / 16_000)).astype(np.float32)


def level(sound: Sound) -> float:
    return float(np.sqrt(np.mean(np.square(sound[1000:-1000], dtype=np.float64))))


def pitch(sound: Sound) -> float:
    return float(np.argmax(np.abs(np.fft.rfft(sound * np.hanning(len(sound))))) * 16_000 / len(sound))


def test_faster_is_shorter_and_higher() -> None:
    fast = change_speed(tone(400), 1.25)
    assert len(fast) == pytest.approx(16_000 / 1.25, abs=2)
    assert pitch(fast) == pytest.approx(500, abs=2)


def test_a_gain_is_in_decibels_and_ends_at_full_scale() -> None:
    for gain_db in (-20.0, -6.0, 6.0):
        louder = change_level(tone(400), gain_db)
        assert 20 * np.log10(level(louder) / level(tone(400))) == pytest.approx(gain_db, abs=0.01)
    assert np.abs(change_level(tone(400), 40.0)).max() == 1


def test_copies_without_a_gain_are_what_they_were() -> None:
    """The gain is drawn last, and only where it is wanted."""
    plain, gained = (
        distort(tone(400), DistortionConfig(clip=0, gain_db=gain_db), np.random.default_rng(3))
        for gain_db in (None, (-12.0, -12.0))
    )
    np.testing.assert_allclose(gained, plain * 10 ** (-12 / 20), atol=1e-6)
    with pytest.raises(ValueError, match="lowest and the highest"):
        DistortionConfig(gain_db=(3.0, -3.0))


@pytest.mark.parametrize("snr_db", [0.0, 10.0, 20.0])
def test_noise_stands_at_its_ratio(snr_db: float) -> None:
    clean = tone(400)
    noise = add_noise(clean, snr_db, 1.0, np.random.default_rng(0)) - clean
    assert 20 * np.log10(level(clean) / level(noise)) == pytest.approx(snr_db, abs=1.5)


@pytest.mark.parametrize(("hz", "passes"), [(100, False), (1000, True), (3000, True), (4500, False)])
def test_a_telephone_passes_300_to_3400_hz(hz: float, passes: bool) -> None:
    changed = through_telephone(tone(hz))
    assert len(changed) == 16_000
    assert (level(changed) > 0.7 * level(tone(hz))) == passes
    assert (level(changed) < 0.1 * level(tone(hz))) == (not passes)


def test_a_telephones_steps_are_small_for_soft_sounds() -> None:
    error = through_telephone(tone(1000)) - tone(1000)
    assert 0 < level(error) < 0.05 * level(tone(1000))


def test_mp3_keeps_the_clip_recognisable() -> None:
    changed = through_mp3(tone(1000), 0.8)
    assert pitch(changed) == pytest.approx(1000, abs=3)
    assert len(changed) == pytest.approx(16_000, abs=2400)


@pytest.mark.parametrize(("hz", "passes"), [(500, True), (4500, True), (6000, False), (7000, False)])
def test_aac_keeps_time_and_level_and_cuts_where_it_is_told(hz: float, passes: bool) -> None:
    changed = through_aac(tone(hz), 24, 5300)
    assert len(changed) == 16_000
    if passes:
        error = changed - tone(hz)
        assert level(error) < 0.1 * level(tone(hz))
    else:
        assert level(changed) < 0.01 * level(tone(hz))


def test_a_room_adds_a_tail_after_the_sound() -> None:
    click = np.zeros(16_000, np.float32)
    click[100] = 1.0
    wet = add_room(click, 0.3, np.random.default_rng(0))
    assert wet[100] == pytest.approx(1.0, abs=1e-3)
    assert np.abs(wet[:100]).max() < 1e-5
    assert np.abs(wet[101:2000]).max() > 10 * np.abs(wet[5000:]).max()


def test_overdriven_sound_is_cut_at_full_scale() -> None:
    loud = overdrive(tone(400), 4.0)
    assert np.abs(loud).max() == 1
    assert np.mean(np.abs(loud) == 1) > 0.5


@pytest.mark.parametrize(
    "sound",
    [tone(300), np.zeros(4000, np.float32), np.zeros(700, np.float32), tone(300)[:700]],
    ids=["tone", "silence", "short silence", "short tone"],
)
def test_copies_are_finite_and_repeatable(sound: Sound) -> None:
    config = DistortionConfig(reverb=1, noise=1, telephone=1, mp3=1, aac=1, clip=1)
    one, two = (distort(sound, config, np.random.default_rng(3)) for _ in range(2))
    assert np.isfinite(one).all()
    assert one.dtype == np.float32
    np.testing.assert_array_equal(one, two)
    assert len(one) > 0


def test_a_probability_above_one_is_refused() -> None:
    with pytest.raises(ValueError, match=r"mp3=1\.5 is not a probability"):
        DistortionConfig(mp3=1.5)
