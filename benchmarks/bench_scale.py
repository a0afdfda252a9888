"""Does an hour of audio cost the same in a larger archive, and does a second scoring actor help?

Archives of recordings of an hour each (MP3, made from the shared real recordings), the default model, start-up
included; then the middle archive with one and with two actors on the same cores. One run per row.
Writes benchmarks/results/DATE-scale-NCPU.md.
"""

import argparse
import os
import shutil
import tempfile
from pathlib import Path

from bench_score import machine, material, memory_and_busy, run, save, write


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hours", type=int, nargs="+", default=[1, 10, 100])
    parser.add_argument("--actors", type=int, nargs="*", default=[1, 2])
    arguments = parser.parse_args()
    cores = len(os.sched_getaffinity(0))
    lines = [
        "| hours | actors | cores of each | wall s | audio s per s | wall s per hour beyond the smallest archive "
        "| peak MiB (actors/decoders/Ray and driver) | busy s of all actors: wait, speech, model |",
        "| --- " * 8 + "|",
    ]
    with tempfile.TemporaryDirectory() as scratch:
        hour, smallest = Path(scratch) / "hour.mp3", (0, 0.0)
        write(hour, 1, material())
        settings = Path(scratch) / "settings.toml"
        middle = sorted(arguments.hours)[len(arguments.hours) // 2]
        cases = [(hours, None) for hours in arguments.hours] + [(middle, actors) for actors in arguments.actors]
        for hours, actors in cases:
            archive = Path(scratch) / "archive"
            archive.mkdir()
            for number in range(hours):
                shutil.copyfile(hour, archive / f"{number:04d}.mp3")
            each = max(1, cores // actors) if actors else 2
            given = f"actors = {actors}\ncpus_per_actor = {each}\n" if actors else ""
            settings.write_text(f'[resources]\nengine = "ray"\n{given}')
            done = run(archive, "--config", str(settings))
            shutil.rmtree(archive)
            smallest = smallest if smallest[0] else (hours, done["wall_s"])
            beyond = (done["wall_s"] - smallest[1]) / (hours - smallest[0]) if hours > smallest[0] else float("nan")
            lines.append(
                f"| {hours} | {actors or 'default'} | {each} | {done['wall_s']:.1f} | "
                f"{done['audio_s'] / done['wall_s']:.0f} | {beyond:.1f} | {memory_and_busy(done, done['peak_mib'])} |"
            )
            print(lines[-1], flush=True)
    head = (
        f"# Scale: what an hour costs\n\n`python benchmarks/{Path(__file__).name} --hours "
        f"{' '.join(map(str, arguments.hours))} --actors {' '.join(map(str, arguments.actors))}`, {machine()}. "
        "One run per row, start-up included."
    )
    save("scale", head, lines)


if __name__ == "__main__":
    main()
