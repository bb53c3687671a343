"""The folder of a local stack: what it keeps, who uses it now, and where other programs reach it.

    lock            held by `dermbatch serve --local` as long as it runs
    emulator.lock   held by its embedded AWS, which may end a little later
    local.json      where the stack listens, while it runs
    objects/        the uploaded photographs, written at once
    state/          tables, queues and the stack, written when the embedded AWS ends in order
    recordless      exists while the objects have no records, because the state was lost
    worker.log      the worker's log

A state that was not written in order is never loaded: it may be older than the objects, and hold records of photographs
that were deleted since.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from infra.embedded_aws import State
from model_layer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STILL_SAVING_SECONDS = 300.0
OURS = frozenset({"lock", "emulator.lock", "objects", "state", "recordless", "worker.log"})


class FolderError(UserError):
    """The folder is in use, belongs to somebody else, or cannot be written."""


@dataclass(frozen=True, slots=True)
class StateFolder:
    """The folder while this process has it for itself: see `taken`."""

    path: Path
    state: State

    @property
    def log(self) -> Path:
        """The worker's log."""
        return self.path / "worker.log"

    @property
    def recordless(self) -> Path:
        """A file that exists until the objects of a lost state have been sent to the worker again."""
        return self.path / "recordless"

    def ended_in_order(self) -> bool:
        """Whether `state` may be loaded."""
        return self.state.in_order.exists()

    def holds_objects(self) -> bool:
        """Whether anything was ever uploaded here."""
        return any(files for _, _, files in os.walk(self.state.objects))

    def forget_state(self) -> None:
        """Removes everything that is not an object: it has been loaded, or must not be."""
        self.state.in_order.unlink(missing_ok=True)  # first, so that half a state is never taken for a whole one
        if self.state.everything_else.exists():
            shutil.rmtree(self.state.everything_else)
        self.state.everything_else.mkdir(mode=0o700)


@contextlib.contextmanager
def taken(path: Path) -> Iterator[StateFolder]:
    """The folder at `path`, made where it is missing, for this process only.

    Raises:
        FolderError: another process has it, it holds other files, or it cannot be written.
    """
    path = path.expanduser().absolute()
    with contextlib.ExitStack() as locks:
        try:
            path.mkdir(mode=0o700, parents=True, exist_ok=True)
            _refuse_foreign(path)
            path.chmod(0o700)  # photographs lie here
            locks.enter_context(_locked(path / "lock", 0, f"{path} is in use by another dermbatch serve --local."))
            late = f"The embedded AWS that used {path} before has not ended; try again later."
            descriptor = locks.enter_context(_locked(path / "emulator.lock", STILL_SAVING_SECONDS, late))
            folder = StateFolder(path, State(path / "objects", path / "state", descriptor))
            for kept in (folder.state.objects, folder.state.everything_else):
                kept.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise FolderError(f"{error.filename or path}: {error.strerror}.") from error
        yield folder


def _refuse_foreign(path: Path) -> None:
    """A folder that holds other things, such as somebody's home, is not made private and filled."""
    if any(entry.name not in OURS and not entry.name.startswith("local.") for entry in path.iterdir()):
        raise FolderError(f"{path} holds other files; give an empty folder, or one that does not exist yet.")


@contextlib.contextmanager
def _locked(file: Path, seconds: float, otherwise: str) -> Iterator[int]:
    """Holds a lock on `file`, for which it waits at most `seconds`; gives the file's descriptor."""
    descriptor = os.open(file, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        deadline = time.monotonic() + seconds
        while not _try_lock(descriptor):
            if time.monotonic() >= deadline:
                raise FolderError(otherwise)
            time.sleep(0.1)
        yield descriptor
    finally:
        os.close(descriptor)  # which unlocks it, unless a child holds it too


def _try_lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
