"""The settings of worker, housekeeper and reconciler, read once from the environment."""

from __future__ import annotations

import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from handler.errors import ConfigurationError
from model_layer import available_cores

if TYPE_CHECKING:
    from collections.abc import Mapping

MEGABYTES_A_CORE = 1769
"""Lambda gives one core for each of these."""
OWN_MEGABYTES = 300
"""What a worker takes apart from the images that it holds: interpreter, libraries, network (docs/performance.md)."""
BYTES_A_PIXEL = 16
"""At most, while an image is decoded (docs/decoding.md)."""
LOG_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
SHIPPED_BUNDLES = Path(__file__).resolve().parent.parent / "models"


@dataclass(frozen=True, slots=True)
class Settings:
    """Each field is the environment variable of the same name in capitals."""

    predictions_table: str
    """The table of records."""
    model_bundle: Path
    """The model bundle."""
    max_image_bytes: int
    """Larger objects are rejected unread."""
    max_image_pixels: int
    """Images with more are rejected before they are decoded; a pixel takes 16 bytes. JPEGs are decoded at reduced
    scale and may have four times as many.
    """
    download_threads: int
    """Images fetched at a time. Each takes at most `MAX_IMAGE_BYTES` of memory until it is decoded. On Lambda the
    default is lower where the memory does not suffice for so many.
    """
    inference_threads: int
    """Cores to compute on: the number of images decoded at a time, and of images in the network at a time. On Lambda
    the default is one for every 1,769 MB of memory, rounded up, and lower where the memory does not suffice to decode
    so many images of `MAX_IMAGE_PIXELS`.
    """
    max_receives: int
    """The queue's maxReceiveCount. Uploads that fail on the last two receives get a `failed` record."""
    visibility_timeout: int
    """The queue's, in seconds: how long a message stays hidden if its worker was killed. A message that is handed
    back stays hidden for a share of it.
    """
    record_ttl_days: int
    """Days until DynamoDB deletes a record; 0: never."""
    uploads_bucket: str | None
    """The only bucket whose events are accepted; unset: any, as on a laptop."""
    ignore_system_files: bool
    """Whether folder markers (`dir/`, `dir_$folder$`) and system files (`.DS_Store`, `Thumbs.db`, `desktop.ini`,
    `._*`) are ignored.
    """
    erase_removed: bool
    """Whether the records of objects that are deleted from the bucket are erased."""
    removals_queue_url: str | None
    """The queue to which the worker passes on the removals that it meets; unset: it hands them back."""
    hash_secret_arn: str | None
    """The secret in Secrets Manager under which images are named in logs and marks. Needed with `UPLOADS_BUCKET`; unset
    on a laptop: names that can be guessed can be found.
    """
    shadow: bool
    """Whether this worker tries a candidate model on a copy of the uploads: its records are in no index, and no query
    gives them.
    """
    aws_endpoint_url: str | None
    """Address of an emulator; unset: AWS. boto3 reads it from the environment."""
    powertools_log_level: str
    """Only DEBUG logs image keys. Powertools reads it from the environment."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ, *, decodes: bool = True) -> Settings:
        """Reads and checks every variable; an empty one counts as unset.

        `decodes`: whether the largest permitted images must fit into the function's memory. The housekeeper, which
        decodes none, has less.

        Raises:
            ConfigurationError: one sentence about the first variable with a wrong value.
        """
        max_image_bytes = _whole(environment, "MAX_IMAGE_BYTES", 32 * 2**20, 1, 2**30)
        max_image_pixels = _whole(environment, "MAX_IMAGE_PIXELS", 51_000_000, 1, 10**9)
        memory = (_megabytes(environment) if decodes else None) or math.inf
        download_threads, inference_threads = _threads(environment, max_image_bytes, max_image_pixels, memory)
        return cls(
            predictions_table=_table(environment),
            model_bundle=bundle_folder(environment),
            max_image_bytes=max_image_bytes,
            max_image_pixels=max_image_pixels,
            download_threads=download_threads,
            inference_threads=inference_threads,
            max_receives=_whole(environment, "MAX_RECEIVES", 5, 1, 1000),
            visibility_timeout=_whole(environment, "VISIBILITY_TIMEOUT", 780, 1, 43_200),
            record_ttl_days=_whole(environment, "RECORD_TTL_DAYS", 0, 0, 36_500),
            uploads_bucket=_bucket(environment),
            ignore_system_files=_switch(environment, "IGNORE_SYSTEM_FILES", default=True),
            erase_removed=_switch(environment, "ERASE_REMOVED", default=True),
            removals_queue_url=_address(environment, "REMOVALS_QUEUE_URL"),
            hash_secret_arn=_hash_secret(environment),
            shadow=_switch(environment, "SHADOW", default=False),
            aws_endpoint_url=_address(environment, "AWS_ENDPOINT_URL"),
            powertools_log_level=_log_level(environment),
        )


@dataclass(frozen=True, slots=True)
class ReconcilerSettings:
    """As `Settings`, of the function that compares bucket and table on a schedule (`handler.reconciler`)."""

    predictions_table: str
    uploads_bucket: str
    """The bucket that is compared with the table."""
    live_queue_url: str
    """Its queue says how long a message may be tried."""
    bulk_queue_url: str
    """The queue to which it sends what has no record."""
    ignore_system_files: bool
    record_ttl_days: int
    aws_endpoint_url: str | None

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> ReconcilerSettings:
        """Reads and checks every variable; an empty one counts as unset.

        Raises:
            ConfigurationError: one sentence about the first variable with a wrong value.
        """
        return cls(
            predictions_table=_table(environment),
            uploads_bucket=_needed("UPLOADS_BUCKET", _bucket(environment)),
            live_queue_url=_needed("LIVE_QUEUE_URL", _address(environment, "LIVE_QUEUE_URL")),
            bulk_queue_url=_needed("BULK_QUEUE_URL", _address(environment, "BULK_QUEUE_URL")),
            ignore_system_files=_switch(environment, "IGNORE_SYSTEM_FILES", default=True),
            record_ttl_days=_whole(environment, "RECORD_TTL_DAYS", 0, 0, 36_500),
            aws_endpoint_url=_address(environment, "AWS_ENDPOINT_URL"),
        )


def _needed(name: str, value: str | None) -> str:
    if value is None:
        raise ConfigurationError(f"{name} is not set; the reconciler needs it.")
    return value


def _whole(environment: Mapping[str, str], name: str, default: int, lowest: int, highest: int) -> int:
    text = environment.get(name, "").strip()
    if not text:
        return default
    # isdecimal() would accept digits of other scripts, int() signs and underscores; thousands of digits take long.
    digits = text.lstrip("0") or "0"
    if text.isascii() and text.isdecimal() and len(digits) < 20 and lowest <= int(digits) <= highest:
        return int(digits)
    raise ConfigurationError(f"{name} must be a whole number from {lowest} to {highest}, but is {text!r}.")


def _threads(environment: Mapping[str, str], most_bytes: int, most_pixels: int, memory: float) -> tuple[int, int]:
    """How many images to fetch at a time, and how many to decode, so that the largest fit into `memory` (megabytes).

    Whoever sets the numbers knows better: they are not checked.

    Raises:
        ConfigurationError: not one image fits. An upload of the largest permitted size would kill the worker.
    """
    fetched, decoded = most_bytes / 2**20, most_pixels * BYTES_A_PIXEL / 2**20  # megabytes an image
    if (needed := OWN_MEGABYTES + fetched + decoded) > memory:
        raise ConfigurationError(
            f"MAX_IMAGE_PIXELS={most_pixels} with MAX_IMAGE_BYTES={most_bytes} needs {math.ceil(needed)} MB of memory,"
            f" but the function has {memory}: raise its memory, or lower one of them."
        )
    fitting = _at_most(_cores(environment), (memory - OWN_MEGABYTES - fetched) / decoded)
    inference = _whole(environment, "INFERENCE_THREADS", fitting, 1, 64)
    left = memory - OWN_MEGABYTES - min(inference, fitting) * decoded
    return _whole(environment, "DOWNLOAD_THREADS", _at_most(8, left / fetched), 1, 64), inference


def _at_most(wanted: int, that_fit: float) -> int:
    return int(max(1, min(wanted, that_fit)))


def _megabytes(environment: Mapping[str, str]) -> int | None:
    """The function's memory; None if this is no Lambda."""
    text = environment.get("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", "")
    return int(text) if re.fullmatch(r"[0-9]{3,5}", text) else None


def _cores(environment: Mapping[str, str]) -> int:
    """The cores that this process may use. Lambda shows at least two, but gives the time of one for every 1,769 MB.

    https://docs.aws.amazon.com/lambda/latest/dg/configuration-memory.html
    """
    visible = available_cores()
    megabytes = _megabytes(environment)
    given = math.ceil(megabytes / MEGABYTES_A_CORE) if megabytes else visible
    return max(1, min(visible, given))


def _switch(environment: Mapping[str, str], name: str, *, default: bool) -> bool:
    text = environment.get(name, "").strip().lower()
    if text not in {"", "true", "false"}:
        raise ConfigurationError(f"{name} must be true or false, but is {environment[name]!r}.")
    return text == "true" if text else default


def _bucket(environment: Mapping[str, str]) -> str | None:
    text = environment.get("UPLOADS_BUCKET", "").strip()
    if text and not re.fullmatch(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]", text):
        raise ConfigurationError(f"UPLOADS_BUCKET must be the name of an S3 bucket, but is {text!r}.")
    return text or None


def _hash_secret(environment: Mapping[str, str]) -> str | None:
    text = environment.get("HASH_SECRET_ARN", "").strip()
    if not text and _bucket(environment):
        raise ConfigurationError("HASH_SECRET_ARN is not set; a stack's worker needs it (the output HashSecretArn).")
    if text and not re.fullmatch(r"[A-Za-z0-9/_+=.@:-]{1,2048}", text):
        raise ConfigurationError(f"HASH_SECRET_ARN must be the ARN of a secret, but is {text!r}.")
    return text or None


def _table(environment: Mapping[str, str]) -> str:
    text = environment.get("PREDICTIONS_TABLE", "").strip()
    if not text:
        raise ConfigurationError("PREDICTIONS_TABLE is not set; it names the DynamoDB table for the records.")
    if not re.fullmatch(r"[A-Za-z0-9_.-]{3,255}", text):
        raise ConfigurationError(f"PREDICTIONS_TABLE must be the name of a DynamoDB table, but is {text!r}.")
    return text


def bundle_folder(environment: Mapping[str, str]) -> Path:
    """The folder that MODEL_BUNDLE names, or the one bundle in `models/`.

    Raises:
        ConfigurationError: there is no such folder, or not one bundle.
    """
    text = environment.get("MODEL_BUNDLE", "").strip()
    if text:
        if not Path(text).is_dir():
            raise ConfigurationError(f"MODEL_BUNDLE must be the folder of a model bundle, but {text!r} is no folder.")
        return Path(text)
    shipped = sorted(manifest.parent for manifest in SHIPPED_BUNDLES.glob("*/manifest.json"))
    if len(shipped) != 1:
        raise ConfigurationError(
            f"MODEL_BUNDLE is not set, and {SHIPPED_BUNDLES} holds {len(shipped)} bundles instead of one."
        )
    return shipped[0]


def _address(environment: Mapping[str, str], name: str) -> str | None:
    text = environment.get(name, "").strip()
    if text and not re.fullmatch(r"https?://[^\s/]\S*", text):
        raise ConfigurationError(f"{name} must be an http:// or https:// address, but is {text!r}.")
    return text or None


def _log_level(environment: Mapping[str, str]) -> str:
    text = environment.get("POWERTOOLS_LOG_LEVEL", "") or "INFO"
    if text.upper() not in LOG_LEVELS:
        raise ConfigurationError(f"POWERTOOLS_LOG_LEVEL must be one of {', '.join(LOG_LEVELS)}, but is {text!r}.")
    return text.upper()
