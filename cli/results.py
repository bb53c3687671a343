"""What became of images: those of a submission's manifest, or those that the table's indexes find. Never a scan."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Any

from cli.deployed import Account, aws_calls, find
from cli.following import gone, look_up
from cli.manifest import read
from cli.output import Form, count, say, write_rows
from cli.rows import COLUMNS, QUERY_COLUMNS, in_short, without_record
from handler.configuration import bundle_folder
from handler.errors import ConfigurationError
from handler.store.precedence import Precedence
from handler.store.queries import CursorError, Question
from handler.store.record import NOTICE
from model_layer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

MOST_DAYS = 366


class QuestionError(UserError):
    """The options ask for something that no page can answer."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Asked:
    """The options that choose images."""

    label: str | None = None
    status: str | None = None
    triage: str | None = None
    min_confidence: float | None = None

    def wants(self, row: Mapping[str, Any]) -> bool:
        """Whether a row of a submission is among them."""
        asked = (("label", self.label), ("status", self.status), ("triage", self.triage))
        sure = self.min_confidence is None or (
            row["confidence"] is not None and row["confidence"] >= self.min_confidence
        )
        return sure and all(value is None or row[name] == value for name, value in asked)


def results_of(manifest: Path, stack: str, account: Account, asked: Asked, limit: int | None, form: Form) -> int:
    """Prints a row for each file of a submission.

    Raises:
        UserError: the file is no manifest, or the stack cannot be reached.
    """
    sent = sorted(read(manifest).values(), key=lambda one: one.file)
    with aws_calls():
        deployed = find(stack, account)
        others = sum(one.bucket != deployed.bucket for one in sent)
        if others:
            say(f"results: {count(others, 'file')} went to another bucket than this stack's; give its --stack.")
        precedence = Precedence.read(deployed.client("dynamodb"), deployed.table)
        found = look_up(deployed.predictions(), precedence, [one for one in sent if one.bucket == deployed.bucket])
        s3 = deployed.client("s3")
        rows = (
            in_short(record, one.file) if record else without_record(one, away=bool(gone(s3, [one])))
            for one, record in found
        )
        written = write_rows(islice((row for row in rows if asked.wants(row)), limit), COLUMNS, form)
    say(f"{written:,} of {count(len(sent), 'file')}. {NOTICE}")
    return 0


def results(
    stack: str,
    account: Account,
    asked: Asked,
    days: Sequence[date],
    limit: int,
    cursor: str | None,
    bundle: Path | None,
    form: Form,
    *,
    open_ended: bool,
) -> int:
    """Prints one page of predictions, and on stderr the cursor of the next. `open_ended`: see `Question`.

    Raises:
        UserError: the cursor is not one of this question, or the stack cannot be reached.
    """
    question = Question(days, asked.label, asked.status, asked.triage, asked.min_confidence, open_ended)
    labels = labels_of(bundle, [asked.label] if asked.label else [])
    with aws_calls():
        deployed = find(stack, account)
        try:
            entries, following = question.page(deployed.client("dynamodb"), deployed.table, labels, limit, cursor)
        except CursorError:
            raise QuestionError("--cursor is not one of this question; begin without it.") from None
    columns = {name: worded for name, worded in QUERY_COLUMNS.items() if name in _shown(question)}
    write_rows(entries, columns, form, sys.stdout)
    span = f"{min(days)} to {max(days)}" if len(days) > 1 else str(days[0])
    say(f"{count(len(entries), 'image')} of {span} (UTC). {NOTICE}")
    if following:
        say(f"Next page: the same command with --cursor {following}")
    elif asked == Asked():
        say("These have a label. For the others ask for --status rejected, failed or superseded.")
    return 0


def days_of(day: Sequence[str], since: str | None, today: date | None = None) -> list[date]:
    """The days that `--day` and `--since` name, in order; today (UTC) if neither is given.

    Raises:
        QuestionError: not dates, or too many.
    """
    today = today or datetime.now(UTC).date()
    if since is None:
        return sorted({_day(text) for text in day}) or [today]
    if day:
        raise QuestionError("--day and --since don't go together.")
    first = _day(since)
    if first > today:
        raise QuestionError(f"--since {first} is in the future; it is {today} (UTC).")
    if (today - first).days >= MOST_DAYS:
        raise QuestionError(f"--since reaches back {MOST_DAYS} days at most; name single days with --day.")
    return [first + timedelta(days=i) for i in range((today - first).days + 1)]


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise QuestionError(f"{text!r} is no date; write it as 2026-11-23.") from None


def labels_of(bundle: Path | None, named: Sequence[str]) -> list[str]:
    """The labels of the model bundle, which are asked for when none is named.

    Raises:
        QuestionError: there is no bundle here, and `named` is empty.
    """
    try:
        manifest = json.loads((bundle_folder({"MODEL_BUNDLE": str(bundle or "")}) / "manifest.json").read_bytes())
        labels = [str(known["code"]) for known in manifest["labels"]]
    except (ConfigurationError, OSError, ValueError, KeyError, TypeError):
        if named:
            return list(named)
        raise QuestionError("There is no model bundle here that says which labels to ask for; give --bundle.") from None
    for label in named:
        if label not in labels:
            say(f"{label!r} is no label of the model bundle, which has {', '.join(labels)}.")
    return labels


def _shown(question: Question) -> Iterable[str]:
    """The columns that entries of the index have."""
    unshown = {"label", "confidence", "triage"} if question.about_problems else {"reasons"}
    return QUERY_COLUMNS.keys() - unshown
