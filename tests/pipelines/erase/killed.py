"""An erasure that is killed right after it replaced the first published file.

python -m tests.pipelines.erase.killed OUT URI
"""

import os
import signal
import sys
from typing import Any

from emosphere.store import Location
from pipelines.erase.command import erase
from pipelines.erase.target import Target

publish_to = Location.publish_to


def publish_and_die(*arguments: Any) -> None:
    publish_to(*arguments)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    Location.publish_to = publish_and_die
    erase(sys.argv[1], Target(uri=sys.argv[2]))
