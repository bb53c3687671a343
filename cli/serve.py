"""The service with its page: over a deployed stack, or over a stack of this machine's own.

The local stack is an embedded AWS, a worker in a process of its own (so that an image that kills it ends nothing else),
a housekeeper in another, and the service in this one.
"""

from __future__ import annotations

import contextlib
import importlib
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from cli.backfill.run import send_everything
from cli.deployed import Account, aws_calls
from cli.output import count, say
from cli.work import choose_account, stack_environment
from infra.local_stack import ephemeral_stack, kept_stack
from infra.standing import standing, state_folder
from infra.state_folder import taken
from infra.worker_loop import become, function_environment, worker_environment
from model_layer.errors import UserError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from infra.stack import Stack

ROOT = Path(__file__).resolve().parent.parent
WORKER_SECONDS = 30.0
"""That the worker has to finish its batch at the end."""
TOO_SOON = 10.0
"""Seconds; a worker that ends earlier did not start."""
STARTS = 3
LOOK_EVERY = 2.0
"""Seconds between two looks at whether the embedded AWS still runs."""


@dataclass(frozen=True, slots=True)
class Listen:
    """Where the service listens, and under which names others reach it."""

    host: str
    port: int
    names: frozenset[str]

    def check(self) -> None:
        """Raises ServeError if nothing can listen there or a package is missing, before anything is started."""
        try:
            family, kind, protocol, _, address = socket.getaddrinfo(self.host, self.port, type=socket.SOCK_STREAM)[0]
            with socket.socket(family, kind, protocol) as trial:
                trial.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                trial.bind(address)
        except OSError as error:
            raise ServeError(f"Nothing can listen on {self.host}:{self.port}: {error.strerror}.") from error
        try:
            importlib.import_module("api.serving")
        except ModuleNotFoundError as error:
            name = str(error.name).partition(".")[0]
            raise ServeError(
                f"The service needs the package {name}: install dermbatch with its set service (pipx install "
                "'.[service]' in a clone), or use make serve."
            ) from error


class ServeError(UserError):
    """The service's packages are not installed, or it cannot listen."""


def serve_stack(stack: str, account: Account, listen: Listen) -> int:
    """Serves a deployed stack until it is told to stop; returns the exit code."""
    listen.check()
    with aws_calls():
        variables = stack_environment(stack, account)
    for name, text in variables.items():
        os.environ.setdefault(name, text)
    choose_account(account)
    return _serve(listen)


def serve_local(folder: Path | None, listen: Listen, *, ephemeral: bool) -> int:
    """Serves a stack of this machine's own until it is told to stop; returns the exit code.

    Raises:
        FolderError: the folder is in use or cannot be used.
    """
    listen.check()
    path = folder or state_folder()
    with contextlib.ExitStack() as running:
        kept = running.enter_context(taken(path))
        say("Starting an AWS of this machine's own.")
        if ephemeral:
            stack = running.enter_context(ephemeral_stack())
            say("Photographs are kept in memory, and are gone when this ends.")
        else:
            stack = running.enter_context(kept_stack(kept))
            say(f"Photographs lie on the disk, in {kept.path}: only you may read them, and they are there next time.")
            kept.log.write_text("", encoding="utf-8")
        log = Path(os.devnull) if ephemeral else kept.log
        running.enter_context(_supervised("worker", stack, log))
        running.enter_context(_supervised("housekeeper", stack.housekeeper or stack, log, "--housekeeping"))
        if not ephemeral and kept.recordless.exists():
            sent = send_everything(stack.endpoint, stack.bucket, stack.lanes["Bulk"].queue_url)
            kept.recordless.unlink()
            say(f"It did not end in order last time: {count(sent, 'kept photograph')} will be classified again.")
        running.enter_context(standing(stack, kept.path))
        if kept.path != state_folder().expanduser().absolute():
            say(f"For --local in other shells: export DERMBATCH_STATE='{kept.path}'")
        become(function_environment(stack))  # the service reads the same settings as the worker
        watch = running.enter_context(_watched(stack.endpoint.url))
        code = _serve(listen)
        say("Ending in order.")
    return 1 if watch.is_set() else code


@contextlib.contextmanager
def _watched(url: str) -> Iterator[threading.Event]:
    """Ends the service if the embedded AWS is gone; the event says that this happened."""
    gone, over = threading.Event(), threading.Event()
    where = urlsplit(url)

    def look() -> None:
        while not over.wait(LOOK_EVERY):
            try:
                socket.create_connection((where.hostname or "", where.port or 0), timeout=30).close()
            except ConnectionRefusedError:
                say("The embedded AWS has ended. Start again: the photographs are kept, and classified again.")
                gone.set()
                signal.raise_signal(signal.SIGTERM)
                return
            except OSError:
                continue  # it is only busy

    thread = threading.Thread(target=look, daemon=True)
    thread.start()
    try:
        yield gone
    finally:
        over.set()


def _serve(listen: Listen) -> int:
    from api.serving import serve  # noqa: PLC0415 (not part of every installation)
    from api.settings import Settings  # noqa: PLC0415

    return serve(
        Settings.from_environment(),
        host=listen.host,
        port=listen.port,
        names=listen.names,
        tell=lambda line: print(line, flush=True),
    )


@contextlib.contextmanager
def _supervised(who: str, stack: Stack, log: Path, *options: str) -> Iterator[None]:
    """A worker or housekeeper on all lanes of `stack`, in a process that is started again should it die."""
    ended = threading.Event()
    supervisor = _Supervisor(who, stack, log, ended, options)
    thread = threading.Thread(target=supervisor.run, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        supervisor.stop()
        thread.join()


class _Supervisor:
    """Starts the process, again and again."""

    def __init__(
        self, who: str, stack: Stack, log: Path, ended: threading.Event, options: tuple[str, ...] = ()
    ) -> None:
        self._who = who
        self._environment = _worker_environment(stack)
        queues = [lane.queue_url for lane in stack.lanes.values()]  # the first one's settings are the process's
        self._command = [sys.executable, "-m", "cli", "work", "--with-parent", *options, *queues]
        self._log = log
        self._ended = ended
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None

    def run(self) -> None:
        soon = 0
        while not self._ended.is_set() and soon < STARTS:
            began = time.monotonic()
            with self._lock:
                if self._ended.is_set():
                    return
                self._process = self._start()
            code = self._process.wait()
            soon = soon + 1 if time.monotonic() - began < TOO_SOON else 0
            if not self._ended.is_set():
                say(f"The {self._who} ended (exit {code}) and is started again; its log is {self._log}.")
                self._ended.wait(1)
        if not self._ended.is_set():
            lost = "photographs are not classified" if self._who == "worker" else "deleted records stay"
            say(f"The {self._who} does not start, so {lost}; {self._log} says why.")

    def stop(self) -> None:
        """Lets the worker finish its batch."""
        with self._lock:
            process = self._process
        if process is None:
            return
        process.terminate()
        try:
            process.wait(WORKER_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _start(self) -> subprocess.Popen[bytes]:
        descriptor = os.open(self._log, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            return subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,  # closed when this process ends, however it does
                stdout=descriptor,
                stderr=descriptor,
                env=self._environment,
                start_new_session=True,  # Ctrl-C in the terminal is for us
            )
        finally:
            os.close(descriptor)


def _worker_environment(stack: Stack) -> dict[str, str]:
    """Lets the worker's process find this clone's packages too."""
    environment = worker_environment(stack)
    paths = [str(ROOT), *filter(None, [environment.get("PYTHONPATH")])]
    return environment | {"PYTHONPATH": os.pathsep.join(paths)}
