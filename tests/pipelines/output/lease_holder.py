"""Program: hold the lease in the folder given, say so, and wait to be killed."""

import sys
import time

from emosphere.store import locate
from pipelines.output.lease import Lease


def main(folder: str) -> None:
    lease = Lease(locate(folder), "run killed")
    lease.acquire()
    print("held", flush=True)
    time.sleep(60)


if __name__ == "__main__":
    main(sys.argv[1])
