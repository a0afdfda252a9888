"""A driver in a process of its own: prints how many recordings it scored, and whether it imported torch.

python -m tests.pipelines.score.driver ARCHIVE OUT
"""

import sys

from pipelines.score.command import score
from pipelines.score.request import ScoreRequest

if __name__ == "__main__":
    result = score(ScoreRequest(archives=(sys.argv[1],), out=sys.argv[2]))
    print(result["scored"], "torch" in sys.modules)
