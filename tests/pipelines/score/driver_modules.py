"""Program: score an archive into OUT by an engine, and print how many recordings were scored, whether torch was
imported, whether Ray was, and whether shared memory was used.
"""

import sys
from pathlib import Path

from pipelines.cluster.resources import Resources
from pipelines.score.command import score
from pipelines.score.request import ScoreRequest
from pipelines.score.settings import ScoreSettings


def main(archive: str, out: str, engine: str) -> None:
    settings = ScoreSettings(resources=Resources(engine=engine))
    result = score(ScoreRequest(archives=(archive,), out=out, settings=settings))
    uses_shared_memory = "/dev/shm" in Path("/proc/self/maps").read_text()
    print(result["scored"], "torch" in sys.modules, "ray" in sys.modules, uses_shared_memory)


if __name__ == "__main__":
    main(*sys.argv[1:])
