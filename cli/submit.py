"""Uploads files to a stack's bucket, and notes each in a manifest, so that a second run sends only what is missing."""

from __future__ import annotations

import base64
import hashlib
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from cli.deployed import Account, Deployed, aws_calls, find
from cli.files import files_of
from cli.following import follow
from cli.manifest import NAME, Manifest, Sent
from cli.output import Form, Progress, count, say, write_rows
from cli.rows import COLUMNS, in_short, without_record
from demo.files import MAX_KEY_BYTES, key_of
from handler.aws import NO_SUCH_OBJECT, OVERWRITTEN, aws_code
from handler.store.precedence import Precedence
from handler.store.record import NOTICE
from model_layer.errors import UserError
from pictures.names import one_line

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

THREADS = 8
TOGETHER = 64
"""Files that are handed to the threads at a time."""

SOME_FAILED = 1
WAIT_RAN_OUT = 3
BAD_STATES = ("rejected", "superseded", "failed")

_TAKEN = OVERWRITTEN | {"ConditionalRequestConflict", "409"}
_ABOUT_THE_FILE = frozenset(
    {"EntityTooLarge", "KeyTooLongError", "BadDigest", "XAmzContentChecksumMismatch", "IncompleteBody"}
)


class PrefixError(UserError):
    """No key can begin like this."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Uploader:
    """Puts files into the stack's bucket."""

    stack: Deployed
    s3: Any
    prefix: str
    hash_keys: bool

    def send(self, name: str, path: Path, before: Sent | None) -> tuple[Sent, bool] | str:
        """Sends one file unless it is there; returns its line and whether it was sent, or why it can't be.

        `before` is what the manifest says about the file.
        """
        try:
            with path.open("rb") as body:
                digest = hashlib.file_digest(body, "sha256")
                size = body.tell()
                key = self._key(name, digest.hexdigest())
                if before and self._is_here(before) and before.key == key and before.sha256 == digest.hexdigest():
                    return before, False
                # A file that has changed becomes a new version of its own object, and of no one else's.
                same = before and self._is_here(before) and before.key == key
                condition = {"IfMatch": f'"{before.etag}"'} if before and same else {"IfNoneMatch": "*"}
                return self._put(name, key, body, digest.digest(), size, condition)
        except OSError as error:
            return error.strerror or str(error)

    def _put(
        self, name: str, key: str, body: Any, digest: bytes, size: int, condition: dict[str, str]
    ) -> tuple[Sent, bool] | str:
        body.seek(0)
        checksum = base64.b64encode(digest).decode()
        where = {"Bucket": self.stack.bucket, "Key": key}
        try:
            answer = self.s3.put_object(**where, Body=body, ChecksumSHA256=checksum, **condition)
        except ClientError as error:
            code = aws_code(error)
            if code in NO_SUCH_OBJECT and "IfMatch" in condition:
                return self._put(name, key, body, digest, size, {"IfNoneMatch": "*"})
            if code in _ABOUT_THE_FILE:
                return f"S3 refuses it ({code})"
            if code not in _TAKEN:
                raise
            answer = self.s3.head_object(**where, ChecksumMode="ENABLED")
            if answer.get("ChecksumSHA256") != checksum:
                return f"another file is in the bucket as {one_line(key)}; choose another --prefix"
            return self._sent(name, key, answer, digest, size), False
        return self._sent(name, key, answer, digest, size), True

    def _sent(self, name: str, key: str, answer: Any, digest: bytes, size: int) -> Sent:
        version = answer.get("VersionId")
        etag = str(answer["ETag"]).strip('"')
        where = (self.stack.bucket, key, None if version == "null" else version, etag, self.stack.id)
        return Sent(name, digest.hex(), size, *where)

    def _is_here(self, sent: Sent) -> bool:
        return (sent.stack, sent.bucket) == (self.stack.id, self.stack.bucket)

    def _key(self, name: str, digest: str) -> str:
        return f"{self.prefix}{digest}" if self.hash_keys else key_of(name, self.prefix)


def submit(
    paths: Sequence[Path],
    stack: str,
    account: Account,
    manifest: Path | None,
    form: Form,
    *,
    prefix: str = "",
    hash_keys: bool = False,
    wait: float | None = None,
    exit_zero: bool = False,
) -> int:
    """Sends what is missing; with `wait` (seconds), prints what became of each file. Returns the exit code.

    Without `wait` it prints the manifest's path.

    Raises:
        UserError: the stack, the files, the manifest or the prefix do not allow it, or AWS refused.
    """
    if len(prefix.encode("utf-8", "surrogateescape")) > MAX_KEY_BYTES // 2 or not prefix.isprintable():
        raise PrefixError("--prefix is too long, or has characters that cannot be printed.")
    found = files_of(paths)
    file = manifest or found.root / NAME
    with aws_calls(" What was sent is in the manifest; the same command sends the rest."):
        deployed = find(stack, account)
        uploader = Uploader(deployed, deployed.client("s3"), prefix, hash_keys)
        say(f"{count(len(found.files), 'file')} to s3://{deployed.bucket}/{one_line(prefix)} at {account.place}")
        with Manifest(file) as kept:
            sent, reasons, new = _send_all(uploader, found.files, kept)
        for name, reason in reasons.items():
            say(f"submit: {one_line(name)} was not sent: {reason}.")
        hidden = f", {found.left_out:,} hidden or system files left out" if found.left_out else ""
        say(f"{new:,} sent, {len(sent) - new:,} there already, {len(reasons):,} not sent{hidden}.")
        if wait is None:
            print(file)
            return SOME_FAILED if reasons and not exit_zero else 0
        code = _wait(deployed, sent, wait, form)
    code = code or (SOME_FAILED if reasons else 0)
    return 0 if code == SOME_FAILED and exit_zero else code


def _send_all(uploader: Uploader, files: dict[str, Path], manifest: Manifest) -> tuple[list[Sent], dict[str, str], int]:
    """Returns what is in the bucket now, why the other files are not, and how many were sent."""
    sent: list[Sent] = []
    reasons: dict[str, str] = {}
    new = 0

    def send(name: str) -> tuple[Sent, bool] | str:
        before = manifest.sent.get(name)
        outcome = uploader.send(name, files[name], before)
        if isinstance(outcome, tuple) and outcome[0] != before:
            manifest.add(outcome[0])  # in this thread, so that an upload whose call has ended is never forgotten
        return outcome

    names = list(files)
    with Progress("uploading", len(names)) as progress, ThreadPoolExecutor(THREADS, "upload") as threads:
        for start in range(0, len(names), TOGETHER):
            group = names[start : start + TOGETHER]
            for name, outcome in zip(group, threads.map(send, group), strict=True):
                if isinstance(outcome, str):
                    reasons[name] = outcome
                else:
                    sent.append(outcome[0])
                    new += outcome[1]
                progress.advance()
    return sent, reasons, new


def _wait(stack: Deployed, sent: Sequence[Sent], seconds: float, form: Form) -> int:
    """Prints what became of each file, after `seconds` at the latest."""
    with Progress("waiting for records", len(sent)) as progress:
        precedence = Precedence.read(stack.client("dynamodb"), stack.table)
        records, pending = follow(stack.predictions(), precedence, stack.client("s3"), sent, seconds, progress.advance)
    rows = [
        in_short(records[one], one.file) if one in records else without_record(one, away=one not in pending)
        for one in sent
    ]
    write_rows(rows, COLUMNS, form, sys.stdout)
    say(NOTICE)
    if pending:
        left = count(len(pending), "file")
        say(f"submit: {left} had no final record after {seconds:g} seconds; look again with dermbatch results.")
        return WAIT_RAN_OUT
    return SOME_FAILED if any(row["status"] in BAD_STATES for row in rows) else 0
