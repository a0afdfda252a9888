"""OUT on a local disk: a simulated process stops at every name that it makes, replaces or removes there."""

import builtins
import errno
import io
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.implementations.local import LocalFileSystem

from emosphere.store import Location
from tests.schedules import patches
from tests.schedules.simulator import check_alive, current

_real_open = builtins.open


class Disk:
    """A folder of this machine, and everything that changes it."""

    def __init__(self, folder: Path) -> None:
        """``folder``: on a file system in memory, best."""
        self.folder = folder
        self.out = str(folder / "out")
        self._prefix = self.out + "/"

    def install(self, patch: pytest.MonkeyPatch) -> None:
        patches.read_at_once(patch, LocalFileSystem)
        for name in ("replace", "rename", "link"):
            patch.setattr(os, name, self._naming(getattr(os, name), name))
        for name in ("unlink", "remove"):
            patch.setattr(os, name, self._removing(getattr(os, name)))
        for name in ("rmdir", "mkdir", "fsync", "truncate"):
            patch.setattr(os, name, _if_alive(getattr(os, name)))
        patch.setattr(builtins, "open", self._open)
        patch.setattr(io, "open", self._open)
        for name in ("write_bytes", "create_bytes", "replace_bytes", "publish_to"):
            patch.setattr(Location, name, self._aimed(getattr(Location, name)))
        patch.setattr(shutil, "_use_fd_functions", False)  # names of what it removes are whole paths then

    def reset(self, files: dict[str, bytes]) -> None:
        """Empty OUT, then put ``files`` there."""
        shutil.rmtree(self.out, ignore_errors=True)
        for path, data in files.items():
            os.makedirs(os.path.dirname(self._prefix + path), exist_ok=True)
            Path(self._prefix + path).write_bytes(data)

    def files(self) -> dict[str, Any]:
        """What lies below OUT, by path; the value changes with the content."""
        found = {}
        for folder, _, names in os.walk(self.out):
            for name in names:
                path = os.path.join(folder, name)
                stat = os.stat(path)
                found[path.removeprefix(self._prefix)] = (stat.st_ino, stat.st_mtime_ns, stat.st_size)
        return found

    def read(self, path: str) -> bytes:
        return Path(self._prefix + path).read_bytes()

    def below(self, path: Any) -> str | None:
        """A path below OUT, where it is one and a simulated process asks."""
        if current() is None or isinstance(path, int):
            return None
        text = os.fsdecode(path)
        return text.removeprefix(self._prefix) if text.startswith(self._prefix) else None

    def _aimed(self, real: Callable[..., Any]) -> Callable[..., Any]:
        """Note what a file that has no name yet will be called."""

        def write(location: Location, *args: Any) -> Any:
            thread = current()
            if thread is None:
                return real(location, *args)
            target = args[0] if args and isinstance(args[0], Location) else location
            before, thread.aim = thread.aim, self.below(target.path)
            try:
                return real(location, *args)
            finally:
                thread.aim = before

        return write

    def _unnamed(self, path: str) -> str:
        aim = current().aim
        return f"{aim}.tmp" if path.endswith(".tmp") and aim is not None else path

    def _naming(self, real: Callable[..., None], action: str) -> Callable[..., None]:
        def name(source: Any, target: Any, **options: Any) -> None:
            path = self.below(target)
            if path is None:
                return real(source, target, **options)
            is_unnamed, path, simulation = path.endswith(".tmp"), self._unnamed(path), current().process.simulation
            self._meet_fate(simulation.stop_before(action, path, "until" if is_unnamed else "amid"))
            real(source, target, **options)
            return simulation.stop_after(action, path)

        return name

    def _removing(self, real: Callable[..., None]) -> Callable[..., None]:
        def remove(target: Any, **options: Any) -> None:
            path = self.below(target)
            if path is None:
                return real(target, **options)
            simulation = current().process.simulation
            if not path.endswith(".tmp"):
                self._meet_fate(simulation.stop_before("remove", path))
            check_alive()
            real(target, **options)
            return None if path.endswith(".tmp") else simulation.stop_after("remove", path)

        return remove

    def _open(self, file: Any, mode: str = "r", *args: Any, **options: Any) -> Any:
        path = self.below(file) if set(mode) & set("wax+") else None
        if path is None:
            return _real_open(file, mode, *args, **options)
        if "a" not in mode:  # a lock file is not written
            self._meet_fate(current().process.simulation.stop_before("open", self._unnamed(path)))
        check_alive()
        return _real_open(file, mode, *args, **options)

    def _meet_fate(self, fate: str | None) -> None:
        check_alive()
        if fate is not None or current().process.is_cut_off:
            raise OSError(errno.EIO, os.strerror(errno.EIO))


def _if_alive(real: Callable[..., None]) -> Callable[..., None]:
    def act(*args: Any, **options: Any) -> None:
        check_alive()
        return real(*args, **options)

    return act
