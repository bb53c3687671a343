"""Records, objects and places for uploads: the one module of the service that knows AWS and the handler's store.

Everything here blocks; it is called in threads. AWS's errors become problems, without their text, which may hold a key.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hmac
import json
import secrets
import time
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

import boto3
from botocore.config import Config

from api.problems import Problem, busy
from handler import aws
from handler.errors import ConfigurationError, HandlerError, RefusedError, SupersededError
from handler.flow.fetching import BucketReader
from handler.intake.messages import Upload, iso8601
from handler.pseudonyms import Pseudonyms
from handler.store.erasure import Erasure
from handler.store.precedence import Precedence
from handler.store.queries import CursorError, Question
from handler.store.record import SHARDS
from handler.store.table import PredictionsTable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from api.schemas import Filters
    from api.settings import Settings
    from handler.store.record import Record
    from model_layer import Rejection

_MOST_PARTITIONS = 1000
"""Of the index that one request may ask: eight labels on 7 days, or one on 62."""
_MOST_DAYS = 62
_MOST_KEY_BYTES = 1024  # S3's own limit


def upload_origin(settings: Settings) -> str:
    """`https://<host>` of the bucket."""
    url = _signer(settings).generate_presigned_url("head_bucket", {"Bucket": settings.bucket})
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


@dataclass(frozen=True, slots=True)
class Place:
    """Where one file may be put."""

    image: str
    url: str
    fields: dict[str, str]
    expires_at: str


class Records:
    """The store of one deployment: its table and its bucket. Thread-safe."""

    def __init__(self, settings: Settings, table: str, bucket: str, labels: tuple[str, ...]) -> None:
        """`labels` are those of the model: what a question without a label asks for.

        Raises:
            ConfigurationError: AWS's own settings are wrong, such as its region.
        """
        self._settings = settings
        self._labels = labels
        self._name, self.bucket = table, bucket
        try:
            self._dynamodb = aws.client("dynamodb", settings.worker)
            self._s3 = aws.client("s3", settings.worker)
            self._secretsmanager = aws.client("secretsmanager", settings.worker)
            self._signer = _signer(settings)
        except aws.AWS_ERRORS as error:
            raise ConfigurationError(f"AWS's settings cannot be used: {error}") from error
        self._reader = BucketReader(self._s3, settings.worker.max_image_bytes)
        self._table = PredictionsTable(self._dynamodb, self._name)

    def history(self, image: str) -> list[Record]:
        """Every record of `image`: the current one of each version first, the latest of them at the top.

        Raises:
            Problem: 404; there is none (yet).
        """
        with _problems():
            records = list(self._table.history(image)) if _can_be(image) else []
            precedence = Precedence.read(self._dynamodb, self._name) if len(records) > 1 else Precedence({})
        if not records:
            raise Problem(
                404, "no_record", "There is no record of this image; one that was just uploaded has one soon."
            )
        return precedence.latest_first(records)

    def page(self, filters: Filters) -> tuple[list[dict[str, Any]], str | None]:
        """One page of predictions in short, and the cursor of the next.

        Raises:
            Problem: 422 for a cursor of another question, or for too many days at once.
        """
        question = _question(filters)
        if len(question.subjects(self._labels)) * len(question.days) * SHARDS > _MOST_PARTITIONS:
            sentence = "That is too much for one question; ask for a label, or for fewer days."
            raise Problem(422, "too_many_days", sentence)
        try:
            with _problems():
                entries, following = question.page(
                    self._dynamodb, self._name, self._labels, filters.limit, filters.cursor
                )
        except CursorError:
            sentence = "The cursor is not one of this question's; begin with its first page."
            raise Problem(422, "wrong_cursor", sentence) from None
        empty = {"label": None, "confidence": None, "triage": None, "reasons": None}
        return [{**empty, **entry} for entry in entries], following

    def erase(self, image: str) -> tuple[int, int]:
        """Deletes every version of the object and erases its records; gives the numbers of both.

        Raises:
            Problem: 404; there is neither.
        """
        key = self._own_key(image)
        with _problems():
            pseudonyms = Pseudonyms.read(self._secretsmanager, str(self._settings.worker.hash_secret_arn))
            erasure = Erasure(self._dynamodb, self._name, self._reader.remaining, pseudonyms)
            versions, records = erasure.remove_image(self._s3, self.bucket, key)
        if not versions and not records:
            raise Problem(404, "no_image", "There is neither an image nor a record under this name.")
        return versions, records

    def fetch(self, image: str) -> bytes | Rejection:
        """The object that is stored under `image`.

        Raises:
            Problem: 404; there is none.
        """
        key = self._own_key(image)
        try:
            with _problems():
                head = self._s3.head_object(Bucket=self.bucket, Key=key)
                version = head.get("VersionId")
                upload = Upload(
                    self.bucket, key, None if version == "null" else version, str(head["ETag"]).strip('"'), None
                )
                content, _ = self._reader.fetch(upload)
                return content
        except SupersededError:
            raise _no_image() from None
        except RefusedError as error:
            raise Problem(422, error.code, error.sentence) from None

    def place(self) -> Place:
        """A place in the bucket for one file of any content type, for some minutes.

        The key is drawn, so that no file's name (which may be a person's) gets into the store.
        """
        settings = self._settings
        now = datetime.now(UTC)
        key = f"{settings.upload_prefix}{now:%Y/%m/%d}/{secrets.token_hex(16)}"
        expires_at = iso8601(now + timedelta(seconds=settings.upload_seconds))
        if settings.relay:
            ticket = _ticket(settings, key)
            return Place(f"{self.bucket}/{key}", "/v1/uploads/relay", {"ticket": ticket}, expires_at)
        with _problems():
            signed = self._signer.generate_presigned_post(
                self.bucket,
                key,
                Conditions=[["content-length-range", 1, settings.worker.max_image_bytes]],
                ExpiresIn=settings.upload_seconds,
            )
        return Place(f"{self.bucket}/{key}", signed["url"], signed["fields"], expires_at)

    def relay(self, ticket: str, content: bytes) -> str:
        """Puts `content` where `ticket` says; gives the image's name.

        Raises:
            Problem: 403; the ticket is none of this process, or has expired.
        """
        key = _ticketed_key(self._settings, ticket)
        with _problems():
            self._s3.put_object(Bucket=self.bucket, Key=key, Body=content)
        return f"{self.bucket}/{key}"

    def _own_key(self, image: str) -> str:
        bucket, _, key = image.partition("/")
        if bucket != self.bucket or not _can_be(image):
            raise _no_image()
        return key


@contextlib.contextmanager
def _problems() -> Iterator[None]:
    """AWS's errors and the handler's, as problems; what an object's own state is the reason of passes through."""
    try:
        yield
    except (SupersededError, RefusedError):
        raise
    except HandlerError as error:
        raise busy("store_unavailable", error.sentence, 5) from error
    except aws.AWS_ERRORS as error:
        code = aws.aws_code(error)
        if code in aws.DELETED:
            raise _no_image() from error
        raise busy("store_unavailable", f"The store answered {code}.", 5) from error


def _no_image() -> Problem:
    return Problem(404, "no_image", "There is no image under this name.")


def _signer(settings: Settings) -> Any:
    """Signs addresses of the bucket's own region, since others would answer with a redirect."""
    style: Literal["path", "virtual"] = "path" if settings.worker.aws_endpoint_url else "virtual"
    config = Config(signature_version="s3v4", s3={"addressing_style": style, "us_east_1_regional_endpoint": "regional"})
    return boto3.client("s3", config=config)


def _can_be(image: str) -> bool:
    """Whether S3 takes a key of that length."""
    return len(image.partition("/")[2].encode()) <= _MOST_KEY_BYTES


def _question(filters: Filters) -> Question:
    return Question(
        _days(filters),
        filters.label,
        filters.status,
        filters.triage,
        filters.min_confidence,
        open_ended=filters.since is not None,
    )


def _days(filters: Filters) -> list[date]:
    today = datetime.now(UTC).date()
    if filters.since is None:
        return sorted(set(filters.day)) or [today]
    if filters.day:
        raise Problem(422, "invalid_request", "Ask for `day` or for `since`, not for both.")
    count = (today - filters.since).days + 1
    if count > _MOST_DAYS:
        raise Problem(422, "too_many_days", f"That is too much for one question; ask for at most {_MOST_DAYS} days.")
    return [filters.since + timedelta(days=i) for i in range(count)]


def _ticket(settings: Settings, key: str) -> str:
    until = int(time.time()) + settings.upload_seconds
    text = json.dumps([key, until]).encode()
    signature = hmac.digest(settings.relay_secret, text, "sha256")
    return base64.urlsafe_b64encode(signature + text).decode()


def _ticketed_key(settings: Settings, ticket: str) -> str:
    try:
        content = base64.b64decode(ticket, altchars=b"-_", validate=True)
    except (binascii.Error, ValueError):
        content = b""
    signature, text = content[:32], content[32:]
    if not hmac.compare_digest(signature, hmac.digest(settings.relay_secret, text, "sha256")):
        raise Problem(403, "wrong_ticket", "This ticket was not given out by this service; ask for a new place.")
    key, until = json.loads(text)
    if time.time() > until:
        raise Problem(403, "expired_ticket", "This ticket has expired; ask for a new place.")
    return str(key)
