"""One soak: uploads under faults, the count, then deletions with erasure switched on."""

from __future__ import annotations

import json
import random
import shutil
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from threading import Lock
from typing import TYPE_CHECKING, Any

from handler.store.record import object_version
from handler.store.table import PredictionsTable
from model_layer import Classifier, Prediction
from proof.soak import faults
from proof.soak.clouds import CLOUDS, MAX_RECEIVES, created, reorder, send_late
from proof.soak.uploads import plan
from proof.soak.verdict import Expected, Identity, Verdict, judge, keep, story
from proof.soak.workers import Workers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from infra.stack import Stack
    from proof.soak.uploads import Planned

BATCH_SIZE = 10
WORKERS = 2
# All seven deadly faults may meet in one batch, and then need more receives (docs/decisions.md). The default of five is
# enough for three.
RECEIVES_OF_EACH_FAULT = 9
UPLOAD_THREADS = 4
ERASED = 0.01
REORDERED = 0.5
OVERTAKEN = 4
"""Uploads whose deletion is reported before their creation, in the second part."""


def soak(
    count: int,
    out: Path,
    bundle: Path,
    *,
    seed: int = 0,
    cloud: str = "ministack",
    each_fault: bool = False,
    tell: Callable[[str], None] = lambda _: None,
) -> Verdict:
    """Runs `count` uploads; writes `soak.json` and the workers' log to `out`.

    With `each_fault`, each fault strikes once instead of its share of the uploads.
    """
    started = time.monotonic()
    scratch = out / "scratch"
    shutil.rmtree(scratch, ignore_errors=True)
    (scratch / "struck").mkdir(parents=True)
    planned = plan(count, seed, BATCH_SIZE, Classifier.load(bundle, threads=1), each_fault=each_fault)
    with CLOUDS[cloud](BATCH_SIZE, RECEIVES_OF_EACH_FAULT if each_fault else MAX_RECEIVES) as stack:
        run = Soak(stack, scratch, bundle, seed, versions=cloud == "ministack", tell=tell)
        verdict = run.upload(planned)
        if run.versions:  # moto reports no deletions from a bucket with versions
            run.erase(verdict)
        if verdict.broken():
            keep(out, stack, verdict.letters, verdict.story)
    verdict.seconds = round(time.monotonic() - started, 1)
    verdict.conditions = {"n": count, "seed": seed, "cloud": cloud, "bundle": bundle.name, "batch_size": BATCH_SIZE}
    verdict.conditions |= {"workers": WORKERS}
    (scratch / "worker.log").replace(out / "worker.log")
    shutil.rmtree(scratch)
    (out / "soak.json").write_text(verdict.to_json())
    return verdict


class Soak:
    """On one deployed stack."""

    def __init__(
        self, stack: Stack, scratch: Path, bundle: Path, seed: int, *, versions: bool, tell: Callable[[str], None]
    ) -> None:
        """`versions`: whether the cloud's events name the object's version."""
        self.versions = versions
        self._stack = stack
        self._scratch = scratch
        self._settings = {"MODEL_BUNDLE": str(bundle.resolve()), "INFERENCE_THREADS": "1"}
        self._settings |= {"POWERTOOLS_LOG_LEVEL": "WARNING"}
        self._rng = random.Random(seed)
        self._lock = Lock()
        self._s3 = stack.endpoint.client("s3")
        self._table = PredictionsTable(stack.endpoint.client("dynamodb"), stack.table)
        self._expected: dict[Identity, Expected] = {}
        self._versions: dict[Identity, str] = {}
        self._tell = tell

    def upload(self, planned: Sequence[Planned]) -> Verdict:
        """Runs the uploads with their faults. Deleted objects keep their records, as each upload must have one."""
        held = [one for one in planned if one.held]
        others = [one for one in planned if not one.held]
        self._rng.shuffle(others)
        workers = self._workers({one.key: one.faults for one in planned if one.faults}, erase=False)
        self._put_all(held)
        # Some events of one object come in another order, such as an overwrite before the original.
        reorder(self._stack, lambda _: self._rng.random() < REORDERED)
        workers.start()
        try:
            self._put_all(others)
        finally:
            workers.finish()
        self._tell("counting")
        verdict = judge(
            self._stack,
            self._expected,
            self._table.everything(),
            workers.tally,
            (self._scratch / "inferences").stat().st_size,
            self._struck(),
        )
        faulty = {one.key: one.faults for one in planned}
        verdict.story = story(verdict.to_look_at, faulty, workers.tally.history, self._scratch / "worker.log")
        return verdict

    def erase(self, verdict: Verdict) -> None:
        """Deletes some recorded objects, and new ones before their creation is reported; all records must go."""
        before = self._records()
        some = sorted(identity for identity in before if identity in self._versions)
        gone = set(self._rng.sample(some, max(4, round(len(some) * ERASED))))
        for number, (key, version) in enumerate(sorted(gone)):
            marker = number % 2 == 0 and sum(key == other for other, _ in before) == 1
            self._delete(key, None if marker else version)
        overtaken = [f"overtaken/{number}.jpg" for number in range(OVERTAKEN)]
        content = self._s3.get_object(Bucket=self._stack.bucket, Key=min(self._alive(before, gone)))["Body"].read()
        for number, key in enumerate(overtaken):
            version = str(self._s3.put_object(Bucket=self._stack.bucket, Key=key, Body=content)["VersionId"])
            self._delete(key, version if number % 2 else None)
        reorder(self._stack, lambda body: '"ObjectCreated:Put"' in body and "overtaken" in body)
        workers = self._workers({}, erase=True)
        workers.start()
        workers.finish()
        after = self._records()
        verdict.erased = len(gone) + len(overtaken)
        verdict.erased_left = len(after.keys() & gone) + sum(key.startswith("overtaken/") for key, _ in after)
        verdict.erased_wrongly = sum(after.get(identity) != before[identity] for identity in before.keys() - gone)

    def _alive(self, before: Mapping[Identity, Any], gone: set[Identity]) -> list[str]:
        gone_keys = {key for key, _ in gone}
        return [key for key, version in before if key not in gone_keys and (key, version) in self._versions]

    def _workers(self, plan: Mapping[str, Sequence[str]], *, erase: bool) -> Workers:
        (self._scratch / "plan.json").write_text(json.dumps(plan))
        settings = {**self._settings, "ERASE_REMOVED": "true" if erase else "false"}
        return Workers(self._stack, self._scratch, plan, settings, WORKERS)

    def _put_all(self, planned: Sequence[Planned]) -> None:
        told = time.monotonic()
        with ThreadPoolExecutor(UPLOAD_THREADS) as pool:
            for number, _ in enumerate(pool.map(self._put, planned), 1):
                if time.monotonic() - told > 5:
                    told = time.monotonic()
                    self._tell(f"uploaded {number} of {len(planned)}")

    def _put(self, one: Planned) -> None:
        """Uploads, overwrites or deletes one object and sends its duplicates; notes what its record must be."""
        last = len(one.contents) - 1
        for number, (content, answer) in enumerate(zip(one.contents, one.expected, strict=True)):
            put = self._s3.put_object(Bucket=self._stack.bucket, Key=one.key, Body=content)
            etag, version = put["ETag"].strip('"'), put.get("VersionId")
            identity = one.key, version if self.versions else etag
            expected = Expected("rejected", answer)
            if isinstance(answer, Prediction):
                expected = Expected(answer.status, answer)
            if one.deleted or (number < last and not self.versions):
                expected = Expected("superseded")
            elif faults.LASTING & set(one.faults):
                expected = Expected("failed")
            with self._lock:
                self._expected[identity] = expected
                if version and not one.deleted:
                    self._versions[identity] = version
            if one.duplicated:
                body = created(self._stack.bucket, one.key, etag, version if self.versions else None)
                send_late(self._stack, body, self._rng)
            if one.deleted:
                self._delete(one.key, version)

    def _delete(self, key: str, version: str | None) -> None:
        self._s3.delete_object(Bucket=self._stack.bucket, Key=key, **({"VersionId": version} if version else {}))

    def _records(self) -> dict[Identity, Mapping[str, Any]]:
        return {
            (record["object"]["key"], object_version(record["version"])): dict(record)
            for record in self._table.everything()
        }

    def _struck(self) -> dict[str, int]:
        names = (bytes.fromhex(file.name).decode(errors="replace") for file in (self._scratch / "struck").iterdir())
        return Counter(name.partition(" soak/")[0] for name in names)
