"""What does it cost when waveforms go through Ray's object store, because the decoders stand apart from the model?

Recordings of an hour each, as WAV and as MP3, made from the shared real recordings; the default model; the same command
with `decode = "beside"` and `decode = "apart"`, in turn, start-up included. On one machine, so that no network is in it
and both have the same cores. Writes benchmarks/results/DATE-apart-NCPU.md.
"""

import argparse
import shutil
import statistics
import tempfile
from pathlib import Path

from bench_score import machine, material, memory_and_busy, run, save, write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, default=4)
    parser.add_argument("--formats", nargs="+", default=["wav", "mp3"])
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    lines = [
        "| audio | decoders | wall s (median) | spread s | audio s per s | wall / beside | peak MiB "
        "(actor/decoder/Ray and driver) | busy s: wait, speech, model |",
        "| --- " * 8 + "|",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        wave = material()
        for ending in arguments.formats:
            archive = Path(scratch) / ending
            archive.mkdir()
            write(archive / f"0.{ending}", 1, wave)
            for number in range(1, arguments.hours):
                shutil.copyfile(archive / f"0.{ending}", archive / f"{number}.{ending}")
            runs: dict[str, list[dict]] = {"beside": [], "apart": []}
            for _ in range(arguments.rounds):
                for where, done in runs.items():
                    settings = Path(scratch) / "settings.toml"
                    settings.write_text(f'[resources]\nengine = "ray"\ndecode = "{where}"\n')
                    done.append(run(archive, "--config", str(settings)))
            shutil.rmtree(archive)
            beside = statistics.median(each["wall_s"] for each in runs["beside"])
            for where, done in runs.items():
                walls, last = [each["wall_s"] for each in done], done[-1]
                median = statistics.median(walls)
                lines.append(
                    f"| {arguments.hours} h {ending} | {where} | {median:.1f} | {max(walls) - min(walls):.1f} | "
                    f"{last['audio_s'] / median:.0f} | {median / beside:.2f} | "
                    f"{memory_and_busy(last, last['peak_mib'])} |"
                )
                print(lines[-1], flush=True)
    head = (
        f"# Decoders beside the model, or apart\n\n`python benchmarks/{Path(__file__).name} --hours {arguments.hours} "
        f"--formats {' '.join(arguments.formats)} --rounds {arguments.rounds}`, {machine()}. Both on one machine."
    )
    save("apart", head, lines)


if __name__ == "__main__":
    main()
