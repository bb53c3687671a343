"""What S3 will not give until somebody acts is rejected at once, and answered once it can be read."""

from __future__ import annotations

import os

import pytest
from s3_events import BUCKET, Put, handed_back, queue_event, record
from sample_images import jpeg
from worker_rig import BOTH_CLOUDS, answer, states

from handler.errors import REFUSALS

ROLE = "arn:aws:sts::123456789012:assumed-role/worker/worker"
DENIED = f"User: {ROLE} is not authorized to perform: kms:Decrypt on"
LASTING = {
    "archived": (403, "InvalidObjectState", "The operation is not valid for the object's storage class", "archived"),
    "an uploader's own key": (
        400, "InvalidRequest", ("The object was stored using a form of Server Side Encryption. The correct parameters "
        "must be provided to retrieve the object."), "not_readable"),
    "another account's key": (
        403, "AccessDenied", (f"{DENIED} resource: arn:aws:kms:eu-central-1:999999999999:key/0a1b because no "
        "resource-based policy allows the kms:Decrypt action"), "not_readable"),
    "a key that KMS does not show": (
        403, "AccessDenied", (f"{DENIED} the resource associated with this ciphertext because the resource does not "
        "exist in this Region, no resource-based policies allow access, or a resource-based policy explicitly denies "
        "access"), "not_readable"),
    "a key that was deleted": (400, "KMS.NotFoundException", "Key does not exist", "not_readable"),
}  # fmt: skip
PASSING = {
    "no policy allows it": (403, "AccessDenied", "Access Denied"),
    "no policy allows the key of this account": (
        403, "AccessDenied", (f"{DENIED} resource: arn:aws:kms:eu-central-1:123456789012:key/0a1b because no "
        "identity-based policy allows the kms:Decrypt action")),
    "a policy denies the object": (
        403, "AccessDenied", (f"User: {ROLE} is not authorized to perform: s3:GetObject on resource: "
        '"arn:aws:s3:::dermbatch-images/a.jpg" with an explicit deny in a resource-based policy')),
    "a key that is switched off": (400, "KMS.DisabledException", "arn:aws:kms:x:999999999999:key/0a1b is disabled"),
    "another invalid request": (400, "InvalidRequest", "Missing required header for this request"),
    "expired credentials": (400, "ExpiredToken", "The provided token has expired."),
}  # fmt: skip


def refusal(status: int, code: str, text: str):
    return answer(status, f"<Error><Code>{code}</Code><Message>{text}</Message></Error>")


@pytest.mark.parametrize("case", LASTING)
def test_a_refusal_that_stays_is_an_answer_at_the_first_receive(rig, bucket, table, case):
    *told, code = LASTING[case]
    put, beside = bucket.put("a.jpg", jpeg(1)), bucket.put("b.jpg", jpeg(2))
    rig.break_call("s3.GetObject", lambda n: refusal(*told) if n == 0 else None)
    assert handed_back(rig.handle(queue_event(put, beside))) == []
    found = {one["reasons"][0]["code"]: one for one in table.everything() if one["status"] == "rejected"}
    assert set(found) == {code}
    assert found[code]["reasons"][0]["sentence"] == REFUSALS[code]
    assert len(states(table)) == 2


@pytest.mark.parametrize("case", PASSING)
def test_a_refusal_that_may_pass_comes_again(rig, bucket, table, case):
    put = bucket.put("a.jpg", jpeg(1))
    rig.break_call("s3.GetObject", lambda n: refusal(*PASSING[case]) if n == 0 else None)
    assert handed_back(rig.handle(queue_event(put))) == ["message-0"]
    assert states(table) == {}
    assert handed_back(rig.handle(queue_event(put, receives=2))) == []
    assert states(table)["a.jpg"] in {"classified", "referred"}


@BOTH_CLOUDS
@pytest.mark.parametrize("storage", ["GLACIER", "DEEP_ARCHIVE"])
def test_an_object_in_an_archive(rig, bucket, table, storage):
    stored = bucket.client.put_object(Bucket=BUCKET, Key="a.jpg", Body=jpeg(1), StorageClass=storage)
    put = Put("a.jpg", stored["ETag"].strip('"'), stored["VersionId"])
    if os.environ.get("AWS_ENDPOINT_URL"):  # this emulator gives what it should keep back
        rig.break_call("s3.GetObject", lambda _: refusal(403, "InvalidObjectState", "No."))
    assert handed_back(rig.handle(queue_event(put))) == []
    (found,) = table.everything()
    assert (found["status"], found["reasons"][0]["code"]) == ("rejected", "archived")


@BOTH_CLOUDS
@pytest.mark.parametrize("receives", [1, 4, 5])
def test_once_it_is_restored_it_is_answered(rig, bucket, table, receives):
    put = bucket.put("a.jpg", jpeg(1))
    rig.break_call("s3.GetObject", lambda n: refusal(403, "InvalidObjectState", "No.") if n < 2 else None)
    rig.handle(queue_event(put))
    before = list(table.everything())
    assert handed_back(rig.handle(queue_event(put))) == []
    assert list(table.everything()) == before, "a duplicate changes nothing"
    restored = {"Records": [record(put, "ObjectRestore:Completed")]}
    assert handed_back(rig.handle(queue_event(restored, receives=receives))) == []
    assert states(table)["a.jpg"] in {"classified", "referred"}
    rig.break_call("s3.GetObject", lambda _: refusal(403, "InvalidObjectState", "No."))
    rig.handle(queue_event(put))
    assert states(table)["a.jpg"] in {"classified", "referred"}, "and no later refusal takes that answer's place"


@pytest.mark.integration
@pytest.mark.parametrize("cloud", ["ministack"], indirect=True)
def test_an_object_under_its_uploaders_own_key(rig, bucket, table):
    """The emulator refuses it in the words of S3."""
    stored = bucket.client.put_object(
        Bucket=BUCKET, Key="a.jpg", Body=jpeg(1), SSECustomerAlgorithm="AES256", SSECustomerKey="k" * 32
    )
    put = Put("a.jpg", stored["ETag"].strip('"'), stored["VersionId"])
    assert handed_back(rig.handle(queue_event(put))) == []
    (found,) = table.everything()
    assert (found["status"], found["reasons"][0]["code"]) == ("rejected", "not_readable")
