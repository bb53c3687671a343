"""The files to upload: those of a folder, or synthetic images drawn into one."""

from __future__ import annotations

import hashlib
import os
from typing import TYPE_CHECKING

from cli.files import walk
from demo.lesions import demo_images
from model_layer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection
    from pathlib import Path

MAX_KEY_BYTES = 1024  # S3's limit for a key in UTF-8


class DemoError(UserError):
    """The demo cannot start or go on."""


def files_in(folder: Path, besides: Collection[Path] = ()) -> dict[str, Path]:
    """Every file that `walk` finds below `folder`, by its future object key; sorted by path.

    `besides` are files and folders to leave out, such as the demo's own results.

    Raises:
        DemoError: there is no such folder, or it holds no files.
        FilesError: a folder cannot be read.
    """
    if not folder.exists():
        raise DemoError(f"There is no folder {folder}.")
    if not folder.is_dir():
        raise DemoError(f"{folder} is a file; IMAGES takes a folder.")
    files: dict[str, Path] = {}
    for path in walk(folder, besides):
        name = path.relative_to(folder).as_posix()
        key = key_of(name)
        files[key if key not in files else _digested(name)] = path
    if not files:
        raise DemoError(f"The folder {folder} holds no files.")
    return files


def key_of(name: str, prefix: str = "") -> str:
    """The object key of a file: `prefix` and its `name`, unless S3 would refuse that.

    File systems allow names that are not UTF-8, and paths longer than a key may be.
    """
    key = prefix + name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
    return key if len(key.encode()) <= MAX_KEY_BYTES else prefix + _digested(name)


def _digested(name: str) -> str:
    """A unique key: a digest, then the end of the name to recognise it by."""
    digest = hashlib.sha256(os.fsencode(name)).hexdigest()[:16]
    return f"{digest}/{key_of(name.rpartition('/')[2])}"


def draw_synthetic(
    folder: Path, seed: int, count: int, progress: Callable[[int], None] = lambda _: None
) -> dict[str, Path]:
    """Draws `count` synthetic images into `folder`; returns them by key. Calls `progress` with the number done.

    Files of an earlier run stay in the folder, but are not returned.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, content in demo_images(seed, count):
        files[name] = folder / name
        files[name].write_bytes(content)
        progress(len(files))
    return files
