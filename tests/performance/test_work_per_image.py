"""What an image costs in requests, pixels, copies and calls: numbers that are the same on every machine."""

from __future__ import annotations

import io
import itertools
import math
import sys
import threading
import tracemalloc

import numpy as np
import onnx
import onnxruntime
import pytest
from botocore.response import StreamingBody
from convolutions import convolutions
from PIL import ImageFile
from sample_images import jpeg

from handler.flow.fetching import BucketReader
from handler.intake.messages import Upload
from model_layer import decode
from training.network.quantisation import quantise


@pytest.mark.parametrize("images", [1, 32, 120])
def test_requests(counted, images):
    """One GetObject and one PutItem for each image; lookups of many at a time."""
    rig = counted({f"{n}.jpg": jpeg(n % 5) for n in range(images)})
    assert rig.handle([f"clinic/{n}.jpg" for n in range(images)]) == {"batchItemFailures": []}
    assert rig.sent["GetObject"] == images
    assert rig.sent["PutItem"] == images
    assert rig.sent["BatchGetItem"] <= 2 * math.ceil(images / 50)
    assert set(rig.sent) == {"GetObject", "PutItem", "BatchGetItem"}


def test_python_calls_to_handle_an_image_do_not_grow_with_the_batch(counted):
    """Work that grows with the batch would show here long before it shows in seconds."""
    rig = counted({f"{n}.jpg": jpeg(n % 5) for n in range(200)})
    rig.handle(["warm/0.jpg"])
    few, many = (_calls_per_image(rig, images) for images in (20, 200))
    assert many < few * 1.1


def _calls_per_image(rig, images: int) -> float:
    calls = itertools.count()  # its next() is one step, so threads may share it

    def count(_frame, event, _argument):
        if event == "call":
            next(calls)

    threading.setprofile(count)  # for the threads that an invocation starts
    sys.setprofile(count)
    try:
        rig.handle([f"{images}/{n}.jpg" for n in range(images)])
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
    return next(calls) / images


@pytest.fixture
def decoded_pixels(monkeypatch):
    """Width x height of every image that Pillow decodes."""
    sizes: list[int] = []
    prepare = ImageFile.ImageFile.load_prepare

    def counting(self):
        sizes.append(self.size[0] * self.size[1])
        return prepare(self)

    monkeypatch.setattr(ImageFile.ImageFile, "load_prepare", counting)
    return sizes


def test_a_12_megapixel_jpeg_is_decoded_at_an_eighth_of_its_scale(decoded_pixels):
    large = jpeg(1, (4032, 3024))
    decode(large, 224)
    assert decoded_pixels
    assert sum(decoded_pixels) <= 4032 * 3024 / 60


def test_a_small_jpeg_is_decoded_once(decoded_pixels):
    decode(jpeg(1, (600, 450)), 224)
    assert 0 < sum(decoded_pixels) <= 600 * 450


def test_a_download_is_held_about_once():
    """Bytes go from the connection into one buffer: no second copy of a 12 MB file while it is read."""
    content = np.random.default_rng(0).bytes(12_000_000)

    class Client:
        def get_object(self, **_):
            return {"Body": StreamingBody(_Raw(content), len(content)), "ContentLength": len(content), "ETag": '"e"'}

    reader = BucketReader(Client(), max_bytes=2**25)
    tracemalloc.start()
    try:
        fetched, _ = reader.fetch(Upload("bucket", "key", "version", "e", None))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert fetched == content
    assert peak < 1.5 * len(content)


class _Raw(io.BytesIO):
    """A response's body as urllib3 hands it out."""

    def stream(self, amt=2**16, **_):
        while chunk := self.read(amt):
            yield chunk


def test_a_quantised_convolution_is_one_step_with_its_relu(tmp_path):
    """Every rounding that is a pass of its own costs a read and a write of all activations."""
    plain, quantised, optimised = tmp_path / "plain.onnx", tmp_path / "8bit.onnx", tmp_path / "optimised.onnx"
    plain.write_bytes(convolutions())
    pixels = np.random.default_rng(1).integers(0, 256, (4, 16, 16, 3), dtype=np.uint8)
    quantise(plain, quantised, pixels, input_name="pixels")
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(optimised)
    options.log_severity_level = 4
    onnxruntime.InferenceSession(quantised, options, providers=["CPUExecutionProvider"])
    kinds = [node.op_type for node in onnx.load(optimised).graph.node]
    assert kinds.count("QLinearConv") == 3
    assert kinds.count("Relu") == 0
    assert kinds.count("QuantizeLinear") == kinds.count("DequantizeLinear") == 1, "at the entry and at the end alone"
