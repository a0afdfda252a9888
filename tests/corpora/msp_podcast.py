"""A made-up corpus in MSP-Podcast's exact layout: pitch carries valence, syllable rate arousal, level dominance.

Dominance is heard in how deep the syllables are cut, too: a front end that levels its input would else be deaf to it.
"""

import csv
from pathlib import Path

import numpy as np
import soundfile

RATE_HZ = 16_000
OCTANTS = {
    "A": (-1, 1, 1),
    "S": (-1, -1, -1),
    "H": (1, 1, 1),
    "U": (1, 1, -1),
    "F": (-1, 1, -1),
    "D": (-1, -1, 1),
    "C": (1, -1, 1),
    "N": (1, -1, -1),
}
"""Signs of (valence, arousal, dominance) around which the clips of a category lie: every region has some."""
WORDS = {
    "A": "Angry", "S": "Sad", "H": "Happy", "U": "Surprise", "F": "Fear", "D": "Disgust", "C": "Contempt",
    "N": "Neutral", "O": "Other-Confused", "X": "Neutral",
}  # fmt: skip
PARTS = {"Train": (0.5, 8), "Development": (0.25, 4), "Test1": (0.15, 3), "Test2": (0.1, 2)}
"""Share of the clips and number of speakers of each official part."""
NUM_RATERS = 5


def make_msp_podcast(
    folder: Path,
    num_clips: int = 160,
    seed: int = 0,
    *,
    release: str = "1.12",
    seconds: tuple[float, float] = (0.6, 1.2),
) -> Path:
    """Write ``num_clips`` clips with their labels below ``folder``, and return it.

    ``Audios/*.wav``, ``Labels/labels_consensus.csv``, ``Labels/labels_detailed.csv`` (in one column up to 1.12, in
    several in 2.0). Categories take turns within each part; every 12th clip is O, every 13th X, every 20th has an
    unknown speaker.
    """
    rng = np.random.default_rng(seed)
    (folder / "Audios").mkdir(parents=True)
    (folder / "Labels").mkdir()
    consensus, detailed = [], []
    first_speaker = 1
    for part, (share, num_speakers) in PARTS.items():
        for index in range(round(share * num_clips)):
            letter = list(OCTANTS)[index % len(OCTANTS)]
            letter = "O" if index % 12 == 11 else "X" if index % 13 == 12 else letter
            centre = np.array(OCTANTS.get(letter, (0, 0, 0))) * 1.8 + 4
            # Raters answer in whole numbers; the consensus is their mean, as in the corpus.
            answers = np.clip(np.rint(centre + rng.normal(scale=0.9, size=(NUM_RATERS, 3))), 1, 7).astype(int)
            vad = answers.mean(axis=0)
            speaker = first_speaker + index % num_speakers
            name = f"MSP-PODCAST_{len(consensus) // 40:04}_{len(consensus) % 40:04}.wav"
            sound = voice(*(vad - 4) / 3, speaker=speaker, duration_s=rng.uniform(*seconds), rng=rng)
            soundfile.write(folder / "Audios" / name, sound, RATE_HZ, subtype="PCM_16")
            unknown = index % 20 == 19
            gender = "Unknown" if unknown else ("Female", "Male")[speaker % 2]
            valence, arousal, dominance = vad
            consensus.append(
                [name, letter, arousal, valence, dominance, "Unknown" if unknown else speaker, gender, part]
            )
            for rater, (v, a, d) in enumerate(answers):
                worker, word = f"WORKER{rater:08}", WORDS[letter]
                if release == "2.0":
                    detailed.append([name, worker, word, f"{word},Concerned", a, v, d])
                else:
                    detailed.append([name, f"{worker}; {word}; {word},Concerned; A:{a:f}; V:{v:f}; D:{d:f};"])
        first_speaker += num_speakers
    write(
        folder / "Labels" / "labels_consensus.csv",
        ["FileName", "EmoClass", "EmoAct", "EmoVal", "EmoDom", "SpkrID", "Gender", "Split_Set"],
        consensus,
    )
    several = ["FileName", "WorkerID", "EmoClass_Major", "EmoClass_Second", "EmoAct", "EmoVal", "EmoDom"]
    header = several if release == "2.0" else ["FileName", "EmoDetail"]
    write(folder / "Labels" / "labels_detailed.csv", header, detailed)
    return folder


def voice(
    valence: float, arousal: float, dominance: float, *, speaker: int, duration_s: float, rng: np.random.Generator
) -> np.ndarray:
    """Buzzing syllables with a little noise, for centred labels: float (samples,), at most full scale 1."""
    times = np.arange(int(RATE_HZ * duration_s)) / RATE_HZ
    pitch_hz = 160 * 2 ** (0.9 * valence) * (1 + 0.01 * (speaker % 5))
    syllables_hz = 4 * 2 ** (0.9 * arousal)
    level = 10 ** ((-18 + 9 * dominance) / 20)
    buzz = sum(np.sin(2 * np.pi * pitch_hz * k * times + speaker) / k for k in range(1, 9)) / 2
    depth = 0.28 + 0.2 * dominance
    envelope = 1 - depth + depth * np.sin(2 * np.pi * syllables_hz * times + rng.uniform(0, 2 * np.pi))
    return np.clip(level * buzz * envelope + rng.normal(scale=1e-3, size=len(times)), -1, 1)


def write(path: Path, header: list[str], rows: list[list[object]]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
