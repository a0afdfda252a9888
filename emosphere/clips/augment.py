"""What archives do to sound, done to training clips: other speeds, noise, rooms, telephones, MP3, AAC."""

import io
from dataclasses import dataclass
from typing import cast

import av
import numpy as np
import numpy.typing as npt
import soundfile
import soxr

Waveform = npt.NDArray[np.float32]
RATE_HZ = 16_000


@dataclass(frozen=True, kw_only=True, slots=True)
class DistortionConfig:
    """Distorted copies kept of each clip, and how often each distortion strikes one."""

    copies: int = 3
    """Distorted copies beside the clean one."""
    speed: float = 0.12
    """Speed and pitch change together by up to this share, either way: voices nobody has."""
    reverb: float = 0.2
    """Probability of a room."""
    noise: float = 0.4
    """Probability of noise, 5 to 30 dB below the clip."""
    telephone: float = 0.3
    """Probability of a telephone: 300 to 3400 Hz at 8 kHz, mu-law."""
    mp3: float = 0.25
    """Probability of MP3 at a low rate."""
    aac: float = 0.25
    """Probability of AAC at a low rate, with nothing above 3.5 to 8 kHz: its encoders cut there."""
    clip: float = 0.1
    """Probability of an overdriven input."""
    gain_db: tuple[float, float] | None = None
    """Lowest and highest change of the level of every copy, in dB; None leaves it as it is. A front end that levels
    its input, as both of this project do where no global mean is given, sees nothing of it but what is cut off."""

    def __post_init__(self) -> None:
        if self.copies < 0:
            raise ValueError(f"copies={self.copies} must not be negative.")
        if self.gain_db is not None and not (len(self.gain_db) == 2 and self.gain_db[0] <= self.gain_db[1]):
            raise ValueError(f"gain_db={list(self.gain_db)} must be the lowest and the highest change of level.")
        for name in ("reverb", "noise", "telephone", "mp3", "aac", "clip"):
            if not 0 <= getattr(self, name) <= 1:
                raise ValueError(f"{name}={getattr(self, name)} is not a probability.")


def distort(waveform: Waveform, config: DistortionConfig, rng: np.random.Generator) -> Waveform:
    """One random distorted copy of a 16 kHz waveform, in the order in which sound meets trouble."""
    waveform = change_speed(waveform, rng.uniform(1 - config.speed, 1 + config.speed))
    if rng.random() < config.reverb:
        waveform = add_room(waveform, rng.uniform(0.1, 0.6), rng)
    if rng.random() < config.noise:
        waveform = add_noise(waveform, rng.uniform(5, 30), rng.uniform(0, 2), rng)
    if rng.random() < config.clip:
        waveform = overdrive(waveform, rng.uniform(2, 6))
    if rng.random() < config.telephone:
        waveform = through_telephone(waveform)
    if rng.random() < config.mp3:
        waveform = through_mp3(waveform, rng.uniform(0.5, 1.0))
    if rng.random() < config.aac:
        waveform = through_aac(waveform, int(rng.integers(12, 49)), rng.uniform(3500, 8000))
    if config.gain_db is not None:
        # Last, so that the copies without it draw what they always drew.
        waveform = change_level(waveform, rng.uniform(*config.gain_db))
    return waveform


def change_speed(waveform: Waveform, factor: float) -> Waveform:
    """Play ``factor`` times as fast: pitch and formants move along."""
    changed: Waveform = soxr.resample(waveform, RATE_HZ * factor, RATE_HZ).astype(np.float32)
    return changed


def change_level(waveform: Waveform, gain_db: float) -> Waveform:
    """Amplify by ``gain_db``; what is above full scale is cut off, as any format of whole numbers does."""
    return np.asarray(np.clip(waveform * 10 ** (gain_db / 20), -1, 1), np.float32)


def add_noise(waveform: Waveform, snr_db: float, slope: float, rng: np.random.Generator) -> Waveform:
    """Add noise whose power falls as ``1 / f^slope`` (0 white, 1 pink, 2 brown), ``snr_db`` below the clip."""
    spectrum = np.fft.rfft(rng.standard_normal(_fast_size(len(waveform))))
    spectrum *= np.maximum(np.arange(len(spectrum)), 1.0) ** (-slope / 2)
    noise = np.fft.irfft(spectrum)[: len(waveform)]
    power = float(np.mean(np.square(waveform, dtype=np.float64)))
    level = (power / max(float(np.mean(noise**2)), 1e-20)) ** 0.5
    return np.asarray(waveform + level * 10 ** (-snr_db / 20) * noise, np.float32)


def add_room(waveform: Waveform, decay_s: float, rng: np.random.Generator) -> Waveform:
    """Add a diffuse reverberation that falls by 60 dB in ``decay_s``; the direct sound stays in place."""
    times = np.arange(int(decay_s * RATE_HZ)) / RATE_HZ
    tail = rng.standard_normal(len(times)) * 10 ** (-3 * times / decay_s)
    tail *= rng.uniform(0.2, 0.7) / np.sqrt(np.sum(tail**2))
    tail[0] = 1.0
    size = _fast_size(len(waveform) + len(tail))
    wet = np.fft.irfft(np.fft.rfft(waveform, size) * np.fft.rfft(tail, size), size)[: len(waveform)]
    return np.asarray(wet, np.float32)


def overdrive(waveform: Waveform, gain: float) -> Waveform:
    """Amplify to ``gain`` times full scale and cut off what is above it."""
    peak = max(float(np.abs(waveform).max(initial=0.0)), 1e-9)
    return np.asarray(np.clip(waveform * (gain / peak), -1, 1), np.float32)


def through_telephone(waveform: Waveform) -> Waveform:
    """300 to 3400 Hz, 8 kHz, mu-law with 8 bits (the continuous form of G.711's curve), back at 16 kHz."""
    narrow = soxr.resample(waveform, RATE_HZ, 8000)
    size = _fast_size(len(narrow))
    hz = np.fft.rfftfreq(size, 1 / 8000)
    spectrum = np.where((hz < 300) | (hz > 3400), 0, np.fft.rfft(narrow, size))
    narrow = np.fft.irfft(spectrum, size)[: len(narrow)]
    peak = max(float(np.abs(narrow).max(initial=0.0)), 1e-9)
    squeezed = np.sign(narrow) * np.log1p(255 * np.abs(narrow) / peak) / np.log1p(255)
    squeezed = np.round(squeezed * 127) / 127
    narrow = np.sign(squeezed) * (np.power(256.0, np.abs(squeezed)) - 1) / 255 * peak
    wide: Waveform = soxr.resample(narrow, 8000, RATE_HZ).astype(np.float32)
    return wide


def through_mp3(waveform: Waveform, strength: float) -> Waveform:
    """Encode as MP3 and decode; ``strength`` from 0 (best) to 1 (8 kbit/s at 16 kHz)."""
    file = io.BytesIO()
    peak = max(float(np.abs(waveform).max(initial=0.0)), 1.0)
    soundfile.write(
        file, waveform / peak, RATE_HZ, format="MP3", bitrate_mode="CONSTANT", compression_level=min(strength, 0.99)
    )
    file.seek(0)
    decoded, _ = soundfile.read(file, dtype="float32")
    return np.asarray(decoded, np.float32)


def through_aac(waveform: Waveform, kbit_s: int, cutoff_hz: float) -> Waveform:
    """Encode 16 kHz samples, ``(samples,)`` of at least one, as AAC of ``kbit_s`` kbit/s and decode: as many samples at
    their places, with nothing left above ``cutoff_hz`` (at most 8000).
    """
    peak = max(float(np.abs(waveform).max(initial=0.0)), 1.0)
    file = io.BytesIO()
    with av.open(file, "w", format="adts") as container:
        stream = cast(
            av.AudioStream,
            container.add_stream("aac", rate=RATE_HZ, layout="mono", options={"cutoff": str(round(cutoff_hz))}),
        )
        stream.bit_rate = kbit_s * 1000
        whole = av.AudioFrame.from_ndarray((waveform / peak)[None].astype(np.float32), format="fltp", layout="mono")
        whole.sample_rate = RATE_HZ
        for frame in (whole, None):
            container.mux(stream.encode(frame))
    file.seek(0)
    with av.open(file, format="aac") as container:
        decoded = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    # The encoder's first frame is its run-up.
    return np.asarray(decoded[1024 : 1024 + len(waveform)] * peak, np.float32)


def _fast_size(length: int) -> int:
    """Smallest ``2^k`` or ``3 * 2^k`` that holds ``length``: transforms of prime sizes are many times slower."""
    power = 1 << max(length - 1, 1).bit_length()
    return 3 * power // 4 if 3 * power // 4 >= length else power
