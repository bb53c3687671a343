"""The commands of `dermbatch` and their options.

Exit codes: 0 done, 1 something failed or was rejected, 2 wrong usage, 3 the time of --wait ran out, 4 credentials or
stack, 130 interrupted.

Imports are inside the commands, so that `dermbatch --help` answers at once: boto3 and the model take seconds.
"""

from __future__ import annotations

import signal
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer

from cli import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from cli.deployed import Account
    from cli.output import Form

NOTICE = "Research use only. Not a medical device."
STOPPED_BY_SIGTERM = 143
LARGEST_SEED = 999_999_999

app = typer.Typer(
    help=f"Classifies skin images without servers: S3 in, predictions in DynamoDB out. {NOTICE}",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # rich would take half of the time of --help
    context_settings={"help_option_names": ["-h", "--help"]},
)

Stack = Annotated[str, typer.Option(envvar="DERMBATCH_STACK", help="Name of the CloudFormation stack.")]
Profile = Annotated[str | None, typer.Option(metavar="NAME", help="AWS profile instead of the usual one.")]
Region = Annotated[str | None, typer.Option(metavar="NAME", help="AWS region instead of the usual one.")]
Local = Annotated[bool, typer.Option("--local", help="Use the local stack of this machine, and no account.")]
STACK = "dermbatch"
AsJson = Annotated[bool, typer.Option("--json", help="One JSON object a line.")]
AsCsv = Annotated[bool, typer.Option("--csv", help="CSV that is safe to open in a spreadsheet.")]
ExitZero = Annotated[bool, typer.Option("--exit-zero", help="End with 0 even if images were rejected or failed.")]
Bundle = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR",
        envvar="MODEL_BUNDLE",
        exists=True,
        file_okay=False,
        help="Folder of the model bundle. Default: the one that comes with dermbatch.",
    ),
]
Day = Annotated[
    list[str] | None, typer.Option(metavar="DATE", help="Predictions of this day in UTC; repeatable. Default: today.")
]
Since = Annotated[str | None, typer.Option(metavar="DATE", help="Predictions of this day and later.")]
Prefix = Annotated[str, typer.Option(help="Only keys that begin with this. Default: all.")]
UploadedSince = Annotated[
    str | None, typer.Option(metavar="DATE", help="Only objects that were uploaded on this day (UTC) or later.")
]
Inventory = Annotated[
    str | None,
    typer.Option(metavar="s3://...", help="manifest.json of an S3 Inventory to read instead of the bucket."),
]
Restart = Annotated[bool, typer.Option("--restart", help="Forget the progress and start again.")]
WAIT = 600


class Status(StrEnum):
    """As `model_layer.Status`, which takes long to import."""

    CLASSIFIED = "classified"
    REFERRED = "referred"
    REJECTED = "rejected"
    SUPERSEDED = "superseded"
    FAILED = "failed"


class Triage(StrEnum):
    """As in records."""

    URGENT = "urgent"
    ROUTINE = "routine"


class Format(StrEnum):
    """As `cli.export.Format`."""

    JSONL = "jsonl"
    CSV = "csv"
    PARQUET = "parquet"


class TerminatedError(KeyboardInterrupt):
    """SIGTERM arrived. As with Ctrl-C, everything that the command started is stopped on the way out."""

    exit_code = STOPPED_BY_SIGTERM


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")  # a file name that the terminal can't show must not fail
    try:
        app(args=_with_seconds(sys.argv[1:] if arguments is None else arguments), prog_name="dermbatch")
    except SystemExit as end:
        return int(end.code or 0)
    return 0


def _with_seconds(arguments: Sequence[str]) -> list[str]:
    """`--wait` may stand without its number, which typer knows no option for."""
    found: list[str] = []
    for number, argument in enumerate(arguments):
        if argument == "--":
            return [*found, *arguments[number:]]
        following = arguments[number + 1] if number + 1 < len(arguments) else ""
        given = following.removeprefix("-").replace(".", "", 1).isdecimal()
        found.append(f"--wait={WAIT}" if argument == "--wait" and not given else argument)
    return found


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
    """Classify images on an AWS embedded in this machine.

    Needs no account. Uploads the images into a bucket, runs the worker, shows the predictions, and writes
    predictions.jsonl and contact-sheet.png.
    """
    if images and (count is not None or seed is not None):
        raise typer.BadParameter("--count and --seed choose synthetic images; they don't go with --images")
    signal.signal(signal.SIGTERM, _terminate)

    def run() -> int:
        from demo.run import COUNT, SEED, demo  # noqa: PLC0415

        return demo(images, out, COUNT if count is None else count, SEED if seed is None else seed)

    _run("demo", run, "stopped; the embedded AWS is gone, and the results so far are kept.")


@app.command()
def submit(
    *,
    paths: Annotated[
        list[Path], typer.Argument(metavar="PATH...", exists=True, help="Images, or folders with everything below.")
    ],
    wait: Annotated[
        float | None,
        typer.Option(
            metavar="[SECONDS]", min=0, help=f"Wait until each image has its result, at most so many seconds ({WAIT})."
        ),
    ] = None,
    prefix: Annotated[str, typer.Option(help="What the keys in the bucket begin with, such as clinic-7/.")] = "",
    hash_keys: Annotated[
        bool, typer.Option("--hash-keys", help="Name the images in the bucket by their SHA-256, not by their files.")
    ] = False,
    manifest: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            dir_okay=False,
            help="Where to note what was sent. Default: dermbatch-manifest.jsonl beside the images.",
        ),
    ] = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    exit_zero: ExitZero = False,
    stack: Stack = STACK,
    profile: Profile = None,
    region: Region = None,
    local: Local = False,
) -> None:
    """Upload images to be classified.

    Writes a manifest beside them: each file with its SHA-256, key and version. The same command again sends only what
    is missing. Prints the manifest's path, or with --wait what became of each image.
    """
    form = _form(as_json=as_json, as_csv=as_csv)
    account = _account(profile, region, local=local)

    def run() -> int:
        from cli.submit import submit  # noqa: PLC0415

        return submit(
            paths,
            stack,
            account(),
            manifest,
            form(),
            prefix=prefix,
            hash_keys=hash_keys,
            wait=wait,
            exit_zero=exit_zero,
        )

    _run("submit", run, "stopped; what was sent is in the manifest, and the same command sends the rest.")


@app.command()
def results(
    *,
    label: Annotated[str | None, typer.Option(metavar="CODE", help="Only this label, such as mel.")] = None,
    status: Annotated[
        Status | None, typer.Option(help="Only this status. Default: images with a label, most confident first.")
    ] = None,
    day: Day = None,
    since: Since = None,
    min_confidence: Annotated[
        float | None, typer.Option(min=0, max=1, help="Only labels with at least this confidence.")
    ] = None,
    triage: Annotated[Triage | None, typer.Option(help="Only this triage.")] = None,
    limit: Annotated[
        int | None,
        typer.Option(min=1, max=10_000, metavar="N", help="Show at most so many rows (100; of a manifest, all)."),
    ] = None,
    cursor: Annotated[
        str | None, typer.Option(help="Continue after the previous page, which gave this cursor.")
    ] = None,
    manifest: Annotated[
        Path | None,
        typer.Option(metavar="FILE", dir_okay=False, help="What became of each file of this submission."),
    ] = None,
    bundle: Bundle = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    stack: Stack = STACK,
    profile: Profile = None,
    region: Region = None,
    local: Local = False,
) -> None:
    """See what became of images: of a submission, or of days.

    Asks the table's indexes and never scans. Without --status it lists the images with a label, most confident first;
    with --status alone the latest first.
    """
    form = _form(as_json=as_json, as_csv=as_csv)
    account = _account(profile, region, local=local)
    if manifest and (day or since or cursor):
        raise typer.BadParameter("--manifest names its files; it goes with neither --day, --since nor --cursor")

    def run() -> int:
        from cli.results import Asked, days_of, results, results_of  # noqa: PLC0415

        asked = Asked(label, status.value if status else None, triage.value if triage else None, min_confidence)
        if manifest:
            return results_of(manifest, stack, account(), asked, limit, form())
        days = days_of(day or [], since)
        return results(
            stack, account(), asked, days, limit or 100, cursor, bundle, form(), open_ended=since is not None
        )

    _run("results", run)


@app.command()
def show(
    *,
    image: Annotated[str, typer.Argument(metavar="IMAGE", help="Key, BUCKET/KEY or s3://BUCKET/KEY.")],
    png: Annotated[
        Path | None, typer.Option(metavar="FILE", dir_okay=False, help="Draw the heat map over the image.")
    ] = None,
    as_json: AsJson = False,
    stack: Stack = STACK,
    profile: Profile = None,
    region: Region = None,
    local: Local = False,
) -> None:
    """Read the records of one image in words.

    There is one under every model that has seen it.
    """
    account = _account(profile, region, local=local)

    def run() -> int:
        from cli.show import show  # noqa: PLC0415

        return show(image, stack, account(), png, as_json=as_json)

    _run("show", run)


@app.command()
def classify(
    *,
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", exists=True, help="Images, or folders of them.")],
    png: Annotated[
        Path | None, typer.Option(metavar="DIR", file_okay=False, help="Draw the heat map of each image into DIR.")
    ] = None,
    bundle: Bundle = None,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
    exit_zero: ExitZero = False,
) -> None:
    """Classify images here and now, without AWS. The answers are the worker's."""
    form = _form(as_json=as_json, as_csv=as_csv)

    def run() -> int:
        from cli.classify import classify  # noqa: PLC0415

        return classify(files, bundle, png, form(), exit_zero=exit_zero)

    _run("classify", run)


@app.command()
def adopt(
    *,
    bucket: Annotated[str, typer.Option(metavar="NAME", help="The bucket that the new stack takes over.")],
    table: Annotated[str | None, typer.Option(metavar="NAME", help="The table of records, if there is one.")] = None,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    stack: Stack = STACK,
    profile: Profile = None,
    region: Region = None,
    local: Local = False,
) -> None:
    """Begin a stack with a bucket and a table that exist.

    They outlived a former stack, or the bucket was there before dermbatch. Deploy afterwards, with the same names as
    BucketName and TableName.
    """
    account = _account(profile, region, local=local)

    def run() -> int:
        from cli.adopt import adopt  # noqa: PLC0415

        return adopt(stack, bucket, table, account(), yes=yes)

    _run("adopt", run, "stopped. If the stack is there now, go on with make deploy; else try again.")


@app.command()
def versions(
    *,
    keep: Annotated[int, typer.Option(min=1, metavar="N", help="Keep so many of the newest.")] = 3,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be deleted, and delete nothing.")] = False,
    stack: Stack = STACK,
    profile: Profile = None,
    region: Region = None,
    local: Local = False,
) -> None:
    """Delete old versions of the worker that are not in use."""
    account = _account(profile, region, local=local)

    def run() -> int:
        from cli.versions import prune  # noqa: PLC0415

        return prune(stack, account(), keep, dry_run=dry_run)

    _run("versions", run)


@app.command()
def erase(
    *,
    images: Annotated[list[str], typer.Argument(metavar="IMAGE...", help="Key, BUCKET/KEY or s3://BUCKET/KEY.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Don't ask.")] = False,
    stack: Stack = STACK,
    profile: Profile = None,
    region: Region = None,
    local: Local = False,
) -> None:
    """Erase images with their records.

    Every version of the object is deleted, and its records under every model. Asks first.
    """
    account = _account(profile, region, local=local)

    def run() -> int:
        from cli.erase import erase  # noqa: PLC0415

        return erase(images, stack, account(), yes=yes)

    _run("erase", run, "stopped; the same command erases what is left.")


@app.command()
def export(
    *,
    day: Day = None,
    since: Since = None,
    out: Annotated[
        Path | None,
        typer.Option(metavar="FILE|DIR", help="A file, or a folder that gets day=.../records. Default: stdout."),
    ] = None,
    form: Annotated[
        Format | None,
        typer.Option("--format", help="Default: by the end of FILE's name, else jsonl. parquet needs its set."),
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="The same as --format csv.")] = False,
    every_model: Annotated[
        bool, typer.Option("--every-model", help="Also records that a newer model's have replaced.")
    ] = False,
    bundle: Bundle = None,
    stack: Stack = STACK,
    profile: Profile = None,
    region: Region = None,
    local: Local = False,
) -> None:
    """Write the records of days to a file, for other programs.

    As JSON Lines, CSV or Parquet: for pandas, Athena or a spreadsheet.
    """
    account = _account(profile, region, local=local)
    if as_csv and form not in {None, Format.CSV}:
        raise typer.BadParameter("--csv and another --format don't go together")
    chosen = Format.CSV if as_csv else form

    def run() -> int:
        from cli import export  # noqa: PLC0415
        from cli.results import days_of  # noqa: PLC0415

        written = export.Format(chosen) if chosen else export.Format.of(out)
        days = days_of(day or [], since)
        return export.export(days, stack, account(), out, bundle, written, every_model=every_model)

    _run("export", run)


@app.command()
def parameters(
    *,
    stack: Stack = STACK,
    profile: Profile = None,
    region: Region = None,
    local: Local = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List a stack's parameters that differ from the defaults.

    A deployment leaves every parameter as it is that you do not name: a default that changed with a new version reaches
    no stack that exists.
    """
    account, form = _account(profile, region, local=local), _form(as_json=as_json, as_csv=as_csv)

    def run() -> int:
        from cli.parameters import parameters  # noqa: PLC0415

        return parameters(stack, account(), form())

    _run("parameters", run)


@app.command()
def smoke(
    *,
    stack: Stack = STACK,
    profile: Profile = None,
    region: Region = None,
    local: Local = False,
    seconds: Annotated[float, typer.Option(help="How long to wait for the records.")] = 300,
    keep: Annotated[bool, typer.Option("--keep", help="Leave images and records in place.")] = False,
) -> None:
    """Check a deployed stack with known images.

    Uploads them and waits for their records. The images are synthetic. They go under smoke/RANDOM/ in the stack's
    bucket and are deleted at the end, and their records with them, unless the stack keeps records of deleted images
    (EraseRemoved).
    """
    account = _account(profile, region, local=local)

    def run() -> int:
        from cli.smoke import smoke  # noqa: PLC0415

        return smoke(stack, seconds, keep=keep, account=account())

    _run("smoke", run)


@app.command()
def backfill(
    *,
    stack: Stack = STACK,
    profile: Profile = None,
    region: Region = None,
    local: Local = False,
    prefix: Prefix = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what is left to send, and send nothing.")] = False,
    per_second: Annotated[float, typer.Option(min=0, help="Average messages a second; 0 means no limit.")] = 0,
    since: UploadedSince = None,
    model_version: Annotated[
        str | None,
        typer.Option(metavar="VERSION", help="Only objects without a record under this version of the model."),
    ] = None,
    inventory: Inventory = None,
    max_waiting: Annotated[
        int, typer.Option(min=1, metavar="N", help="Pause while the bulk queue holds more messages.")
    ] = 100_000,
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Progress file. Default: build/backfill-STACK.json.")
    ] = None,
    restart: Restart = False,
) -> None:
    """Send what is already in the bucket through the bulk lane.

    For images from before the deployment, or to score them again under a new model. Sends one message for the current
    version of each object, shaped like S3's own events. An object that already has a record under the running model
    costs a look-up and no inference. Run the same command again to continue after an interruption.
    """
    file = state or Path("build") / f"backfill-{stack}.json"
    account = _account(profile, region, local=local)
    advice = "" if dry_run else f" The same command without --restart continues from {file}."

    def run() -> int:
        from cli.backfill.choice import Choice  # noqa: PLC0415
        from cli.backfill.run import backfill  # noqa: PLC0415
        from cli.deployed import aws_calls  # noqa: PLC0415

        with aws_calls(advice):
            return backfill(
                stack,
                prefix,
                file,
                dry_run=dry_run,
                per_second=per_second,
                restart=restart,
                account=account(),
                choice=Choice.of(since, model_version),
                inventory=inventory,
                max_waiting=max_waiting,
            )

    _run("backfill", run, f"stopped.{advice}")


@app.command()
def reconcile(
    *,
    stack: Stack = STACK,
    profile: Profile = None,
    region: Region = None,
    local: Local = False,
    prefix: Prefix = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count what has no record, and send nothing.")] = False,
    since: UploadedSince = None,
    older_than: Annotated[
        float | None,
        typer.Option(
            min=0,
            metavar="HOURS",
            help="Only objects that were uploaded longer ago. Default: as long as a message may be tried, 65 minutes.",
        ),
    ] = None,
    limit: Annotated[
        int, typer.Option(min=1, metavar="N", help="Send at most so many, and end with 1 if more are left.")
    ] = 10_000,
    inventory: Inventory = None,
    state: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Progress file. Default: build/reconcile-STACK.json.")
    ] = None,
    restart: Restart = False,
) -> None:
    """Find objects without a record, and send them again.

    S3's news of them was lost. It is a backfill of what is missing. It leaves out archived objects, system files, and
    uploads that may still be on their way. An object that has a record is left alone, a failed one too: its message is
    a dead letter.
    """
    file = state or Path("build") / f"reconcile-{stack}.json"
    account = _account(profile, region, local=local)
    advice = "" if dry_run else f" The same command without --restart continues from {file}."

    def run() -> int:
        from cli.backfill.choice import Choice  # noqa: PLC0415
        from cli.backfill.run import reconcile  # noqa: PLC0415
        from cli.deployed import aws_calls  # noqa: PLC0415

        with aws_calls(advice):
            return reconcile(
                stack,
                prefix,
                file,
                choice=Choice.of(since, None),
                older_than=older_than,
                limit=limit,
                dry_run=dry_run,
                restart=restart,
                inventory=inventory,
                account=account(),
            )

    _run("reconcile", run, f"stopped.{advice}")


@app.command()
def restore(
    *,
    stack: Stack = STACK,
    profile: Profile = None,
    region: Region = None,
    local: Local = False,
    at: Annotated[
        str | None, typer.Option(metavar="TIME", help="As of this time in UTC, such as 2026-11-25T09:00.")
    ] = None,
    table: Annotated[
        str | None, typer.Option("--from", metavar="TABLE", help="Copy from this table, which you restored yourself.")
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would be copied; restore and copy nothing.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Let records of that time replace others. Default: only add missing ones.")
    ] = False,
    drop: Annotated[bool, typer.Option("--drop", help="Delete the restored table at the end.")] = False,
) -> None:
    """Bring back the records of an earlier time.

    DynamoDB restores the stack's table into a new one, and the command copies from there what the stack's table lacks:
    only records whose version of the object still exists, and that no removal has left a mark for. Run the same command
    again to continue after an interruption, or to look with --dry-run first once the new table is there.
    """
    if (at is None) == (table is None):
        raise typer.BadParameter("give either --at TIME or --from TABLE")
    if drop and table:
        raise typer.BadParameter("--drop deletes a table that this command restored; it does not go with --from")
    account = _account(profile, region, local=local)

    def run() -> int:
        from cli.deployed import aws_calls  # noqa: PLC0415
        from cli.restore.run import restore  # noqa: PLC0415

        with aws_calls(" The same command goes on."):
            return restore(stack, account(), at, table, dry_run=dry_run, replace=replace, drop=drop)

    _run("restore", run, "stopped; what was copied stays, and the same command goes on.")


@app.command()
def work(
    queue_urls: Annotated[
        list[str], typer.Argument(metavar="QUEUE_URL...", help="Address of a queue; several are served in turn.")
    ],
    *,
    stack: Stack = STACK,
    profile: Profile = None,
    region: Region = None,
    local: Local = False,
    batch_size: Annotated[int, typer.Option(min=1, max=1000, metavar="N", help="Messages of a batch.")] = 10,
    batch_seconds: Annotated[
        float,
        typer.Option(
            min=10, max=36_000, help="Seconds that a batch may take; what is left of it then goes back into the queue."
        ),
    ] = 900,
    grace: Annotated[
        float, typer.Option(min=1, max=3600, help="Seconds that the batch has after SIGTERM or Ctrl-C.")
    ] = 20,
    housekeeping: Annotated[
        bool,
        typer.Option("--housekeeping", help="Run the housekeeper instead: it erases, and records what was given up."),
    ] = False,
    with_parent: Annotated[
        bool, typer.Option("--with-parent", hidden=True, help="End when standard input is closed.")
    ] = False,
) -> None:
    """Run the worker as a process that polls a queue.

    For ECS, Batch, Kubernetes or a big server. Settings come from the environment, as on Lambda (PREDICTIONS_TABLE,
    UPLOADS_BUCKET, MODEL_BUNDLE, ...). Without PREDICTIONS_TABLE they are those of the stack. Messages stay hidden as
    long as the worker works on them. SIGTERM finishes the batch; a second one stops at once, and the messages come back
    later.
    """
    account = _account(profile, region, local=local)

    def run() -> int:
        from cli.work import work  # noqa: PLC0415

        return work(
            queue_urls,
            stack,
            account(),
            batch_size=batch_size,
            batch_seconds=batch_seconds,
            grace=grace,
            housekeeping=housekeeping,
            with_parent=with_parent,
        )

    _run("work", run, "stopped at once; unfinished messages come back when their visibility timeout has passed.")


@app.command()
def serve(
    *,
    local: Annotated[
        bool, typer.Option("--local", help="Start a stack of this machine's own, with its worker, and serve that.")
    ] = False,
    state: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", envvar="DERMBATCH_STATE", help="With --local: folder of photographs, records and queues."
        ),
    ] = None,
    ephemeral: Annotated[
        bool, typer.Option("--ephemeral", help="With --local: keep everything in memory; it is gone at the end.")
    ] = False,
    stack: Stack = STACK,
    profile: Profile = None,
    region: Region = None,
    host: Annotated[str, typer.Option(help="Address to listen on; others than loopback demand the key.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="Port to listen on; 0 takes a free one.")] = 8000,
    name: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="Host name under which others reach the service; repeatable."),
    ] = None,
) -> None:
    """Serve the page and the HTTP service.

    Over a deployed stack, or with --local over one of this machine's own. Prints an address that works once. With
    --local, photographs, records and queues are kept in a folder that only you may read, and are there again at the
    next start. Ctrl-C or SIGTERM ends everything in order.
    """
    if not local and ephemeral:
        raise typer.BadParameter("--ephemeral goes only with --local")
    account = _account(profile, region, local=local)
    signal.signal(signal.SIGTERM, _terminate)

    def run() -> int:
        from cli.serve import Listen, serve_local, serve_stack  # noqa: PLC0415

        listen = Listen(host, port, frozenset(one.lower() for one in name or ()))
        if local:
            return serve_local(state, listen, ephemeral=ephemeral)
        return serve_stack(stack, account(), listen)

    _run("serve", run)


@app.command()
def compare(
    model_a: Annotated[str, typer.Argument(metavar="MODEL_A", help="A version of the model, as records name it.")],
    model_b: Annotated[str, typer.Argument(metavar="MODEL_B", help="The version to compare it with.")],
    *,
    stack: Stack = STACK,
    profile: Profile = None,
    region: Region = None,
    local: Local = False,
    day: Day = None,
    since: Since = None,
    bundle: Bundle = None,
    limit: Annotated[
        int, typer.Option(min=0, metavar="N", help="Show at most so many images that differ; 0 shows all.")
    ] = 20,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """Compare two versions of the model on their stored records.

    Takes the uploads that MODEL_A answered on the chosen days, and the records of the same uploads under MODEL_B of any
    day. Prints agreement, a matrix of labels, the change of the shares of referred and urgent images with 95 %
    intervals, and the images where the two differ. --json and --csv print only these images.
    """
    account, form = _account(profile, region, local=local), _form(as_json=as_json, as_csv=as_csv)

    def run() -> int:
        from cli.compare import compare  # noqa: PLC0415
        from cli.results import days_of  # noqa: PLC0415

        return compare(model_a, model_b, days_of(day or [], since), stack, account(), bundle, limit, form())

    _run("compare", run)


@app.command()
def models(
    *,
    prefer: Annotated[
        str | None, typer.Option(metavar="VERSION", help="Give the records of this version precedence over all others.")
    ] = None,
    stack: Stack = STACK,
    profile: Profile = None,
    region: Region = None,
    local: Local = False,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List the model's versions; choose whose records count.

    Where several versions have answered an image, results, export, the service and the page show the record of the one
    that is listed first: the newest, unless --prefer has put another there. No record is changed or deleted.
    """
    account, form = _account(profile, region, local=local), _form(as_json=as_json, as_csv=as_csv)

    def run() -> int:
        from cli.models import models  # noqa: PLC0415

        return models(prefer, stack, account(), form())

    _run("models", run)


dlq = typer.Typer(no_args_is_help=True, help="Look at dead letters, and send them back to the worker.")
app.add_typer(dlq, name="dlq")


class Lane(StrEnum):
    """Where messages come from: S3's own events, a backfill, or deletions."""

    LIVE = "live"
    BULK = "bulk"
    REMOVALS = "removals"


LaneOption = Annotated[Lane | None, typer.Option("--lane", help="Only the dead letters of this lane.")]
Only = Annotated[str | None, typer.Option("--only", metavar="CODE", help="Only dead letters with this reason.")]


@dlq.command("list")
def dlq_list(
    *,
    stack: Stack = STACK,
    profile: Profile = None,
    region: Region = None,
    local: Local = False,
    lane: LaneOption = None,
    only: Only = None,
    limit: Annotated[int, typer.Option(min=1, metavar="N", help="Look at no more than so many letters.")] = 1000,
    as_json: AsJson = False,
    as_csv: AsCsv = False,
) -> None:
    """List dead letters with the reason of their record.

    They stay where they are. A letter is hidden from others while this command looks at it.
    """
    account, form = _account(profile, region, local=local), _form(as_json=as_json, as_csv=as_csv)

    def run() -> int:
        from cli.dlq import list_letters  # noqa: PLC0415

        return list_letters(stack, account(), lane, only, limit, form())

    _run("dlq list", run)


@dlq.command("show")
def dlq_show(
    message: Annotated[str, typer.Argument(metavar="MESSAGE_ID", help="Id of the letter, as the list shows it.")],
    *,
    stack: Stack = STACK,
    profile: Profile = None,
    region: Region = None,
    local: Local = False,
) -> None:
    """Print one dead letter as JSON.

    With its body, its reasons, and the records of the uploads that it names.
    """
    account = _account(profile, region, local=local)

    def run() -> int:
        from cli.dlq import show_letter  # noqa: PLC0415

        return show_letter(stack, account(), message)

    _run("dlq show", run)


@dlq.command("redrive")
def dlq_redrive(
    *,
    stack: Stack = STACK,
    profile: Profile = None,
    region: Region = None,
    local: Local = False,
    lane: LaneOption = None,
    only: Only = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Count the letters, and send nothing back.")] = False,
    per_second: Annotated[float, typer.Option(min=0, help="At most so many letters a second; 0 means no limit.")] = 0,
    limit: Annotated[
        int | None, typer.Option(min=1, metavar="N", help="Send back no more than so many letters.")
    ] = None,
) -> None:
    """Send dead letters back to the worker.

    All of them, or those with one reason. Each letter is put into its queue before it is deleted here, so that an
    interruption loses nothing. A record `failed` gives way to the new one.
    """
    account = _account(profile, region, local=local)

    def run() -> int:
        from cli.dlq import redrive  # noqa: PLC0415

        return redrive(stack, account(), lane, only, dry_run=dry_run, per_second=per_second, limit=limit)

    _run("dlq redrive", run, "stopped. No letter is lost: the rest is still in the dead-letter queue.")


def _account(profile: str | None, region: str | None, *, local: bool) -> Callable[[], Account]:
    """Checks the options now; loads boto3 when called."""
    if local and (profile or region):
        raise typer.BadParameter("--local is this machine's own stack; it goes with neither --profile nor --region")

    def load() -> Account:
        from cli.deployed import Account  # noqa: PLC0415

        return Account(profile, region, local)

    return load


def _form(*, as_json: bool, as_csv: bool) -> Callable[[], Form]:
    if as_json and as_csv:
        raise typer.BadParameter("--json and --csv don't go together")

    def load() -> Form:
        from cli.output import Form  # noqa: PLC0415

        return Form.chosen(json=as_json, csv=as_csv)

    return load


def _run(name: str, command: Callable[[], int], stopped: str = "stopped.") -> NoReturn:
    from model_layer.errors import run_command  # noqa: PLC0415 (its package loads the inference runtime)

    raise typer.Exit(run_command(name, command, stopped))


def _terminate(_signal: int, _frame: object) -> NoReturn:
    raise TerminatedError
