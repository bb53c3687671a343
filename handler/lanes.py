"""A lane from outside: what waits in it, how long a message may be tried, and the way in.

Messages go in ten a call, several calls at a time, each until SQS accepts it.
"""

from __future__ import annotations

import json
import random
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from model_layer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Sequence

TOGETHER = 10  # messages; SendMessageBatch's limit
CALLS_AT_A_TIME = 8
ATTEMPTS = 6
# SendMessageBatch takes 256 KiB (1 MiB since 2025). A body has about 300 bytes plus a key of at most 1,024, which
# percent-encoding may triple: ten stay under 40 KiB.


def waiting(sqs: Any, queue_url: str) -> int:
    """About how many messages the queue holds that nobody works on."""
    name = "ApproximateNumberOfMessages"
    return int(sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=[name])["Attributes"][name])


def longest_trial(sqs: Any, queue_url: str) -> timedelta:
    """From a message's first receive to its move out of the lane, if every worker that takes it dies."""
    names = ["RedrivePolicy", "VisibilityTimeout"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue_url, AttributeNames=names)["Attributes"]
    receives = int(json.loads(attributes["RedrivePolicy"])["maxReceiveCount"])
    return timedelta(seconds=receives * int(attributes["VisibilityTimeout"]))


class SendingError(UserError):
    """SQS keeps refusing some of the messages."""


def send(sqs: Any, queue_url: str, bodies: Sequence[str]) -> None:
    """Sends all of `bodies`, in no particular order. Raises SendingError if SQS still refuses one after ATTEMPTS."""
    groups = [bodies[start : start + TOGETHER] for start in range(0, len(bodies), TOGETHER)]
    with ThreadPoolExecutor(CALLS_AT_A_TIME, "send") as pool:
        for sent in [pool.submit(_send_group, sqs, queue_url, group) for group in groups]:
            sent.result()


def _send_group(sqs: Any, queue_url: str, bodies: Sequence[str]) -> None:
    """A successful call may have failed for single messages; only those are sent again."""
    left = {str(number): body for number, body in enumerate(bodies)}
    refusal = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(random.uniform(0, 0.1 * 2**attempt))  # full jitter, in seconds
        entries = [{"Id": number, "MessageBody": body} for number, body in left.items()]
        answer = sqs.send_message_batch(QueueUrl=queue_url, Entries=entries)
        for taken in answer.get("Successful", ()):
            del left[taken["Id"]]
        if not left:
            return
        refusal = ", ".join(sorted({failure["Code"] for failure in answer.get("Failed", ())}))
    raise SendingError(f"SQS did not take {len(left)} messages in {ATTEMPTS} attempts: {refusal}.")
