"""The command: uploads, waits, cleans up, prints one table."""

from __future__ import annotations

import argparse
import os
import sys
import uuid
from typing import TYPE_CHECKING

from cli.deployed import AWS_ERRORS, DeployedError, client, find
from cli.smoke import __doc__ as purpose
from cli.smoke.checks import Check, Smoke
from handler.store.record import NOTICE
from pictures.names import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence

PATIENCE_SECONDS = 300  # a new stack's first worker starts from nothing, and S3's first events may take a minute
ERASURE_SECONDS = 120


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns 0 when every upload got the record that it must get, and lost it again with its image.

    Otherwise 1, or 130 after Ctrl-C.
    """
    parser = argparse.ArgumentParser(
        prog="python -m cli.smoke",
        description=purpose,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("--stack", required=True, help="name of the stack")
    parser.add_argument("--seconds", type=float, default=PATIENCE_SECONDS, help="how long records are waited for")
    parser.add_argument("--keep", action="store_true", help="leave images and records where they are")
    options = parser.parse_args(arguments)
    try:
        stack = find(options.stack)
        smoke = Smoke(stack, client("s3"), client("dynamodb"), f"smoke/{uuid.uuid4()}/")
        where = os.environ.get("AWS_ENDPOINT_URL") or "AWS"
        print(f"{len(smoke.checks)} uploads to s3://{stack.bucket}/{smoke.prefix} at {where}", flush=True)
        try:
            smoke.upload()
            smoke.wait_for_records(options.seconds, lambda check: print(f"  {one_line(check.name)}", flush=True))
        finally:
            if not options.keep:
                smoke.delete_images()
        if stack.erases_removed and not options.keep:
            smoke.wait_for_erasure(ERASURE_SECONDS)
    except (DeployedError, *AWS_ERRORS) as error:
        print(f"smoke: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\nsmoke: stopped.", file=sys.stderr)
        return 130
    return _report(smoke.checks)


def _report(checks: Sequence[Check]) -> int:
    width = max(len(one_line(check.name)) for check in checks)
    print(f"\n{'upload':<{width}}  {'must be':<22}  {'is':<10}  {'label or reason':<20}  {'seconds':>7}  {'erased':<6}")
    print("-" * (width + 77))
    for check in checks:
        seconds = "-" if check.seconds is None else f"{check.seconds:.1f}"
        erased = {None: "-", True: "yes", False: "NO"}[check.erased]
        print(
            f"{one_line(check.name):<{width}}  {' or '.join(check.expected):<22}  {check.status or 'NOTHING':<10}  "
            f"{check.found:<20}  {seconds:>7}  {erased:<6}  {'' if _good(check) else 'WRONG'}".rstrip()
        )
    wrong = sum(not _good(check) for check in checks)
    print(f"\n{len(checks) - wrong} of {len(checks)} uploads went the whole way. {NOTICE}")
    return 1 if wrong else 0


def _good(check: Check) -> bool:
    return check.passed and check.erased is not False
