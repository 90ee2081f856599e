"""Processes that work on clips, each with a network of its own.

A worker that dies, whether it was killed, ran out of memory or crashed, is found by the end of its
process, and only the clip that it had is affected. (`concurrent.futures` gives up all of a pool
then.) Workers talk through a pipe each: clips go out, progress and results come back. A worker
whose parent is gone ends at once.
"""

from __future__ import annotations

import contextlib
import logging
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import resource_tracker
from multiprocessing.connection import Connection, wait
from typing import Protocol, TypeAlias

from roadseg.archive.clip import Clip
from roadseg.archive.process import ClipWorker
from roadseg.archive.result import ClipResult
from roadseg.archive.spec import ClipSpec
from roadseg.core.allocator import share_one_arena
from roadseg.core.errors import RoadsegError
from roadseg.core.files import printable
from roadseg.core.processor import usable_cores
from roadseg.core.wording import names_options, naming_options
from roadseg.loading.choice import Choice
from roadseg.video.stats import Progress

_log = logging.getLogger(__name__)

_PROGRESS_S = 1.0
_PATIENCE_S = 10.0


def default_workers(backend: str, threads: int | None) -> int:
    """How many workers make sense on this machine.

    On a processor as many as there are cores for their networks' threads: two workers with one
    thread each do more than one with two. On a GPU one, which the card is shared with no other.

    Args:
        backend: that runs the network, never `auto`.
        threads: of each worker's network; None counts as all cores.
    """
    if backend == "tensorrt":
        return 1
    cores = usable_cores()
    return max(cores // (threads or cores), 1)


@dataclass(frozen=True, slots=True)
class Going:
    """A clip that is worked on.

    Attributes:
        clip: which.
        frames_out: frames written so far.
        frame_count: frames to expect, None if nobody knows.
    """

    clip: Clip
    frames_out: int = 0
    frame_count: int | None = None


@dataclass(frozen=True, slots=True)
class Died:
    """A worker's end.

    Attributes:
        clip: what it worked on.
        how: in a few words, for people: `killed by SIGKILL`.
    """

    clip: Clip
    how: str


Answer: TypeAlias = Going | ClipResult | Died | RoadsegError
"""What is heard of workers. An error means that no worker can work: the network does not open."""


class Crew(Protocol):
    """Workers, wherever they are."""

    @property
    def is_free(self) -> bool:
        """Whether one more clip can be taken at once."""

    @property
    def clips(self) -> tuple[Clip, ...]:
        """What was taken and has no answer yet."""

    def take(self, clip: Clip) -> None:
        """Give a clip to them; see `is_free`."""

    def answers(self, timeout_s: float) -> list[Answer]:
        """What has been heard of them; waits for something for a while."""

    def withdraw(self) -> tuple[Clip, ...]:
        """Begin no more clips; those that were taken and are not begun."""

    def close(self) -> None:
        """Let those that are idle end, and end the others at once."""


class Workers:
    """Up to so many processes; they are started when there is something to do.

    Args:
        spec: what they do with each clip.
        count: how many at most.
        choice: what runs the network, decided once for all of them; None: each decides for itself.
    """

    def __init__(self, spec: ClipSpec, count: int, choice: Choice | None = None) -> None:
        self._spec, self._count, self._choice = spec, count, choice
        self._workers: list[_Worker] = []

    @property
    def is_free(self) -> bool:
        """Whether one more clip can be taken at once."""
        return len(self._workers) < self._count or any(w.clip is None for w in self._workers)

    @property
    def clips(self) -> tuple[Clip, ...]:
        """What is worked on."""
        return tuple(worker.clip for worker in self._workers if worker.clip is not None)

    def take(self, clip: Clip) -> None:
        """Give a clip to a worker that is free; see `is_free`."""
        worker = next((each for each in self._workers if each.clip is None), None)
        if worker is None:
            worker = _Worker(self._spec, self._choice)
            self._workers.append(worker)
        worker.begin(clip)

    def answers(self, timeout_s: float) -> list[Answer]:
        """What has been heard of them; waits for something for a while."""
        by_pipe = {each.connection: each for each in self._workers}
        by_end = {each.sentinel: each for each in self._workers}
        ready = wait([*by_pipe, *by_end], timeout_s)
        found: list[Answer] = []
        # What a worker has sent before it ended comes first.
        for connection in (each for each in ready if isinstance(each, Connection)):
            answer = by_pipe[connection].hear()
            if answer is not None:
                found.append(answer)
        for sentinel in (each for each in ready if isinstance(each, int)):
            worker = by_end[sentinel]
            while (answer := worker.hear()) is not None:
                found.append(answer)
            self._workers.remove(worker)
            clip = worker.clip
            how = worker.end()
            if clip is not None:
                found.append(Died(clip, how))
        return found

    def withdraw(self) -> tuple[Clip, ...]:
        """None: what is taken is begun."""
        return ()

    def close(self) -> None:
        """Let those that are idle end, and end the others at once."""
        for worker in self._workers:
            worker.dismiss()
        for worker in self._workers:
            worker.end()
        self._workers.clear()


class _Worker:
    def __init__(self, spec: ClipSpec, choice: Choice | None) -> None:
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        self.clip: Clip | None = None
        self._process = context.Process(
            target=_work,
            args=(theirs, spec, choice, names_options()),
            name="roadseg-worker",
            daemon=True,
        )
        with _without_ctrl_c():
            self._process.start()
        # Ours must be the only other end, or its closing would not be noticed.
        theirs.close()

    @property
    def sentinel(self) -> int:
        return self._process.sentinel

    def begin(self, clip: Clip) -> None:
        self.clip = clip
        # One that has just died is found by its end.
        with contextlib.suppress(BrokenPipeError):
            self.connection.send(clip)

    def hear(self) -> Answer | None:
        """The next of what it has said, None for nothing."""
        try:
            if not self.connection.poll():
                return None
            answer: Answer = self.connection.recv()
        except (EOFError, OSError):
            return None
        if not isinstance(answer, Going):
            self.clip = None
        return answer

    def dismiss(self) -> None:
        """Ask it to end when it is idle; one that works ends now."""
        if self.clip is not None:
            self._process.kill()
        self.connection.close()

    def end(self) -> str:
        """Make sure that it is gone; how it ended, for people."""
        self._process.join(_PATIENCE_S)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()
        code = self._process.exitcode or 0
        self._process.close()
        self.connection.close()
        if code >= 0:
            return f"ended with code {code}"
        try:
            return f"killed by {signal.Signals(-code).name}"
        except ValueError:
            return f"killed by signal {-code}"


@contextmanager
def _without_ctrl_c() -> Iterator[None]:
    """A process that is started inside never hears of Ctrl-C, nor of a terminal that closes: those
    go to all processes of a terminal, and the parent decides what they mean."""
    if os.name == "nt":
        yield
        return
    # Or starting the process would start it, which ends with SIGINT no longer held back.
    resource_tracker.ensure_running()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGHUP})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def _work(
    connection: Connection, spec: ClipSpec, choice: Choice | None, types_options: bool
) -> None:
    """What a worker does, until its parent closes the pipe."""
    share_one_arena()
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, name="roadseg-parent", daemon=True).start()
    with contextlib.ExitStack() as stack:
        if types_options:
            stack.enter_context(naming_options())
        try:
            worker = stack.enter_context(ClipWorker(spec, choice))
        except RoadsegError as exc:
            connection.send(exc)
            return
        while True:
            try:
                clip: Clip = connection.recv()
            except EOFError:
                return
            connection.send(process_safely(worker, clip, _reporter(connection, clip)))


def process_safely(
    worker: ClipWorker, clip: Clip, report: Callable[[Progress], None]
) -> ClipResult:
    """Process a clip; a bug that it brings to light is a result as well."""
    try:
        return worker(clip, report)
    except Exception as exc:  # noqa: BLE001  (a bug that one clip has found: the others go on)
        _log.exception("unexpected error at %s", clip.path)
        return ClipResult(
            clip=printable(clip.path),
            name=clip.name,
            state="failed",
            work=worker.work.key,
            exit_code=1,
            error=printable(f"unexpected {type(exc).__name__}: {exc}"),
            fix="report the traceback of 'roadseg --debug run' on this clip",
            model=worker.work.model,
            model_sha256=worker.work.model_sha256,
            options=worker.work.options,
            version=worker.work.version,
            parts=tuple(map(printable, clip.parts)),
        )


def _reporter(connection: Connection, clip: Clip) -> Callable[[Progress], None]:
    """Sends progress, now and then."""
    return now_and_then(
        lambda progress: connection.send(Going(clip, progress.frames_out, progress.frame_count))
    )


def now_and_then(send: Callable[[Progress], None]) -> Callable[[Progress], None]:
    """Calls `send` once a second at most, and not in the first one."""
    sent_s = time.monotonic()

    def report(progress: Progress) -> None:
        nonlocal sent_s
        now_s = time.monotonic()
        if now_s - sent_s >= _PROGRESS_S:
            sent_s = now_s
            send(progress)

    return report


def _end_with_parent() -> None:
    """End this process when its parent does: nobody would ask for the result."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
