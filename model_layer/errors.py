"""Errors that a person can put right, and the one place where a command reports them.

Every error of that kind derives from `UserError`: a bundle that does not load, a wrong setting, a missing folder, a
stack that is not there. Anything else that leaves a command is a bug and keeps its traceback.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    from collections.abc import Callable

INTERRUPTED = 130
"""Exit code after Ctrl-C, as shells use it."""


class UserError(Exception):
    """The message is one sentence that says what is wrong or what to do."""

    exit_code: ClassVar[int] = 1


def run_command(name: str, command: Callable[[], int], stopped: str = "stopped.") -> int:
    """Runs `command` and returns its exit code, or the one of the error that ended it.

    The error's sentence goes to stderr after `name`, and so does `stopped` after Ctrl-C. An interrupt may carry an
    `exit_code` of its own. A reader that has gone away (`... | head`) ends the command without a word.
    """
    try:
        code = command()
        sys.stdout.flush()  # so that a reader who has gone is noticed here
    except UserError as error:
        _tell(f"{name}: {error}")
        return error.exit_code
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains when it flushes at exit
        return 1
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        _tell(f"{name}: {where}{error.strerror or error}.")
        return 1
    except KeyboardInterrupt as interrupt:
        _tell(f"\n{name}: {stopped}")
        return int(getattr(interrupt, "exit_code", INTERRUPTED))
    return code


def _tell(line: str) -> None:
    sys.stderr.write(f"{line}\n")
