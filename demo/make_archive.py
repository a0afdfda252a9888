"""Speak the demo archive: invented podcasts and calls in several formats, by synthetic voices.

Run once by the project (`python demo/make_archive.py`, needs the espeak-ng program); what it wrote is committed, so
`make demo` needs neither. All texts, names and companies are invented. The synthetic voices have no feelings: pitch,
pace, loudness and brightness are set by hand so that the deliveries differ the way people's do.
"""

import io
import subprocess
import zipfile
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

ARCHIVE = Path(__file__).parent / "archive"
SPOKEN_HZ = 22_050


@dataclass(frozen=True, kw_only=True)
class Delivery:
    """How a sentence is spoken."""

    pitch: int
    """0 to 99; 50 is the voice's own."""
    pitch_range: str
    """Liveliness of the melody, as SSML prosody range."""
    words_per_minute: int
    rms_db: float
    """Loudness below full scale."""
    tilt: float
    """Brightness: how much of the first difference is added (raised voices) or of a moving mean (soft ones)."""


DELIVERIES = {
    "plain": Delivery(pitch=45, pitch_range="80%", words_per_minute=155, rms_db=-23, tilt=0.0),
    "calm": Delivery(pitch=35, pitch_range="50%", words_per_minute=135, rms_db=-27, tilt=-0.6),
    "happy": Delivery(pitch=72, pitch_range="190%", words_per_minute=185, rms_db=-19, tilt=0.6),
    "annoyed": Delivery(pitch=58, pitch_range="130%", words_per_minute=180, rms_db=-19, tilt=0.9),
    "angry": Delivery(pitch=82, pitch_range="200%", words_per_minute=205, rms_db=-13, tilt=2.0),
    "sad": Delivery(pitch=22, pitch_range="20%", words_per_minute=108, rms_db=-30, tilt=-0.9),
}


@dataclass(frozen=True, kw_only=True)
class Line:
    """One turn of one speaker."""

    voice: str
    delivery: str
    text: str
    channel: int = 0
    pause_s: float = 0.7
    """Silence after it."""


HOST, GUEST, TELLER = "en-us+f2", "en-gb+m3", "en-gb-x-rp+m7"
CUSTOMER, AGENT = "en-gb-scotland+m1", "en-us+f4"


def line(voice: str, delivery: str, text: str, pause_s: float = 0.7) -> Line:
    return Line(voice=voice, delivery=delivery, text=text, pause_s=pause_s)


EPISODE_01 = [
    line(HOST, "plain", "Welcome to Slow Kettle, the show about small things that take their time. I am Mara."),
    line(HOST, "calm", "Today we sit by the harbour wall of a town that is on no map, and listen to the rain. "
         "The boats are tied up. Nobody is in a hurry, and the tea is still warm.", 1.2),
    line(HOST, "happy", "And then, listen to this! The lighthouse came on, all by itself, after thirty years! "
         "The whole street ran out in their slippers, and everybody was laughing!", 1.0),
    line(HOST, "annoyed", "Of course the council had other plans. They sent a letter. Then a second letter, to say "
         "that the first one was wrong.", 1.0),
    line(HOST, "sad", "The old keeper did not live to see it. He died in March. His chair is still by the window, "
         "and nobody has moved it.", 1.4),
    line(HOST, "calm", "Next week we talk about bread. Until then, keep the kettle on."),
]  # fmt: skip

EPISODE_02 = [
    line(GUEST, "plain", "This is Nine Minutes of Moss, episode two. How does a wall turn green?"),
    line(GUEST, "calm", "First comes the dust. Then a little water, in the shade. Then, very slowly, a first leaf, "
         "thinner than a hair.", 1.0),
    line(GUEST, "happy", "And here is the wonderful part! It can dry out for ten years, and with one drop of rain it "
         "wakes up again, in a minute!", 1.0),
    line(GUEST, "plain", "So before you scrub the steps, take a look. Somebody may be asleep there."),
]  # fmt: skip

INTERVIEW = [
    line(HOST, "plain", "You left the orchestra after one rehearsal. What happened?"),
    line(GUEST, "annoyed", "What happened? They gave me the triangle. Twenty years of the cello, and they gave me "
         "the triangle!", 0.6),
    line(HOST, "happy", "And you played it?", 0.5),
    line(GUEST, "happy", "I played it louder than anyone ever has! They could hear me in the car park!", 0.6),
    line(HOST, "calm", "And do you miss it, now and then?", 0.9),
    line(GUEST, "sad", "Every evening, at eight. That is when the lights went down.", 0.8),
]  # fmt: skip

STORY = [
    line(TELLER, "sad", "The last ferry had gone. She folded the letter, and put it back where it had been.", 1.0),
    line(TELLER, "calm", "Out on the water, one light was moving home."),
]  # fmt: skip


def customer(delivery: str, text: str, pause_s: float = 0.4) -> Line:
    return Line(voice=CUSTOMER, delivery=delivery, text=text, channel=0, pause_s=pause_s)


def agent(delivery: str, text: str, pause_s: float = 0.4) -> Line:
    return Line(voice=AGENT, delivery=delivery, text=text, channel=1, pause_s=pause_s)


CALL_0001 = [
    agent("plain", "Parcel Pigeon, good morning, how can I help?"),
    customer("plain", "Hello. My parcel was due on Monday, and it is Friday."),
    agent("calm", "I see. It is on its way."),
    customer("annoyed", "You told me that on Tuesday. And on Wednesday."),
    agent("calm", "I am sorry. It left the depot."),
    customer("angry", "It did not leave anything! I am standing at your depot! Nobody opens this door!"),
    agent("calm", "I will call them now. Please stay with me."),
    customer("angry", "This is the last time! I want my money back, today!"),
]

CALL_0002 = [
    customer("happy", "I only wanted to say thank you! The new lamp is wonderful, the whole kitchen is bright!"),
    customer("calm", "No, nothing else. Have a quiet evening."),
]

CALL_0003 = [
    customer("sad", "I would like to close the account of my mother. She passed away last week."),
    customer("plain", "Yes. I can send you the letter tomorrow."),
]


def speak(turn: Line) -> np.ndarray:
    """Samples of one turn at SPOKEN_HZ."""
    how = DELIVERIES[turn.delivery]
    ssml = f'<speak><prosody range="{how.pitch_range}">{turn.text}</prosody></speak>'
    command = ["espeak-ng", "-m", "-v", turn.voice, "-p", str(how.pitch), "-s", str(how.words_per_minute), "--stdout"]
    # espeak-ng cannot seek in a pipe, so the lengths in its header are wrong: read the samples behind it.
    sound = subprocess.run([*command, ssml], capture_output=True, check=True).stdout
    samples = np.frombuffer(sound[44 : len(sound) // 2 * 2], dtype="<i2").astype(np.float64) / 32768
    if how.tilt > 0:
        samples = samples + how.tilt * np.diff(samples, prepend=0.0)
    elif how.tilt < 0:
        samples = (1 + how.tilt) * samples - how.tilt * np.convolve(samples, np.ones(6) / 6, mode="same")
    samples *= 10 ** (how.rms_db / 20) / np.sqrt(np.mean(samples**2))
    return np.tanh(samples)  # a raised voice bends before it breaks


def perform(lines: list[Line], num_channels: int = 1) -> tuple[np.ndarray, list[tuple[float, float, Line]]]:
    """(samples, channels) of a whole recording, with start and end of each turn in seconds."""
    channels: list[list[np.ndarray]] = [[np.zeros(SPOKEN_HZ // 2)] for _ in range(num_channels)]
    times, now = [], SPOKEN_HZ // 2
    for turn in lines:
        sound = speak(turn)
        rest = np.zeros(round(turn.pause_s * SPOKEN_HZ))
        times.append((now / SPOKEN_HZ, (now + len(sound)) / SPOKEN_HZ, turn))
        for channel, parts in enumerate(channels):
            parts += [sound if channel == turn.channel else np.zeros_like(sound), rest]
        now += len(sound) + len(rest)
    samples = np.stack([np.concatenate(parts) for parts in channels], axis=1)
    room = np.random.default_rng(len(samples)).normal(scale=10 ** (-62 / 20), size=samples.shape)
    return samples + room, times


def melody() -> np.ndarray:
    """Silence, then three seconds of plucked tones, at 8 kHz: no speech."""
    notes_hz = [523.25, 392.0, 440.0, 329.63, 349.23, 261.63, 349.23, 392.0]
    time_s = np.arange(3000) / 8000
    tones = [np.sin(2 * np.pi * hz * time_s) + 0.4 * np.sin(4 * np.pi * hz * time_s) for hz in notes_hz]
    return 0.25 * np.concatenate([np.zeros(8000)] + [tone * np.exp(-6 * time_s) for tone in tones])


def encode(samples: np.ndarray, rate_hz: int, *, container: str, codec: str, bit_rate: int) -> bytes:
    """Mono samples in a compressed file, by PyAV."""
    file = io.BytesIO()
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate_hz, layout="mono")
        stream.bit_rate = bit_rate
        frame = av.AudioFrame.from_ndarray(
            np.ascontiguousarray(samples.T, dtype=np.float32), format="fltp", layout="mono"
        )
        frame.sample_rate = rate_hz
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    return file.getvalue()


def write(samples: np.ndarray, rate_hz: int, *, container: str, codec: str) -> bytes:
    """A file as libsndfile writes it."""
    file = io.BytesIO()
    soundfile.write(file, samples, rate_hz, format=container, subtype=codec)
    return file.getvalue()


def at(samples: np.ndarray, rate_hz: int) -> np.ndarray:
    return soxr.resample(samples, SPOKEN_HZ, rate_hz, quality="VHQ")


def zipped(files: dict[str, bytes]) -> bytes:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as output:
        for name, content in files.items():
            output.writestr(zipfile.ZipInfo(name, date_time=(2026, 11, 20, 12, 0, 0)), content)
    return archive.getvalue()


README = """# Demo archive

Invented podcasts and calls, spoken by synthetic voices (espeak-ng) and written by `demo/make_archive.py`. No person was
recorded. How each sentence was *meant to sound* (the scorer never sees this file: `.md` is a sidecar):

| recording | channel | from s | to s | delivery | words |
|---|---|---|---|---|---|
{rows}

Also here: `silence_or_music.wav`, silence and a tune, and `broken_download.mp3`, the first half of a download (the
header promises all of it).
"""


def main() -> None:
    """Write the archive anew."""
    scripts = {
        "podcast_episode_01.mp3": EPISODE_01,
        "podcast_episode_02.ogg": EPISODE_02,
        "interview.m4a": INTERVIEW,
        "story.flac": STORY,
        "calls/2026-11-20_call_0001.wav": CALL_0001,
        "calls.zip/call_0002.wav": CALL_0002,
        "calls.zip/call_0003.mp3": CALL_0003,
        "broken_download.mp3": EPISODE_02,
    }
    takes = {name: perform(lines, num_channels=2 if "0001" in name else 1) for name, lines in scripts.items()}
    sound = {name: samples for name, (samples, _) in takes.items()}

    def mp3(name: str, rate_hz: int, bit_rate: int) -> bytes:
        return encode(at(sound[name], rate_hz), rate_hz, container="mp3", codec="libmp3lame", bit_rate=bit_rate)

    download = mp3("broken_download.mp3", 16_000, 16_000)
    files = {
        "podcast_episode_01.mp3": mp3("podcast_episode_01.mp3", 22_050, 40_000),
        "podcast_episode_02.ogg": encode(
            at(sound["podcast_episode_02.ogg"], 48_000), 48_000, container="ogg", codec="libopus", bit_rate=24_000
        ),
        "interview.m4a": encode(
            at(sound["interview.m4a"], 24_000), 24_000, container="ipod", codec="aac", bit_rate=40_000
        ),
        "story.flac": write(at(sound["story.flac"], 16_000), 16_000, container="FLAC", codec="PCM_16"),
        "calls/2026-11-20_call_0001.wav": write(
            at(sound["calls/2026-11-20_call_0001.wav"], 8000), 8000, container="WAV", codec="ULAW"
        ),
        "calls.zip": zipped(
            {
                "call_0002.wav": write(at(sound["calls.zip/call_0002.wav"], 8000), 8000, container="WAV", codec="ULAW"),
                "call_0003.mp3": mp3("calls.zip/call_0003.mp3", 16_000, 24_000),
            }
        ),
        "silence_or_music.wav": write(melody(), 8000, container="WAV", codec="PCM_16"),
        "broken_download.mp3": download[: len(download) // 2],
    }
    rows = [
        f"| {name} | {turn.channel} | {start:.1f} | {end:.1f} | {turn.delivery} | {turn.text} |"
        for name, (_, times) in takes.items()
        if name != "broken_download.mp3"
        for start, end, turn in times
    ]
    files["README.md"] = README.format(rows="\n".join(rows)).encode()
    for name, content in files.items():
        path = ARCHIVE / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        print(f"{len(content) / 1000:8.1f} kB  {path.relative_to(ARCHIVE)}")
    print(f"{sum(map(len, files.values())) / 1e6:8.2f} MB  in all")


if __name__ == "__main__":
    main()
