"""Program: the ordinary commands, one after another, where two more heads are registered.

python -m tests.tasks.commands FOLDER, which holds train.toml, manifest.parquet and archive/.
"""

import sys
from pathlib import Path

from tests.tasks.registration import register


def main(folder: Path) -> None:
    register()
    # Only now: some modules take over the schema's columns when they are imported.
    from emosphere.settings import SpeechSettings
    from pipelines.evaluate.command import evaluate
    from pipelines.export.command import export
    from pipelines.score.command import score
    from pipelines.score.request import ScoreRequest
    from pipelines.score.settings import ScoreSettings
    from pipelines.train.command import train

    train(folder / "train.toml")
    model = str(folder / "model")
    evaluate(model, str(folder / "manifest.parquet"), split="test", out=str(folder / "evaluation"), num_bootstrap=20)
    settings = ScoreSettings(listen=SpeechSettings(find_speech=False))
    score(ScoreRequest(archives=(str(folder / "archive"),), out=str(folder / "tables"), model=model, settings=settings))
    export(model, folder / "graph", None)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
