"""What became of single uploads, receive by receive: what a broken soak tells, and keeps."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from proof.soak.cloud_events import take

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from infra.stack import Stack
    from proof.soak.verdict import Identity

MOST_TOLD = 20  # uploads; the file has all of them


def story(
    wanted: Iterable[Identity],
    plan: Mapping[str, Sequence[str]],
    history: Mapping[Identity, Sequence[str]],
    log: Path,
) -> list[str]:
    """A paragraph for each upload: its faults, its deliveries, and what the workers logged of them."""
    lines = list(_log_lines(log))
    return [_paragraph(identity, plan.get(identity[0], ()), history.get(identity, ()), lines) for identity in wanted]


def keep(out: Path, stack: Stack, letters: Sequence[Mapping[str, Any]], told: Sequence[str]) -> None:
    """Leaves the story and the queues' messages under `out`. What is visible in the live lane is taken out of it."""
    (out / "story.txt").write_text("\n\n".join(told) + "\n", encoding="utf-8")
    messages = {"dead_letters": letters, "live": take(stack, stack.queue_url)}
    (out / "messages.json").write_text(json.dumps(messages, indent=2) + "\n", encoding="utf-8")


def _paragraph(
    identity: Identity, faults: Sequence[str], history: Sequence[str], log: Sequence[Mapping[str, Any]]
) -> str:
    key, version = identity
    told = [f"{key} ({version}), faults: {', '.join(faults) or 'none'}", *(f"  {line}" for line in history)]
    told += [
        f"  log, receive {line.get('receives')}: {line['message']}: {line.get('error') or line.get('reasons')}"
        for line in log
        if line.get("version") == version
    ]
    return "\n".join(told)


def _log_lines(log: Path) -> Iterable[Mapping[str, Any]]:
    for text in log.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and "message" in line:
            yield line
