"""The files that a person names on the command line: themselves, or all below a folder."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from cli.manifest import NAME
from handler.intake.events import is_system_file
from model_layer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Sequence


class FilesError(UserError):
    """A folder cannot be read, or there is nothing in it."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Found:
    """The files, by name relative to `root`, sorted; and how many hidden ones were left out."""

    root: Path
    files: dict[str, Path]
    left_out: int


def files_of(paths: Sequence[Path]) -> Found:
    """Each of `paths` that is a file, and every regular file below those that are folders.

    Below a folder, hidden files and those that operating systems leave there are left out, and so are manifests. Links
    to files count as files; links to folders are not followed. `root` is the folder that all of `paths` share.

    Raises:
        FilesError: a folder cannot be read, or no file is left.
    """
    absolute = [Path(os.path.abspath(path)) for path in paths]  # noqa: PTH100 (Path.resolve would follow links)
    root = Path(os.path.commonpath([path if path.is_dir() else path.parent for path in absolute]))
    found: dict[str, Path] = {}
    left_out = 0
    for path in absolute:
        if not path.is_dir():
            found[path.relative_to(root).as_posix()] = path
            continue
        for file in walk(path):
            if _is_left_out(file.relative_to(path)):
                left_out += file.name != NAME
            else:
                found[file.relative_to(root).as_posix()] = file
    if not found:
        where = paths[0] if len(paths) == 1 else "these folders"
        raise FilesError(f"There are no files in {where}.")
    return Found(root, dict(sorted(found.items())), left_out)


def walk(folder: Path, besides: Collection[Path] = ()) -> Iterator[Path]:
    """Every regular file below `folder`, hidden ones too, but for the files and folders `besides`; sorted.

    Links to files count as files; links to folders are not followed.

    Raises:
        FilesError: a folder cannot be read.
    """

    def refuse(error: OSError) -> None:
        raise FilesError(f"The folder {error.filename} can't be read: {error.strerror}.") from error

    left_out = {path.resolve() for path in besides}
    for parent, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if (Path(parent) / name).resolve() not in left_out)
        for name in sorted(names):
            path = Path(parent) / name
            if path.is_file() and path.resolve() not in left_out:
                yield path


def _is_left_out(name: Path) -> bool:
    return name.name == NAME or any(part.startswith(".") for part in name.parts) or is_system_file(name.name, None)
