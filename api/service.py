"""What all requests share: the settings, the model (once it is loaded), the line in front of it, the store."""

from __future__ import annotations

import contextlib
import hashlib
import io
import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from PIL import Image, ImageDraw

from api.line import Line
from api.problems import Problem, busy
from api.records import Records, upload_origin
from handler.errors import ConfigurationError
from handler.loading import load
from handler.store.record import FileFacts, unstored_record
from model_layer import DecodedImage, ImageRejectedError, Rejection, decode
from pictures.overlay import overlay_png, png

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from api.settings import Settings
    from model_layer import Classifier


_RELAYS = 4
"""Uploads that are on their way to the bucket at a time; they wait for the network, not for a core."""

_QUESTIONS = 16
"""Requests that the store answers at a time; they too wait for the network."""


class Service:
    """Made once for a process."""

    def __init__(self, settings: Settings, classifier: Classifier | None = None) -> None:
        """`classifier` None: `start` loads it, while other requests are answered already."""
        self.settings = settings
        self.line = Line(settings.worker.inference_threads, settings.waiting)
        self.relaying = Line(_RELAYS, settings.waiting, "uploads are on their way")
        self.asking = Line(_QUESTIONS, settings.waiting, "questions are being answered")
        self.loading: Future[Classifier] = Future()
        self._records: Records | None = None
        if classifier is not None:
            self._begin_with(classifier)

    def start(self) -> None:
        """Begins to load the model, unless it is there."""
        if self.loading.done() or self.loading.running():
            return
        self.loading.set_running_or_notify_cancel()
        thread = ThreadPoolExecutor(1, "load")
        thread.submit(self._load)
        thread.shutdown(wait=False)

    def stop(self) -> None:
        """Ends the threads."""
        self.line.close()
        self.relaying.close()
        self.asking.close()

    @property
    def classifier(self) -> Classifier:
        """The model, which has answered for an image already.

        Raises:
            Problem: 503; it is still being loaded, or cannot be.
        """
        if not self.loading.done() or self.loading.exception():
            raise busy("loading", "The model is still being loaded.", 1)
        return self.loading.result()

    @property
    def records(self) -> Records:
        """The store.

        Raises:
            Problem: 503 as for `classifier`, 501 where this service has no store.
        """
        _ = self.classifier
        if self._records is None:
            raise Problem(501, "no_store", "This service only classifies; it was started without a table and a bucket.")
        return self._records

    def upload_origin(self) -> str | None:
        """Where a page of this service sends its uploads; None: to this service."""
        settings = self.settings
        return upload_origin(settings) if settings.table and not settings.relay else None

    def classify(self, content: bytes, request_id: str) -> dict[str, Any]:
        """The record of one image, which is stored nowhere. Blocks for as long as that takes.

        Raises:
            Problem: 503; there is no memory for this image now.
        """
        classifier, timings = self.classifier, {}
        with _short_of_memory():
            started = time.perf_counter()
            image = classifier.decode(content)
            timings["decode"] = (time.perf_counter() - started) * 1000
            answer: Any = image
            if isinstance(image, DecodedImage):
                started = time.perf_counter()
                (answer,) = classifier.predict([image])
                timings["infer"] = (time.perf_counter() - started) * 1000
        file = FileFacts(bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
        return unstored_record(answer, file, timings, classifier.bundle, request_id)

    def overlay(self, content: bytes, heatmap: Mapping[str, Any]) -> bytes:
        """A PNG of an image that was classified, under its heat map.

        Raises:
            Problem: 503 as for `classify`.
        """
        with _short_of_memory():
            return overlay_png(content, heatmap, self.classifier.limits)

    def preview(self, content: bytes | Rejection, side: int) -> bytes:
        """A PNG of `side` pixels: the centre square of a stored image, which is what the network saw.

        Raises:
            Problem: 422; it cannot be decoded. 503 as for `classify`.
        """
        if isinstance(content, Rejection):
            raise Problem(422, content.code, content.sentence)
        try:
            with _short_of_memory():
                return png(Image.fromarray(decode(content, side, self.classifier.limits).pixels))
        except ImageRejectedError as error:
            raise Problem(422, error.code, str(error)) from None

    def _load(self) -> None:
        try:
            self._begin_with(load(self.settings.worker))
        except BaseException as error:  # noqa: BLE001 (whoever waits for the model is told)
            self.loading.set_exception(error)

    def _begin_with(self, classifier: Classifier) -> None:
        """From now on this service is ready: `classifier` has answered for an image, from its bytes on.

        AWS's clients are made here too: they take a while, and boto3 does not make several at a time safely.
        """
        (answer,) = classifier.classify([_first_image()])
        if isinstance(answer, Rejection):
            raise ConfigurationError(f"The model does not take the first image: {answer.sentence}")
        settings = self.settings
        if settings.table is not None and settings.bucket is not None:
            labels = tuple(label.code for label in classifier.bundle.labels)
            self._records = Records(settings, settings.table, settings.bucket, labels)
        self.loading.set_result(classifier)


def _first_image() -> bytes:
    """A PNG of a dark spot on a light ground."""
    picture = Image.new("RGB", (256, 256), (214, 168, 148))
    ImageDraw.Draw(picture).ellipse((84, 92, 172, 160), fill=(96, 60, 48))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


@contextlib.contextmanager
def _short_of_memory() -> Iterator[None]:
    """MemoryError as a problem."""
    try:
        yield
    except MemoryError:
        raise busy("out_of_memory", "The service is short of memory; that says nothing of the image.", 5) from None
