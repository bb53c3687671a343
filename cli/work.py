"""The worker, or the housekeeper, as a process that polls queues: for ECS, Batch, Kubernetes or a big server.

It is the same handler with the same events as on Lambda. Three things differ. While it works on a batch it keeps the
messages hidden, so a batch may take longer than the queue's visibility timeout. After SIGTERM or Ctrl-C it takes no new
messages and finishes its batch, as far as the time it is given allows; what is left goes back into the queue. And if it
is killed, its messages come back once their visibility timeout has passed.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import re
import signal
import sys
import threading
import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from cli.deployed import Account, DeployedError, aws_calls, find
from cli.output import count, say
from handler.aws import AWS_ERRORS
from infra.lambda_contract import LambdaContext
from infra.stack import lane_of
from infra.standing import standing_endpoint
from infra.template import HOUSEKEEPER, WORKER, queue_functions, read_template
from infra.worker_loop import RECEIVE_MOST, Poller, answer, become

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from infra.stack import Lane
    from infra.worker_loop import Handler

LONG_POLL = 5.0
"""Seconds that a request waits for messages. SQS allows 20, but a signal is noticed only afterwards."""
SHORT_POLL = 1.0
"""The same where several queues are served in turn."""
GATHERING = 1.0
"""Seconds that a batch of more messages than one request brings may wait to become full."""
OUTAGE = 300.0
"""Seconds without an answer of SQS after which the process ends, so that whoever runs it notices."""
LONGEST_PAUSE = 30.0
_ARN_ACCOUNT = 4


class Stop:
    """Whether the process was told to end, and until when its batch may still work."""

    def __init__(self, grace: float) -> None:
        self._grace = grace
        self._told: float | None = None

    def tell(self) -> None:
        """Ends in order; told once more, ends at once."""
        if self._told is not None:
            raise KeyboardInterrupt
        self._told = time.monotonic()

    def __bool__(self) -> bool:
        return self._told is not None

    def moment(self) -> float:
        """The moment (of time.monotonic()) by which a batch must be done; infinity as long as it may go on."""
        return float("inf") if self._told is None else self._told + self._grace


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessContext(LambdaContext):
    """The handler's context; the time that remains shrinks when the process is told to end."""

    stop: Stop

    def get_remaining_time_in_millis(self) -> int:
        """Until the batch must be done."""
        return max(0, round((min(self.deadline, self.stop.moment()) - time.monotonic()) * 1000))


def work(
    queue_urls: Sequence[str],
    stack: str,
    account: Account,
    *,
    batch_size: int,
    batch_seconds: float,
    grace: float,
    housekeeping: bool = False,
    with_parent: bool = False,
) -> int:
    """Works until it is told to stop; returns 0. With `housekeeping` it is the housekeeper, not the worker.

    The worker's settings come from the environment, as on Lambda; without PREDICTIONS_TABLE they are those of `stack`.
    Several queues are served in turn. `with_parent` ends the process with the one that started it.

    Raises:
        DeployedError: a queue or the stack is not there, or SQS has not answered for OUTAGE seconds.
        ConfigurationError: a setting is wrong.
    """
    stop = Stop(grace)
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.tell())
    if with_parent:
        threading.Thread(target=_end_with_parent, daemon=True).start()
    choose_account(account, _region_of(queue_urls[0]))
    with aws_calls():
        lanes = [_lane(account, url, batch_size) for url in queue_urls]
        _settle_environment(stack, account, lanes[0], HOUSEKEEPER if housekeeping else WORKER)
    module = "handler.housekeeping" if housekeeping else "handler.app"
    handler: Handler = importlib.import_module(module).lambda_handler
    pollers = [Poller(lane, account.client("sqs", attempts=3)) for lane in lanes]
    who = "housekeeper" if housekeeping else "worker"
    say(f"The {who} polls {', '.join(queue_urls)}.")
    done = _poll(pollers, handler, stop, batch_seconds)
    say(f"The {who} has ended in order, after {count(done, 'message')}.")
    return 0


def _poll(pollers: Sequence[Poller], handler: Handler, stop: Stop, batch_seconds: float) -> int:
    """Serves the queues until `stop`; returns the number of messages that are done."""
    done, pause, answered = 0, 1.0, time.monotonic()
    idle = LONG_POLL if len(pollers) == 1 else SHORT_POLL
    while not stop:
        for poller in pollers:
            if stop:
                break
            try:
                done += _serve(poller, handler, stop, idle, batch_seconds)
                pause, answered = 1.0, time.monotonic()
            except AWS_ERRORS as error:
                if time.monotonic() - answered > OUTAGE:
                    raise DeployedError(f"{str(error).removesuffix('.')}.") from error
                say(f"{str(error).removesuffix('.')}; it is tried again.")
                _sleep(pause, stop)
                pause = min(LONGEST_PAUSE, pause * 2)
    return done


def _serve(poller: Poller, handler: Handler, stop: Stop, idle: float, batch_seconds: float) -> int:
    """One batch, if there is one; returns how many of its messages are done."""
    batch = poller.gather(idle=idle)
    if not batch:
        return 0
    if stop:
        poller.hide(batch, 0)
        return 0
    context = ProcessContext(
        function_name="dermbatch",
        memory_limit_in_mb=0,
        invoked_function_arn=f"arn:aws:lambda:local:{poller.lane.queue_arn.split(':')[_ARN_ACCOUNT]}:function:dermbatch",
        deadline=time.monotonic() + batch_seconds,
        stop=stop,
    )
    with _kept_hidden(poller, batch):
        try:
            failed = poller.failed(answer(handler, batch, poller.lane, context), batch)
        except Exception as error:  # noqa: BLE001 - a batch whose handler fails comes back, as on Lambda
            say("".join(traceback.format_exception(error)).strip())
            return 0
    finished = [message for message in batch if message["MessageId"] not in failed]
    poller.delete(finished)
    return len(finished)


@contextlib.contextmanager
def _kept_hidden(poller: Poller, batch: Sequence[dict[str, Any]]) -> Iterator[None]:
    """Has the messages' visibility timeout begin anew, again and again, as long as the block runs."""
    ended = threading.Event()
    timeout = poller.lane.visibility_timeout

    def extend() -> None:
        while not ended.wait(max(0.2, timeout / 3)):
            with contextlib.suppress(*AWS_ERRORS):  # then they may come again, which is never wrong
                poller.hide(batch, timeout)

    thread = threading.Thread(target=extend, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()


def _lane(account: Account, url: str, batch_size: int) -> Lane:
    try:
        window = GATHERING if batch_size > RECEIVE_MOST else 0
        return lane_of(account.client("sqs"), url, "work", batch_size=batch_size, window=window)
    except KeyError as missing:
        raise DeployedError(
            f"{url} has no {missing.args[0]}: without a dead-letter queue, a message that kills its worker would come "
            "back forever."
        ) from missing


def choose_account(account: Account, region: str | None = None) -> None:
    """Lets boto3's own set-up, which the handler uses, find `account`; `region` is for where nothing else names one."""
    if account.local:
        become(standing_endpoint().environment())
        return
    if account.profile:
        os.environ["AWS_PROFILE"] = account.profile
    named = account.region or (None if {"AWS_REGION", "AWS_DEFAULT_REGION"} & os.environ.keys() else region)
    if named:
        os.environ.update(AWS_REGION=named, AWS_DEFAULT_REGION=named)


def _region_of(queue_url: str) -> str | None:
    found = re.match(r"https://sqs\.([a-z0-9-]+)\.amazonaws\.com", queue_url)
    return found[1] if found else None


def _settle_environment(stack: str, account: Account, lane: Lane, function: str) -> None:
    """Completes the function's environment: from the stack where no table is named, and in any case from the queue."""
    if not os.environ.get("PREDICTIONS_TABLE", "").strip():
        for name, text in stack_environment(stack, account, function).items():
            os.environ.setdefault(name, text)
    os.environ.setdefault("POWERTOOLS_SERVICE_NAME", "dermbatch")
    os.environ.setdefault("POWERTOOLS_METRICS_NAMESPACE", "dermbatch")
    os.environ["MAX_RECEIVES"] = str(lane.max_receives)
    os.environ["VISIBILITY_TIMEOUT"] = str(lane.visibility_timeout)


def stack_environment(stack: str, account: Account, function: str = WORKER) -> Mapping[str, str]:
    """The variables that the template gives `function`, as far as they are constants or parameters of the stack."""
    found = find(stack, account)
    variables = queue_functions(read_template())[function]["Environment"]["Variables"]
    known = {name: _resolved(value, found.parameters) for name, value in variables.items()}
    texts = {name: text for name, text in known.items() if text is not None and name != "AWS_ENDPOINT_URL"}
    texts |= {"PREDICTIONS_TABLE": found.table, "UPLOADS_BUCKET": found.bucket}
    known_by_output = {"REMOVALS_QUEUE_URL": "RemovalsQueueUrl", "HASH_SECRET_ARN": "HashSecretArn"}  # nosec B105 (names)
    return texts | {name: found.outputs.get(output, "") for name, output in known_by_output.items()}


def _resolved(value: Any, given: Mapping[str, str]) -> str | None:
    match value:
        case {"Ref": str(parameter)}:
            return given.get(parameter)
        case str() | int():
            return str(value)
        case _:
            return None


def _end_with_parent() -> None:
    """As after SIGTERM, once nobody holds the other end of standard input."""
    while os.read(sys.stdin.fileno(), 4096):
        pass
    signal.raise_signal(signal.SIGTERM)


def _sleep(seconds: float, stop: Stop) -> None:
    until = time.monotonic() + seconds
    while not stop and time.monotonic() < until:
        time.sleep(0.1)
