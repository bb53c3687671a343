"""When a message that was handed back is delivered again, and how that tells it from one whose worker died. Pure.

The worker shortens the time that a message stays hidden which it hands back; a killed worker shortens nothing, and its
messages stay hidden for the queue's whole visibility timeout. So the time since the first receive, which SQS keeps
with the message, is short where no worker has died. Where it is long the message may also just have waited behind
others: then it is taken for the remains of a death, which costs time and no answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from handler.messages import Message

_FIRST_WAIT = 1 / 64  # of the visibility timeout: 12 s of 13 minutes
_GROWTH = 4  # from one receive to the next: 12 s, 49 s, 195 s, and then the longest
_LONGEST_WAIT = 1 / 2  # any longer, and the waits of a few hand-backs would look like a death
_CLOCKS = 0.9  # SQS and the worker read two clocks


def hidden_seconds(receives: int, visibility_timeout: int) -> int:
    """How long a message stays hidden that is handed back at the end of its delivery number `receives`."""
    share = _FIRST_WAIT * _GROWTH ** min(max(receives, 1) - 1, 10)
    return int(visibility_timeout * min(share, _LONGEST_WAIT))


def may_have_killed(message: Message, visibility_timeout: int, now: float) -> bool:
    """Whether an earlier delivery of `message` may have ended with its worker's death; `now` in epoch seconds.

    Of several earlier deliveries the death may be any one, the others were handed back; the shortest such sum counts.
    """
    if message.receives <= 1:
        return False
    if message.first_received_at is None:
        return True
    hand_backs = sum(hidden_seconds(receives, visibility_timeout) for receives in range(1, message.receives - 1))
    return now - message.first_received_at >= _CLOCKS * visibility_timeout + hand_backs
