"""The stages overlap, and hold no more at a time than the settings allow."""

from __future__ import annotations

import threading
import time

import pytest
from s3_events import handed_back, queue_event
from sample_images import jpeg

from model_layer import BATCH


def test_the_network_and_the_table_do_not_wait_for_a_slow_download(rig, bucket, table):
    written = threading.Event()
    rig.break_call("dynamodb.PutItem", lambda _: written.set())
    rig.break_call("s3.GetObject", lambda n: None if n or written.wait(20) else AssertionError("not overlapped"))
    puts = [bucket.put(f"{n}.jpg", jpeg(n)) for n in range(3)]
    assert handed_back(rig.handle(queue_event(*puts))) == []


def test_downloads_go_on_while_the_network_runs(make_rig, bucket, monkeypatch):
    rig = make_rig(DOWNLOAD_THREADS=1)
    second = threading.Event()
    rig.break_call("s3.GetObject", lambda n: second.set() if n else None)
    predict = rig.classifier.predict

    def wait_for_the_second(images):
        assert second.wait(20)
        return predict(images)

    monkeypatch.setattr(type(rig.classifier), "predict", lambda _, images: wait_for_the_second(images))
    puts = [bucket.put(f"{n}.jpg", jpeg(n)) for n in range(2)]
    assert handed_back(rig.handle(queue_event(*puts))) == []


def test_no_more_is_fetched_ahead_than_keeps_the_network_busy(make_rig, bucket, table, monkeypatch):
    rig = make_rig(DOWNLOAD_THREADS=4)
    fetches = rig.break_call("s3.GetObject", lambda _: None)
    predict, inferred, ahead = rig.classifier.predict, [0], []

    def count(images):
        ahead.append(len(fetches) - inferred[0])
        inferred[0] += len(images)
        return predict(images)

    monkeypatch.setattr(type(rig.classifier), "predict", lambda _, images: count(images))
    puts = [bucket.put(f"{n}.jpg", jpeg(n)) for n in range(80)]
    assert handed_back(rig.handle(queue_event(*puts))) == []
    assert inferred == [80]
    assert max(ahead) <= 4 + BATCH


@pytest.mark.parametrize("cores", [1, 3])
def test_no_more_images_are_in_the_network_at_a_time_than_there_are_cores(make_rig, bucket, monkeypatch, cores):
    """Else the last of them would take longer than the time that is kept for them at the end of the invocation."""
    rig, sizes = make_rig(INFERENCE_THREADS=cores), []
    predict = rig.classifier.predict

    def count(images):
        sizes.append(len(images))
        time.sleep(0.05)  # long enough for others to be decoded
        return predict(images)

    monkeypatch.setattr(type(rig.classifier), "predict", lambda _, images: count(images))
    puts = [bucket.put(f"{n}.jpg", jpeg(n)) for n in range(24)]
    assert handed_back(rig.handle(queue_event(*puts))) == []
    assert sum(sizes) == 24
    assert max(sizes) == cores


def test_no_more_images_are_decoded_at_a_time_than_there_are_cores(make_rig, bucket, monkeypatch):
    rig = make_rig(DOWNLOAD_THREADS=16)
    cores = rig.settings.inference_threads
    lock, now, most = threading.Lock(), [0], [0]
    decode = rig.classifier.decode

    def count(data):
        with lock:
            now[0] += 1
            most[0] = max(most[0], now[0])
        time.sleep(0.02)  # long enough for every thread to come here
        with lock:
            now[0] -= 1
        return decode(data)

    monkeypatch.setattr(type(rig.classifier), "decode", lambda _, data: count(data))
    rig.handle(queue_event(*(bucket.put(f"{n}.jpg", jpeg(n)) for n in range(32))))
    assert most[0] == min(cores, 16)
