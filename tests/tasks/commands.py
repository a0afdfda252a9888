"""Program: the ordinary commands, one after another, where two more heads are registered.

python -m tests.tasks.commands FOLDER, which holds train.toml, manifest.parquet and archive/.
"""

import sys
from pathlib import Path

from tests.tasks.registration import register_everywhere

register_everywhere()

from emosphere.settings import SpeechSettings  # noqa: E402
from pipelines.evaluate.command import evaluate  # noqa: E402
from pipelines.export.command import export  # noqa: E402
from pipelines.score.command import score  # noqa: E402
from pipelines.score.request import ScoreRequest  # noqa: E402
from pipelines.score.settings import ScoreSettings  # noqa: E402
from pipelines.train.command import train  # noqa: E402


def main(folder: Path) -> None:
    train(folder / "train.toml")
    model = str(folder / "model")
    evaluate(model, str(folder / "manifest.parquet"), split="test", out=str(folder / "evaluation"), num_bootstrap=20)
    settings = ScoreSettings(listen=SpeechSettings(find_speech=False))
    score(ScoreRequest(archives=(str(folder / "archive"),), out=str(folder / "tables"), model=model, settings=settings))
    export(model, folder / "graph", None)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
