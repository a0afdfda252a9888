"""Program: score an archive into OUT, and print how many recordings were scored and whether torch was imported."""

import sys

from pipelines.score.command import score
from pipelines.score.request import ScoreRequest


def main(archive: str, out: str) -> None:
    result = score(ScoreRequest(archives=(archive,), out=out))
    print(result["scored"], "torch" in sys.modules)


if __name__ == "__main__":
    main(*sys.argv[1:])
