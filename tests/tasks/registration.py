"""What a head with a column, its term and a stream change outside their own files: a line in each registry and one in
the schema. For every process that trains or scores, before it imports anything else.
"""

import pyarrow as pa

from emosphere.model.architecture import StreamConfig
from emosphere.model.encoder import ENCODERS
from emosphere.tables import schema
from emosphere.tasks import Task
from emosphere.training.terms import Term
from tests.tasks.level import LevelConfig, LevelEncoder
from tests.tasks.loudness import LoudnessTask
from tests.tasks.syllables import SquaredError, SyllablesTask

COLUMNS = (
    schema.Column("loudness", pa.float32(), "Level of the voice", "[-1, 1]", nullable=True, origin="model"),
    schema.Column("syllables", pa.float32(), "Syllables spoken", nullable=True, origin="model"),
)


def register() -> None:
    Task.KINDS.update({"loudness": LoudnessTask, "syllables": SyllablesTask})
    Term.KINDS.update({"squared-error": SquaredError})
    StreamConfig.KINDS.update({"level": LevelConfig})
    ENCODERS.update({LevelConfig: LevelEncoder})
    schema.SEGMENTS = schema.TABLES["segments"] = (*schema.SEGMENTS, *COLUMNS)
