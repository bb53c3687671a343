"""The address of the local stack that stands on this machine, written where other shells find it.

    DERMBATCH_STATE/local.json      by default in ~/.local/share/dermbatch; only its owner may read it

The program that runs the stack writes the file at its start and removes it at its end.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from infra.embedded_aws import Endpoint
from model_layer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.stack import Stack

HOW_TO_START = "start one with: dermbatch serve --local"


class StandingError(UserError):
    """No local stack runs, or its address cannot be read."""

    exit_code = 4


def state_folder() -> Path:
    """Where programs of this person find the local stack, and it keeps its state."""
    if given := os.environ.get("DERMBATCH_STATE"):
        return Path(given)
    data = os.environ.get("XDG_DATA_HOME", "")
    usual = Path.home() / ("Library/Application Support" if sys.platform == "darwin" else ".local/share")
    return (Path(data) if Path(data).is_absolute() else usual) / "dermbatch"


@contextlib.contextmanager
def standing(stack: Stack, folder: Path | None = None) -> Iterator[Path]:
    """Publishes the address of `stack` as long as the block runs; a later one replaces an earlier one."""
    file = (folder or state_folder()) / "local.json"
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    told = {"url": stack.endpoint.url, "region": stack.endpoint.region, "stack": stack.name, "pid": os.getpid()}
    unfinished = file.with_suffix(f".{os.getpid()}")
    unfinished.touch(mode=0o600)
    unfinished.write_text(json.dumps(told) + "\n", encoding="utf-8")
    unfinished.replace(file)
    try:
        yield file
    finally:
        with contextlib.suppress(OSError, ValueError):
            if json.loads(file.read_text(encoding="utf-8")) == told:
                file.unlink()


def standing_endpoint() -> Endpoint:
    """The local stack's AWS.

    Raises:
        StandingError: no local stack runs.
    """
    file = state_folder() / "local.json"
    try:
        told = json.loads(file.read_text(encoding="utf-8"))
        endpoint = Endpoint(str(told["url"]), str(told["region"]), int(told["pid"]))
        os.kill(endpoint.pid, 0)
    except (FileNotFoundError, ProcessLookupError):
        raise StandingError(f"No local stack runs on this machine; {HOW_TO_START}") from None
    except PermissionError:
        raise StandingError(f"{file} belongs to another person's local stack.") from None
    except (OSError, ValueError, KeyError, TypeError, OverflowError) as error:
        raise StandingError(f"{file} can't be read; {HOW_TO_START}") from error
    return endpoint
