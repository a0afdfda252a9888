"""Program: decode the recording given in a child, print the child's process number and wait to be killed."""

import sys
import time

from emosphere.audio.decoding.child import IsolatedDecoder


def main(path: str) -> None:
    decoder = IsolatedDecoder()
    list(decoder.open(path))
    assert decoder._child is not None
    print(decoder._child.pid, flush=True)
    time.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1])
