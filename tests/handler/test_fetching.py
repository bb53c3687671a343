"""The bytes of the very version that was uploaded, and never more than allowed."""

from __future__ import annotations

import gzip
import hashlib
import io
import time
import tracemalloc

import pytest
from botocore.awsrequest import AWSResponse
from worker_rig import BOTH_CLOUDS, Raw

from handler.errors import SupersededError, TryAgainError
from handler.flow.fetching import BucketReader
from handler.intake.events import Upload
from model_layer import Rejection, RejectionCode

pytestmark = BOTH_CLOUDS


def upload_of(put) -> Upload:
    return Upload(put.bucket, put.key, put.version, put.etag, None)


@pytest.mark.parametrize(
    "key",
    [
        "a+b%20c.jpg",
        "a b c",
        "皮膚/été.jpg",
        "röntgen🔬",
        "tab\tnewline\n.jpg",
        "//",
        "?#&;=",
        "+%=",
        "k" * 1024,
        "../x",
        ".",
    ],
)
def test_any_key(bucket, key):
    put = bucket.put(key, b"content")
    assert BucketReader(bucket.client, 100).fetch(upload_of(put))[0] == b"content"


def test_the_named_version_and_its_facts(bucket):
    first, _ = bucket.put("a.jpg", b"first"), bucket.put("a.jpg", b"second")
    content, facts = BucketReader(bucket.client, 100).fetch(upload_of(first))
    assert content == b"first"
    assert facts.bytes == 5
    assert facts.etag == first.etag
    assert facts.sha256 == hashlib.sha256(b"first").hexdigest()


def test_up_to_the_limit_and_no_further(bucket):
    reader = BucketReader(bucket.client, 100)
    assert reader.fetch(upload_of(bucket.put("a", bytes(100))))[0] == bytes(100)
    content, facts = reader.fetch(upload_of(bucket.put("b", bytes(101))))
    assert content == Rejection(RejectionCode.TOO_LARGE)
    assert facts.bytes == 101
    assert reader.fetch(upload_of(bucket.put("c", b"")))[0] == b""


def put_encoded(bucket, content, encoding):
    bucket.client.put_object(Bucket="dermbatch-images", Key="a.jpg", Body=content, ContentEncoding=encoding)
    found = bucket.client.head_object(Bucket="dermbatch-images", Key="a.jpg")
    return Upload("dermbatch-images", "a.jpg", found["VersionId"], found["ETag"].strip('"'), None)


PLAIN = bytes(range(256)) * 40
ENCODED = {
    "gzip": ("gzip", gzip.compress(PLAIN)),
    "as HTTP also calls it": ("X-GZip", gzip.compress(PLAIN)),
    "beside another coding": ("identity, gzip", gzip.compress(PLAIN)),
    "in members": ("gzip", b"".join(gzip.compress(PLAIN[at : at + 3000]) for at in range(0, len(PLAIN), 3000))),
    "with padding": ("gzip", gzip.compress(PLAIN) + bytes(500)),
    "said of a plain file": ("gzip", PLAIN),
    "another coding, said of a plain file": ("br", PLAIN),
}


@pytest.mark.parametrize("kind", ENCODED)
def test_content_encoding_is_undone_where_it_is_true(bucket, kind):
    encoding, stored = ENCODED[kind]
    content, facts = BucketReader(bucket.client, len(PLAIN) + 1000).fetch(put_encoded(bucket, stored, encoding))
    assert content == PLAIN
    assert facts.bytes == len(stored)
    assert facts.sha256 == hashlib.sha256(stored).hexdigest()


@pytest.mark.parametrize(
    ("stored", "code"),
    [
        (gzip.compress(bytes(20_001)), "too_large"),
        (gzip.compress(bytes(10_000)) * 3, "too_large"),
        (gzip.compress(PLAIN)[:-9], "truncated"),
        (gzip.compress(PLAIN)[:-8] + bytes(8), "corrupt"),
        (b"\x1f\x8b" + PLAIN, "corrupt"),
    ],
    ids=["too large", "too large in members", "broken off", "wrong checksum", "two bytes only"],
)
def test_what_cannot_be_unpacked_says_why(bucket, stored, code):
    assert BucketReader(bucket.client, 20_000).fetch(put_encoded(bucket, stored, "gzip"))[0] == Rejection(code)


@pytest.mark.parametrize(
    ("stored", "code"),
    [(gzip.compress(bytes(2**28), 9), "too_large"), (gzip.compress(b"") * 100_000, "too_costly")],
    ids=["256 MB of zeros", "100,000 members"],
)
def test_a_packed_bomb_costs_no_more_than_the_limit(bucket, stored, code):
    upload = put_encoded(bucket, stored, "gzip")
    tracemalloc.start()
    started = time.process_time()
    content, _ = BucketReader(bucket.client, 2**23).fetch(upload)
    seconds, (_, peak) = time.process_time() - started, tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert content == Rejection(code)
    assert peak < 2**25
    assert seconds < 2


class Endless(Raw):
    """A body without end that counts what is taken from it."""

    taken = 0

    def read(self, amount=None):
        assert amount, "never the whole of it"
        self.taken += amount
        return bytes(amount)


@pytest.mark.parametrize("headers", [{"Content-Length": str(10**12)}, {}], ids=["announced", "unannounced"])
def test_an_endless_body_is_not_read_to_its_end(bucket, headers):
    put, body = bucket.put("a.jpg", b"x"), Endless()
    response = AWSResponse("https://s3.invalid/", 200, headers, body)
    bucket.client.meta.events.register_first("before-send.s3.GetObject", lambda **_: response)
    assert BucketReader(bucket.client, 5 * 2**20).fetch(upload_of(put))[0] == Rejection(RejectionCode.TOO_LARGE)
    assert body.taken <= (0 if headers else 6 * 2**20)
    assert body.closed


def test_an_altered_body_is_tried_again(bucket):
    client = bucket.client
    client.put_object(Bucket="dermbatch-images", Key="a", Body=b"right", ChecksumAlgorithm="SHA256")
    put = bucket.put("a", b"right")

    def alter(parsed, **_):
        parsed["Body"]._raw_stream = io.BytesIO(b"wrong")

    client.meta.events.register("after-call.s3.GetObject", alter)
    with pytest.raises(TryAgainError, match="GetObject failed with"):
        BucketReader(client, 100).fetch(upload_of(put))


@pytest.mark.parametrize("versioned", [True, False])
def test_a_missing_object_is_superseded(bucket, versioned):
    upload = Upload("dermbatch-images", "gone.jpg", "gone" if versioned else None, "a" * 32, None)
    with pytest.raises(SupersededError) as raised:
        BucketReader(bucket.client, 100).fetch(upload)
    assert raised.value.code == "deleted"


def test_a_missing_bucket_is_no_deleted_object(bucket):
    with pytest.raises(TryAgainError, match="NoSuchBucket"):
        BucketReader(bucket.client, 100).fetch(Upload("elsewhere", "a.jpg", None, "a" * 32, None))


def test_a_forbidden_object_is_not_taken_for_a_deleted_one(bucket):
    put = bucket.put("a.jpg", b"x")
    refusal = AWSResponse("https://s3.invalid/", 403, {}, Raw(b"<Error><Code>AccessDenied</Code></Error>"))
    bucket.client.meta.events.register_first("before-send.s3.GetObject", lambda **_: refusal)
    with pytest.raises(TryAgainError) as raised:
        BucketReader(bucket.client, 100).fetch(upload_of(put))
    assert (raised.value.code, raised.value.sentence) == (
        "storage_unavailable",
        "GetObject failed with AccessDenied.",
    )


def test_a_version_exists_until_it_is_deleted_itself(bucket):
    first, second = bucket.put("a.jpg", b"first"), bucket.put("a.jpg", b"second")
    reader = BucketReader(bucket.client, 100)
    bucket.client.delete_object(Bucket=first.bucket, Key="a.jpg")  # hides both
    assert reader.exists(upload_of(first))
    bucket.client.delete_object(Bucket=first.bucket, Key="a.jpg", VersionId=first.version)
    assert not reader.exists(upload_of(first))
    assert reader.exists(upload_of(second))


def test_without_a_version_an_upload_exists_while_it_is_the_current_object(bucket):
    put = bucket.put("a.jpg", b"first")
    upload, reader = Upload(put.bucket, put.key, None, put.etag, None), BucketReader(bucket.client, 100)
    assert reader.exists(upload)
    bucket.put("a.jpg", b"second")
    assert not reader.exists(upload)


@pytest.mark.parametrize(("status", "exists"), [(400, True), (403, None)])
def test_a_refusal_is_not_taken_for_a_missing_object(bucket, status, exists):
    """400 is S3's answer for an object whose key its uploader kept."""
    upload = upload_of(bucket.put("a.jpg", b"content"))
    answer = AWSResponse("", status, {}, Raw(b""))
    bucket.client.meta.events.register("before-send.s3.HeadObject", lambda **_: answer)
    reader = BucketReader(bucket.client, 100)
    if exists:
        assert reader.exists(upload)
    else:
        with pytest.raises(TryAgainError):
            reader.exists(upload)
