"""A whole archive: finds its clips, has what is missing done, and keeps the ledger.

>>> spec = ArchiveSpec(("drives/",), ClipSpec(Path("results")))
>>> if __name__ == "__main__":             # worker processes import the program once more
...     state = process_archive(spec)
...     print(state.done, "of", state.clips)
50 of 50
"""

from __future__ import annotations

import hashlib
import logging
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TypeAlias

from roadseg.archive.clip import Clip
from roadseg.archive.drives.join import join_clips
from roadseg.archive.finding import find_clips
from roadseg.archive.ledger import Ledger, ledger_path, ledgers_in, open_ledger
from roadseg.archive.plan import Plan
from roadseg.archive.process import chosen
from roadseg.archive.publishing import remove_unfinished
from roadseg.archive.result import ClipResult
from roadseg.archive.room import Room
from roadseg.archive.spec import UNFINISHED, ArchiveSpec, ClipSpec
from roadseg.archive.state import ArchiveState, Tally
from roadseg.archive.stopping import StopRequests
from roadseg.archive.work import work_of
from roadseg.archive.workers import Crew, Died, Going, Workers, default_workers
from roadseg.core.errors import BackendError, EngineError, ModelError, RoadsegError, SinkError
from roadseg.core.file_lock import lock_target
from roadseg.core.files import hidden_beside, writing
from roadseg.core.wording import option
from roadseg.loading.choice import Choice

OnState: TypeAlias = Callable[[ArchiveState], None]
OnResult: TypeAlias = Callable[[ClipResult], None]

_log = logging.getLogger(__name__)

# What fails in the network clip after clip is not the clips' fault: a GPU that has gone, for
# example, would fail all that are left.
_NETWORK_ERRORS = {kind.exit_code: kind for kind in (ModelError, BackendError, EngineError)}
_MOST_NETWORK_FAILURES = 3

_WAIT_S = 0.25
_LOOK_S = 0.25


def process_archive(
    spec: ArchiveSpec, *, on_state: OnState | None = None, on_result: OnResult | None = None
) -> ArchiveState:
    """Do what is missing of an archive.

    Workers are processes that import the main module again: a program that calls this has its own
    code under `if __name__ == "__main__":`.

    Ctrl-C lets the clips that are worked on come to their end and begins no more; a second one, or
    SIGTERM, gives them up. What they wrote is removed then, and the next run does them.

    Args:
        spec: what to do.
        on_state: called a few times a second.
        on_result: called with each clip that this run has done, or that has failed.

    Returns:
        How it ended: a clip that has failed is no error of the archive.

    Raises:
        UsageError: an option is wrong; two clips would have one name; the archive holds results
            that were made with other options.
        SourceError: there is no clip.
        SinkError: the archive cannot be written, the disk is full, or another run writes to it.
        ModelError, BackendError, EngineError: the network cannot be opened, or three clips in a row
            have failed in it.
        KeyboardInterrupt: Ctrl-C, or what the handler of another signal raises.
    """
    spec.check()
    output, shard = spec.clip.output, spec.shard
    found = find_clips(spec.sources, output, listed=spec.listed)
    for note in found.notes:
        _log.warning(note)
    clips: Sequence[Clip] = found.clips
    if spec.join:
        clips = join_clips(clips, spec.clip.stream)
    clips = [clip for clip in clips if shard is None or shard_of(clip, shard[1]) == shard[0]]
    choice = chosen(spec.clip)
    spec.clip.check_reading(choice.classes)
    unfinished = UNFINISHED if shard is None else f"{UNFINISHED}-{shard[0]}-of-{shard[1]}"
    # All workers are to have what is chosen here; those of other machines look for it there.
    clip_spec = replace(spec.clip, backend=choice.backend, unfinished=unfinished)
    with ExitStack() as stack:
        fix = f"give another {option('--output')}"
        with writing(output, fix):
            output.mkdir(parents=True, exist_ok=True)
            lock = lock_target(hidden_beside(ledger_path(output, shard), ".lock"), str(output))
        if lock is not None:
            stack.callback(lock.release)
        remove_unfinished(output / unfinished)
        ledger = stack.enter_context(open_ledger(output, shard))
        for note in ledger.notes:
            _log.warning(note)
        work = work_of(clip_spec, choice)
        plan = Plan(spec, work, ledger)
        plan.agree([] if shard is None else [p for p in ledgers_in(output) if p != ledger.path])
        # Connecting to a cluster may take a while, and can be interrupted.
        crew = _crew(spec, clip_spec, choice, work.key, len(clips), stack)
        stop = stack.enter_context(StopRequests())
        stack.callback(remove_unfinished, output / unfinished)
        stack.callback(crew.close)
        run = _Run(spec, clips, plan, ledger, crew, stop, on_state, on_result)
        run.work()
        return run.state()


def shard_of(clip: Clip, count: int) -> int:
    """The shard that a clip belongs to, from 1: by its name, so that more clips move none."""
    digest = hashlib.sha256(clip.name.encode()).digest()
    return int.from_bytes(digest[:8], "big") % count + 1


def _crew(
    spec: ArchiveSpec,
    clip_spec: ClipSpec,
    choice: Choice,
    work: str,
    clips: int,
    stack: ExitStack,
) -> Crew:
    """Workers here, or on a cluster; `stack` ends the connection to it."""
    threads, backend = clip_spec.threads, clip_spec.backend
    most = max(clips, 1)
    here = spec.workers or default_workers(backend, threads)
    if spec.cluster is None:
        return Workers(clip_spec, min(here, most), choice)
    from roadseg.archive.cluster.connection import connected, workers_that_fit
    from roadseg.archive.cluster.workers import ClusterWorkers

    cpus = float(threads or 1) if spec.cluster.cpus is None else spec.cluster.cpus
    gpus = float(backend == "tensorrt") if spec.cluster.gpus is None else spec.cluster.gpus
    stack.enter_context(connected(spec.cluster, here * cpus))
    fit = workers_that_fit(cpus, gpus)
    return ClusterWorkers(clip_spec, work, min(spec.workers or fit, fit, most), cpus, gpus)


class _Run:
    """One run over an archive's clips: what to begin, what to make of answers, when to end."""

    def __init__(
        self,
        spec: ArchiveSpec,
        clips: Sequence[Clip],
        plan: Plan,
        ledger: Ledger,
        workers: Crew,
        stop: StopRequests,
        on_state: OnState | None,
        on_result: OnResult | None,
    ) -> None:
        self._spec, self._plan, self._ledger = spec, plan, ledger
        self._workers, self._stop = workers, stop
        self._on_state, self._on_result = on_state, on_result
        self._tally = Tally(
            sum(len(clip.files) for clip in clips), sum(clip.bytes for clip in clips)
        )
        self._room = Room(spec.clip.output)
        self._unseen: Iterator[Clip] = iter(clips)
        self._all_seen = False
        self._again: deque[Clip] = deque()
        self._attempts: dict[str, int] = {}
        self._going: dict[str, Going] = {}
        self._begun = 0
        self._is_full = False
        self._waits = False  # for room on the disk
        self._announced = False
        self._network_failures = 0

    def work(self) -> None:
        """Until all is done, or nothing more is to be begun.

        Raises:
            RoadsegError: see `process_archive`.
        """
        try:
            self._work()
        finally:
            self._show()
        if self._is_full:
            tally = self._tally
            raise self._room.full(tally.clips - tally.settled, tally.bytes - tally.settled_bytes)

    def _work(self) -> None:
        while not self._stop.at_once:
            self._begin()
            if self._stop.soon or self._is_full:
                self._withdraw()
            busy = bool(self._workers.clips)
            if not busy and (self._takes_no_more or (self._all_seen and not self._again)):
                break
            looking = self._workers.is_free and not self._takes_no_more and not self._all_seen
            looking = looking and not self._waits
            for answer in self._workers.answers(0.0 if looking else _WAIT_S):
                self._hear(answer)
            self._show()
            if self._stop.soon and busy and not (self._announced or self._stop.at_once):
                self._announced = True
                count = len(self._workers.clips)
                clips = "one clip" if count == 1 else f"{count} clips"
                _log.warning(f"finishing {clips}; Ctrl-C again gives them up")

    def _show(self) -> None:
        if self._on_state is not None:
            self._on_state(self.state())

    def state(self) -> ArchiveState:
        """How far it is."""
        return self._tally.state(self._going.values())

    @property
    def _takes_no_more(self) -> bool:
        limit = self._spec.limit
        limited = limit is not None and self._begun >= limit and not self._again
        return self._stop.soon or self._is_full or limited

    def _begin(self) -> None:
        """Give workers that are free something to do."""
        until_s = time.monotonic() + _LOOK_S
        self._waits = False
        while self._workers.is_free and not self._takes_no_more:
            clip = self._next(until_s)
            if clip is None:
                return
            going = sum(each.bytes for each in self._workers.clips)
            if not self._room.fits(clip.bytes + going):
                self._again.appendleft(clip)
                # Those that are worked on may need less than they were thought to.
                self._is_full = not going and not self._workers.clips
                self._waits = True
                return
            if clip.name not in self._attempts:
                self._begun += 1
            self._attempts[clip.name] = self._attempts.get(clip.name, 0) + 1
            self._going[clip.name] = Going(clip)
            self._workers.take(clip)

    def _withdraw(self) -> None:
        """Take back what workers have not begun."""
        for clip in self._workers.withdraw():
            del self._going[clip.name]
            self._attempts[clip.name] -= 1
            self._again.append(clip)

    def _next(self, until_s: float) -> Clip | None:
        """The next clip that is to be done; None for none, or none found until then."""
        if self._again:
            return self._again.popleft()
        while time.monotonic() < until_s and not self._stop.soon:
            clip = next(self._unseen, None)
            if clip is None:
                self._all_seen = True
                return None
            result = self._plan.existing(clip)
            if result is None:
                return clip
            self._plan.note_parts(clip, result)
            self._learn(clip, result)
            self._tally.settle(clip, result, now=False)
        return None

    def _hear(self, answer: Going | ClipResult | Died | RoadsegError) -> None:
        if isinstance(answer, RoadsegError):
            raise answer
        if isinstance(answer, Going):
            self._going[answer.clip.name] = answer
            return
        if isinstance(answer, ClipResult):
            self._end(self._going.pop(answer.name).clip, answer)
            return
        clip = self._going.pop(answer.clip.name).clip
        attempts = self._attempts[clip.name]
        existing = self._plan.existing(clip)
        if existing is not None and existing.state == "done":
            self._end(clip, existing)  # it died after its work
        elif attempts < self._spec.attempts:
            _log.warning(f"a worker was lost at {clip.path} ({answer.how}): it is tried again")
            self._again.append(clip)
        else:
            self._end(clip, self._plan.lost(clip, attempts, answer.how))

    def _end(self, clip: Clip, result: ClipResult) -> None:
        """A clip is done, or has failed for good."""
        if result.disk_full:
            self._is_full = True
            return
        error = _NETWORK_ERRORS.get(result.exit_code)
        self._network_failures = 0 if error is None else self._network_failures + 1
        result = replace(result, attempts=self._attempts.pop(clip.name, 1))
        try:
            self._ledger.put(result)
            self._plan.note_parts(clip, result)
        except SinkError:
            if self._room.fits(0):
                raise
            self._is_full = True  # its files are there, and get their row in the next run
            return
        self._learn(clip, result)
        self._tally.settle(clip, result, now=True)
        if self._on_result is not None:
            self._on_result(result)
        if error is not None and self._network_failures == _MOST_NETWORK_FAILURES:
            raise error(result.error, fix=f"{result.fix}; then {option('--retry-failed', True)}")

    def _learn(self, clip: Clip, result: ClipResult) -> None:
        if result.state == "done":
            self._room.learn(clip.bytes, result.bytes_out)
