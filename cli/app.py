"""The commands of `dermbatch` and their options.

Exit codes: 0 done, 1 something failed or was rejected, 2 wrong usage, 4 credentials or stack, 130 interrupted.

Imports are inside the commands, so that `dermbatch --help` answers at once: boto3 and the model take seconds.
"""

from __future__ import annotations

import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from cli import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

NOTICE = "Research use only. Not a medical device."
STOPPED_BY_SIGTERM = 143
LARGEST_SEED = 999_999_999

app = typer.Typer(
    help=f"Classifies skin images without servers: S3 in, predictions in DynamoDB out. {NOTICE}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",  # wraps paragraphs to the terminal
    context_settings={"help_option_names": ["-h", "--help"]},
)

Stack = Annotated[str, typer.Option(help="Name of the CloudFormation stack.")]


class TerminatedError(KeyboardInterrupt):
    """SIGTERM arrived. As with Ctrl-C, everything that the command started is stopped on the way out."""

    exit_code = STOPPED_BY_SIGTERM


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a file name that the terminal can't show must not fail
    try:
        app(args=None if arguments is None else list(arguments), prog_name="dermbatch")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


@app.callback()
def _options(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", help="Print the version and exit.", is_eager=True, callback=lambda on: _version(on=on)
        ),
    ] = False,
) -> None:
    del version


def _version(*, on: bool) -> None:
    if on:
        print(f"dermbatch {__version__}")
        raise typer.Exit


@app.command()
def demo(
    images: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Your own pictures: every file in DIR and below. Default: synthetic ones."),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", help="Folder for the results.")] = Path("build/demo"),
    count: Annotated[
        int | None, typer.Option(metavar="N", min=1, max=LARGEST_SEED, help="Number of synthetic images (24).")
    ] = None,
    seed: Annotated[
        int | None, typer.Option(metavar="S", min=0, max=LARGEST_SEED, help="Seed of the synthetic images (0).")
    ] = None,
) -> None:
    """Classify images on an AWS embedded in this machine, and show the predictions.

    Needs no account. Uploads the images into a bucket, runs the worker, and writes predictions.jsonl and
    contact-sheet.png.
    """
    if images and (count is not None or seed is not None):
        raise typer.BadParameter("--count and --seed choose synthetic images; they don't go with --images")
    signal.signal(signal.SIGTERM, _terminate)

    def run() -> int:
        from demo.run import COUNT, SEED, demo  # noqa: PLC0415

        return demo(images, out, COUNT if count is None else count, SEED if seed is None else seed)

    _run("demo", run, "stopped; the embedded AWS is gone, and the results so far are kept.")


@app.command()
def smoke(
    *,
    stack: Stack,
    seconds: Annotated[float, typer.Option(help="How long to wait for the records.")] = 300,
    keep: Annotated[bool, typer.Option("--keep", help="Leave images and records in place.")] = False,
) -> None:
    """Check a deployed stack: upload known images and wait for their records.

    The images are synthetic. They go under smoke/RANDOM/ in the stack's bucket and are deleted at the end, and their
    records with them, unless the stack keeps records of deleted images (EraseRemoved).
    """

    def run() -> int:
        from cli.smoke import smoke  # noqa: PLC0415

        return smoke(stack, seconds, keep=keep)

    _run("smoke", run)


@app.command()
def backfill(
    *,
    stack: Stack,
    prefix: Annotated[str, typer.Option(help="Only keys that begin with this. Default: all.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what is left to send, and send nothing.")] = False,
    per_second: Annotated[float, typer.Option(min=0, help="Average messages a second; 0 means no limit.")] = 0,
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Progress file. Default: build/backfill-STACK.json.")
    ] = None,
    restart: Annotated[bool, typer.Option("--restart", help="Forget the progress and start again.")] = False,
) -> None:
    """Send the objects that are already in the bucket through the bulk lane.

    For images from before the deployment, or to score them again under a new model. Sends one message for the current
    version of each object, shaped like S3's own events. An object that already has a record under the running model
    costs a look-up and no inference. Run the same command again to continue after an interruption.
    """
    file = state or Path("build") / f"backfill-{stack}.json"
    advice = "" if dry_run else f" The same command without --restart continues from {file}."

    def run() -> int:
        from cli.backfill.run import backfill  # noqa: PLC0415
        from cli.deployed import aws_calls  # noqa: PLC0415

        with aws_calls(advice):
            return backfill(stack, prefix, file, dry_run=dry_run, per_second=per_second, restart=restart)

    _run("backfill", run, f"stopped.{advice}")


def _run(name: str, command: Callable[[], int], stopped: str = "stopped.") -> NoReturn:
    from model_layer.errors import run_command  # noqa: PLC0415 (its package loads the inference runtime)

    raise typer.Exit(run_command(name, command, stopped))


def _terminate(_signal: int, _frame: object) -> NoReturn:
    raise TerminatedError
