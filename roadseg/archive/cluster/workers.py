"""Workers of a Ray cluster, for the loop that also has processes of its own as workers.

Clips go to Ray in rounds of some thousand. A round is a dataset with one row and one block a clip,
which `map` hands to a pool of actors. A clip whose worker dies is answered as lost, and belongs to
a later round if it is tried again: Ray's own retries, without end, would let a clip that kills its
workers take the whole cluster.
"""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import queue
import secrets
import threading
import time
from collections.abc import Iterator
from typing import Any

from roadseg.archive.clip import Clip
from roadseg.archive.cluster.actors import LOST, NOT_BEGUN, Board, ClipActor
from roadseg.archive.result import ClipResult
from roadseg.archive.spec import ClipSpec
from roadseg.archive.workers import Answer, Died, Going
from roadseg.core.errors import BackendError, RoadsegError, last_line
from roadseg.core.files import printable
from roadseg.core.wording import names_options

_ROUND = 10_000
_NEWS_S = 1.0
_PATIENCE_S = 30.0
# Starts of workers without a clip in between, for each worker.
_STARTS = 5


class ClusterWorkers:
    """Actors of Ray; this process is connected, see `roadseg.archive.cluster.connection`.

    Args:
        spec: what they do with each clip; its folder exists.
        work: digest of what that is, see `roadseg.archive.work`.
        count: how many workers.
        cpus, gpus: what each takes of the cluster.
    """

    def __init__(self, spec: ClipSpec, work: str, count: int, cpus: float, gpus: float) -> None:
        self._spec, self._work = spec, work
        self._count, self._cpus, self._gpus = count, cpus, gpus
        self._token = f"cluster-{secrets.token_hex(8)}"
        self._taken: dict[str, Clip] = {}
        self._round: _Round | None = None
        place = spec.output / spec.unfinished
        place.mkdir(parents=True, exist_ok=True)
        (place / self._token).touch()

    @property
    def is_free(self) -> bool:
        """Whether one more clip belongs to the next round."""
        return self._round is None and len(self._taken) < _ROUND

    @property
    def clips(self) -> tuple[Clip, ...]:
        """What was taken and has no answer yet."""
        return tuple(self._taken.values())

    def take(self, clip: Clip) -> None:
        """Put a clip into the next round; see `is_free`."""
        self._taken[printable(clip.name)] = clip

    def answers(self, timeout_s: float) -> list[Answer]:
        """What has been heard of them; waits for something for a while.

        A caller that waits has no more clips to give for now: what was taken becomes a round.
        """
        if self._round is None:
            if not self._taken or not timeout_s:
                return []
            self._round = self._begin_round()
        found: list[Answer] = []
        for name, answer in self._round.heard(timeout_s):
            clip = self._taken.pop(name, None)
            if isinstance(answer, (ClipResult, RoadsegError)):
                found.append(answer)
            elif isinstance(answer, str) and clip is not None:
                found.append(Died(clip, f"Ray lost {answer.removeprefix(LOST).strip()}"))
        found += self._news(self._round)
        if self._round.is_over:
            found += self._end_round(self._round)
            self._round = None
        return found

    def withdraw(self) -> tuple[Clip, ...]:
        """Begin no more clips; those that were taken and are not begun."""
        begun = set() if self._round is None else self._round.stop()
        names = [name for name in self._taken if name not in begun]
        return tuple(self._taken.pop(name) for name in names)

    def close(self) -> None:
        """End them, at once."""
        if self._round is not None:
            self._round.give_up()
            self._round = None

    def _begin_round(self) -> _Round:
        import ray

        board = ray.remote(Board).options(num_cpus=0, **_beside_the_driver()).remote()
        rows = [{"name": name, "clip": pickle.dumps(clip)} for name, clip in self._taken.items()]
        arguments = (
            self._spec,
            self._work,
            self._token,
            os.getcwd(),
            board,
            names_options(),
        )
        count = min(self._count, len(rows))
        return _Round(rows, count, self._cpus, self._gpus, board, arguments)

    def _news(self, current: _Round) -> Iterator[Answer]:
        starts, progress = current.news()
        if starts > _STARTS * self._count:
            yield BackendError(
                "the workers of the Ray cluster die before they can work",
                fix="look into their logs, in /tmp/ray/session_latest/logs on each machine",
            )
        for name, (frames_out, frame_count) in progress.items():
            clip = self._taken.get(name)
            if clip is not None:
                yield Going(clip, frames_out, frame_count)

    def _end_round(self, ended: _Round) -> Iterator[Answer]:
        if ended.error is not None:
            reason = last_line(ended.error)
            yield BackendError(
                f"Ray gave up ({reason})",
                fix="make sure that the cluster runs, and run the same again",
            )
        # There are none, unless Ray drops a row without a word.
        for clip in self._taken.values():
            yield Died(clip, "Ray gave no answer")
        self._taken.clear()


class _Round:
    """One dataset, whose results a thread waits for."""

    def __init__(
        self,
        rows: list[dict[str, Any]],
        count: int,
        cpus: float,
        gpus: float,
        board: Any,
        arguments: tuple[object, ...],
    ) -> None:
        import ray.data

        logging.getLogger("ray.data").setLevel(logging.ERROR)
        ray.data.DataContext.get_current().enable_progress_bars = False
        self._board = board
        self._answers: queue.SimpleQueue[tuple[str, bytes] | None] = queue.SimpleQueue()
        self._news_s = time.monotonic()
        self._gives_up = False
        self.error: BaseException | None = None
        self.is_over = False
        # Actors are started again, and their tasks, without end: that is Ray Data's default.
        data = ray.data.from_items(rows, override_num_blocks=len(rows)).map(
            ClipActor,
            fn_constructor_args=arguments,
            compute=ray.data.ActorPoolStrategy(size=count, max_tasks_in_flight_per_actor=1),
            num_cpus=cpus,
            num_gpus=gpus or None,
        )
        self._thread = threading.Thread(
            target=self._listen, args=(data,), name="roadseg-cluster", daemon=True
        )
        self._thread.start()

    def _listen(self, data: Any) -> None:
        try:
            for batch in data.iter_batches(
                batch_size=None, prefetch_batches=0, batch_format="pyarrow"
            ):
                for row in batch.to_pylist():
                    self._answers.put((row["name"], row["answer"]))
        except Exception as exc:  # noqa: BLE001  (Ray raises what it likes; the driver says it)
            self.error = exc
        finally:
            self._answers.put(None)

    def heard(self, timeout_s: float) -> Iterator[tuple[str, object]]:
        """Answers by the names of their clips, but for clips that were not begun."""
        while not self.is_over:
            try:
                entry = self._answers.get(timeout=timeout_s)
            except queue.Empty:
                return
            timeout_s = 0.0
            if entry is None:
                self.is_over = True
                return
            answer = pickle.loads(entry[1])
            if answer != NOT_BEGUN:
                yield entry[0], answer

    def news(self) -> tuple[int, dict[str, tuple[int, int | None]]]:
        """See `Board.news`; nothing where it was asked just now, or where the board is gone."""
        import ray

        now_s = time.monotonic()
        if now_s - self._news_s < _NEWS_S:
            return 0, {}
        self._news_s = now_s
        with contextlib.suppress(ray.exceptions.RayError):
            starts, progress = ray.get(self._board.news.remote(), timeout=_PATIENCE_S)
            return starts, progress
        return 0, {}

    def stop(self) -> set[str]:
        """See `Board.stop`."""
        import ray

        begun: set[str] = ray.get(self._board.stop.remote(), timeout=_PATIENCE_S)
        return begun

    def give_up(self) -> None:
        """End the workers, and with them the dataset."""
        import ray

        # That the actors die is what is wanted here, and no error to write about.
        logging.getLogger("ray.data").setLevel(logging.CRITICAL)
        with contextlib.suppress(ray.exceptions.RayError):
            self.stop()
            for worker in ray.get(self._board.workers.remote(), timeout=_PATIENCE_S):
                ray.kill(worker)
        self._thread.join(_PATIENCE_S)


def _beside_the_driver() -> dict[str, Any]:
    """Where the board is to be: with the machine of the driver it is lost, and so is the run."""
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    node = ray.get_runtime_context().get_node_id()
    return {"scheduling_strategy": NodeAffinitySchedulingStrategy(node, soft=True)}
