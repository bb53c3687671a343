"""The service's settings, read once from the environment; the worker's are reused where both mean the same."""

from __future__ import annotations

import os
import re
import secrets
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from handler.configuration import Settings as WorkerSettings
from handler.errors import ConfigurationError

if TYPE_CHECKING:
    from collections.abc import Mapping

_NO_TABLE = "no-table"


@dataclass(frozen=True, slots=True)
class Settings:
    """What `create_app` needs."""

    worker: WorkerSettings
    """Bundle, limits of an image, threads, emulator's address: as the worker reads them."""
    table: str | None = None
    """The table of records; None: the service only classifies."""
    bucket: str | None = None
    """The bucket that uploads go to; None: the service only classifies."""
    waiting: int = 32
    """How many requests may wait for a free core; one more is answered 503. Each may hold one image in memory."""
    max_body_bytes: int | None = None
    """Largest body that this way of running can take, where that is less than the largest image (Lambda: 4.5 MB)."""
    relay: bool = False
    """Whether uploads go through this service instead of straight to the bucket."""
    upload_prefix: str = "uploads/"
    upload_seconds: int = 900
    """How long a place for an upload is good for."""
    key: str | None = field(default=None, repr=False)
    """What programs send to a service on a machine (`DERMBATCH_KEY`); None: one is drawn at each start."""
    relay_secret: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)
    """Signs the places that this process relays to."""

    @property
    def max_image_bytes(self) -> int:
        """Largest image that may be sent to this service."""
        return min(self.worker.max_image_bytes, self.max_body_bytes or self.worker.max_image_bytes)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Settings:
        """`DERMBATCH_KEY` is read too, and table and bucket may both be unset; all else is as for the worker.

        Raises:
            ConfigurationError: one sentence that names the first variable with a wrong value.
        """
        has_table = bool(environment.get("PREDICTIONS_TABLE", "").strip())
        worker = WorkerSettings.from_environment(
            environment if has_table else {**environment, "PREDICTIONS_TABLE": _NO_TABLE}
        )
        if has_table != bool(worker.uploads_bucket):
            raise ConfigurationError("PREDICTIONS_TABLE and UPLOADS_BUCKET must be set together, or not at all.")
        key = environment.get("DERMBATCH_KEY", "").strip() or None
        if key and not re.fullmatch(r"[\x21-\x7e]{16,500}", key):
            raise ConfigurationError("DERMBATCH_KEY must have at least 16 characters, printable ASCII without spaces.")
        return cls(worker, worker.predictions_table if has_table else None, worker.uploads_bucket, key=key)
