"""A wrong setting stops the worker at start, with a sentence that names the variable."""

from __future__ import annotations

import os

import pytest
from tiny_bundle import write_tiny_bundle

from handler import configuration
from handler.configuration import Settings
from handler.errors import ConfigurationError
from handler.worker import Worker
from model_layer import available_cores


@pytest.fixture
def given(tiny_bundle):
    return {"PREDICTIONS_TABLE": "predictions", "MODEL_BUNDLE": str(tiny_bundle)}


def test_what_must_be_set_is_little(given):
    settings = Settings.from_environment(given)
    assert settings.predictions_table == "predictions"
    assert settings.inference_threads == available_cores()
    assert settings.record_ttl_days == 0
    assert settings.aws_endpoint_url is None
    assert settings.uploads_bucket is None
    assert settings.erase_removed
    assert settings.ignore_system_files
    assert settings.visibility_timeout == 780


def test_every_variable_is_read(given):
    numbers = {
        "MAX_IMAGE_BYTES": "1000",
        "MAX_IMAGE_PIXELS": "2000",
        "DOWNLOAD_THREADS": "3",
        "INFERENCE_THREADS": "4",
        "MAX_RECEIVES": "5",
        "VISIBILITY_TIMEOUT": "90",
        "RECORD_TTL_DAYS": "6",
    }
    texts = {
        "UPLOADS_BUCKET": "dermbatch-images",
        "HASH_SECRET_ARN": "arn:aws:secretsmanager:eu-central-1:123456789012:secret:HashSecret-4Ab/c+d=e.f@g-x9Y8z7",
        "ERASE_REMOVED": "false",
        "IGNORE_SYSTEM_FILES": "false",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:4566",
        "POWERTOOLS_LOG_LEVEL": "warning",
    }
    settings = Settings.from_environment({**given, **numbers, **texts})
    for name, text in numbers.items():
        assert getattr(settings, name.lower()) == int(text)
    assert settings.aws_endpoint_url == "http://127.0.0.1:4566"
    assert settings.uploads_bucket == "dermbatch-images"
    assert settings.hash_secret_arn == texts["HASH_SECRET_ARN"]
    assert not settings.erase_removed
    assert not settings.ignore_system_files
    assert settings.powertools_log_level == "WARNING"


@pytest.mark.parametrize(("megabytes", "cores"), [("1769", 1), ("1770", 2), ("3538", 2), ("10240", 6), ("x", 8)])
def test_a_lambda_computes_on_the_cores_that_its_memory_pays_for(given, monkeypatch, megabytes, cores):
    """Lambda shows two cores at least; two threads on the time of one only get into each other's way."""
    given = {**given, "MAX_IMAGE_PIXELS": "10000000"}
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    assert Settings.from_environment({**given, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": megabytes}).inference_threads == cores
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    assert Settings.from_environment({**given, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": megabytes}).inference_threads == 1


@pytest.mark.parametrize("megabytes", [*range(1769, 10240, 337), 10240])
def test_the_largest_permitted_images_fit_into_every_memory_that_the_template_permits(given, megabytes):
    settings = Settings.from_environment({**given, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(megabytes)})
    assert _held(settings) <= megabytes
    assert settings.download_threads > 5, "with the default limits there is memory for most of the threads"


def _held(settings: Settings) -> float:
    """Megabytes, if all images that are in work at a time are of the largest size."""
    decoded = settings.inference_threads * settings.max_image_pixels * 16
    return 300 + (decoded + settings.download_threads * settings.max_image_bytes) / 2**20


def test_larger_images_are_fetched_and_decoded_fewer_at_a_time(given, monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    memory = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "3538"}
    large_files = Settings.from_environment({**given, **memory, "MAX_IMAGE_BYTES": str(250 * 2**20)})
    assert (large_files.inference_threads, large_files.download_threads) == (2, 6)
    large_pictures = Settings.from_environment({**given, **memory, "MAX_IMAGE_PIXELS": "120000000"})
    assert (large_pictures.inference_threads, large_pictures.download_threads) == (1, 8)
    for settings in (large_files, large_pictures):
        assert _held(settings) <= 3538


def test_threads_that_somebody_sets_are_taken_as_they_are(given):
    """A laptop's worker computes on all cores, whatever memory the template gives the function."""
    memory = {"AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769"}
    settings = Settings.from_environment({**given, **memory, "INFERENCE_THREADS": "16"})
    assert (settings.inference_threads, settings.download_threads) == (16, 8)
    assert Settings.from_environment({**given, **memory, "DOWNLOAD_THREADS": "64"}).download_threads == 64


@pytest.mark.parametrize(
    "limits",
    [
        {"MAX_IMAGE_PIXELS": "100000000"},
        {"MAX_IMAGE_BYTES": str(2**30)},
    ],
)
def test_limits_that_the_memory_cannot_hold_stop_the_worker_at_start(given, limits):
    with pytest.raises(ConfigurationError, match=r"needs \d+ MB of memory, but the function has 1769: raise"):
        Settings.from_environment({**given, **limits, "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "1769"})
    assert Settings.from_environment({**given, **limits}), "elsewhere nobody says how much there is"


def test_a_stacks_worker_does_not_start_without_the_stacks_secret(given):
    with pytest.raises(ConfigurationError, match=r"^HASH_SECRET_ARN is not set;"):
        Settings.from_environment({**given, "UPLOADS_BUCKET": "dermbatch-images", "HASH_SECRET_ARN": " "})


def test_an_empty_variable_counts_as_unset(given):
    empty = dict.fromkeys(("MAX_IMAGE_BYTES", "INFERENCE_THREADS", "AWS_ENDPOINT_URL", "POWERTOOLS_LOG_LEVEL"), "")
    assert Settings.from_environment({**given, **empty}) == Settings.from_environment(given)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("PREDICTIONS_TABLE", ""),
        ("UPLOADS_BUCKET", "arn:aws:s3:::images"),
        ("HASH_SECRET_ARN", "arn with spaces"),
        ("ERASE_REMOVED", "yes"),
        ("IGNORE_SYSTEM_FILES", "1"),
        ("VISIBILITY_TIMEOUT", "0"),
        ("VISIBILITY_TIMEOUT", "43201"),
        ("PREDICTIONS_TABLE", "no spaces please"),
        ("MODEL_BUNDLE", "/no/such/folder"),
        ("MAX_IMAGE_BYTES", "0"),
        ("MAX_IMAGE_BYTES", "32 MB"),
        ("MAX_IMAGE_PIXELS", "-1"),
        ("MAX_IMAGE_PIXELS", "1e6"),
        ("DOWNLOAD_THREADS", "65"),
        ("DOWNLOAD_THREADS", "٣"),
        ("INFERENCE_THREADS", "0"),
        ("MAX_RECEIVES", "9" * 5000),
        ("RECORD_TTL_DAYS", "1.5"),
        ("AWS_ENDPOINT_URL", "127.0.0.1:4566"),
        ("AWS_ENDPOINT_URL", "http://"),
        ("POWERTOOLS_LOG_LEVEL", "LOUD"),
        ("POWERTOOLS_LOG_LEVEL", " "),
    ],
)
def test_a_wrong_value_is_told_by_its_name(given, name, text):
    with pytest.raises(ConfigurationError, match=rf"^{name} .*\.$"):
        Settings.from_environment({**given, name: text})


def test_the_only_shipped_bundle_is_the_default(given, tmp_path, monkeypatch):
    monkeypatch.setattr(configuration, "SHIPPED_BUNDLES", tmp_path)
    del given["MODEL_BUNDLE"]
    with pytest.raises(ConfigurationError, match=r"MODEL_BUNDLE is not set, and .* holds 0 bundles"):
        Settings.from_environment(given)
    only = write_tiny_bundle(tmp_path / "one")
    (tmp_path / "README.md").write_text("no bundle")
    assert Settings.from_environment(given).model_bundle == only
    write_tiny_bundle(tmp_path / "two")
    with pytest.raises(ConfigurationError, match="holds 2 bundles"):
        Settings.from_environment(given)


def test_a_damaged_bundle_stops_the_worker(given, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-central-1")
    folder = write_tiny_bundle(tmp_path / "damaged")
    network = (folder / "model.onnx").read_bytes()
    (folder / "model.onnx").write_bytes(network[:-1] + b"?")
    with pytest.raises(ConfigurationError, match=r"^MODEL_BUNDLE cannot be used: .*changed or damaged"):
        Worker.start(Settings.from_environment({**given, "MODEL_BUNDLE": str(folder)}))
