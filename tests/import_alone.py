"""Program: import the modules named, and fail if that reaches for the network or brings Ray or a floor above along."""

import importlib
import socket
import sys
from typing import Any, NoReturn


def refuse(*_: Any) -> NoReturn:
    raise SystemExit("the library went to the network while it was imported")


def main(modules: list[str]) -> None:
    socket.socket.connect = refuse
    socket.getaddrinfo = refuse
    for name in modules:
        importlib.import_module(name)
    foreign = sorted({name.split(".")[0] for name in sys.modules} & {"ray", "jobs", "pipelines"})
    if foreign:
        raise SystemExit(f"importing the library also imported {foreign}")


if __name__ == "__main__":
    main(sys.argv[1:])
