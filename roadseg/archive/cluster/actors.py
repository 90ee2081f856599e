"""What runs on the cluster: an actor for each worker, and a board that knows what they do."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any, TypeAlias

from roadseg.archive.clip import Clip
from roadseg.archive.process import ClipWorker
from roadseg.archive.spec import ClipSpec
from roadseg.archive.workers import now_and_then, process_safely
from roadseg.core.errors import BackendError, RoadsegError, SinkError
from roadseg.core.wording import naming_options, option
from roadseg.video.stats import Progress

Row: TypeAlias = dict[str, Any]

_PROGRESS_S = 1.0

LOST = "lost"
"""Answer for a clip whose worker died: Ray has given it to another one."""

NOT_BEGUN = "not begun"
"""Answer for a clip that was not to be begun any more."""


class Board:
    """An actor beside the driver, which the workers ask before they begin a clip.

    Ray gives what a dead worker had to another one. The second one that asks for a clip learns by
    that of the first one's end.
    """

    def __init__(self) -> None:
        self._stopped = False
        self._begun: dict[str, str] = {}
        self._progress: dict[str, tuple[int, int | None]] = {}
        self._workers: list[Any] = []
        self._starts = 0

    def start(self, worker: Any) -> None:
        """A worker is there, and will open its network."""
        self._workers.append(worker)
        self._starts += 1

    def begin(self, name: str, worker: str) -> str:
        """Whether a clip is to be begun: empty for yes, else the answer, and after it who died.

        Args:
            name: of the clip.
            worker: who asks, for people.
        """
        self._starts = 0
        before = self._begun.get(name)
        if before is not None:
            return f"{LOST} {before}"
        if self._stopped:
            return NOT_BEGUN
        self._begun[name] = worker
        return ""

    def progress(self, name: str, frames_out: int, frame_count: int | None) -> None:
        """How far a clip is."""
        self._progress[name] = (frames_out, frame_count)

    def stop(self) -> set[str]:
        """Let no more clips begin; names of those that have begun."""
        self._stopped = True
        return set(self._begun)

    def news(self) -> tuple[int, dict[str, tuple[int, int | None]]]:
        """Workers that started since the last clip was begun; progress since the last call."""
        progress, self._progress = self._progress, {}
        return self._starts, progress

    def workers(self) -> list[Any]:
        """Handles of all workers there were."""
        return self._workers


class ClipActor:
    """A worker of the cluster, which Ray Data calls with one row after the other.

    Args:
        spec: what is done with each clip.
        work: digest of what that is, see `roadseg.archive.work`.
        token: name of a file in the folder of unfinished results, by which this machine is known to
            have the same folder.
        folder: the driver's, which relative paths belong to.
        board: a `Board`.
        types_options: whether messages name the options of the command line.
    """

    def __init__(
        self,
        spec: ClipSpec,
        work: str,
        token: str,
        folder: str,
        board: Any,
        types_options: bool,
    ) -> None:
        import ray

        self._board = board
        context = ray.get_runtime_context()
        board.start.remote(context.current_actor)
        self._who = f"process {os.getpid()} on {socket.gethostname()}"
        self._names = ExitStack()
        if types_options:
            self._names.enter_context(naming_options())
        # A machine without that folder may still have all that is named by whole paths.
        with contextlib.suppress(OSError):
            os.chdir(folder)
        self._error: RoadsegError | None = None
        try:
            _check_folder(spec, token)
            self._worker = ClipWorker(spec)
            if self._worker.work.key != work:
                raise BackendError(
                    f"{socket.gethostname()} has another version of roadseg, or other weights, "
                    "than the machine that asks",
                    fix="install the same on all machines of the cluster",
                )
        except RoadsegError as exc:
            # An exception would have Ray start it once more, and again.
            self._error = exc

    def __call__(self, row: Row) -> Row:
        """Process the clip of a row; the answer is a row, too."""
        return {"name": row["name"], "answer": pickle.dumps(self._answer(row))}

    def _answer(self, row: Row) -> object:
        import ray

        if self._error is not None:
            return self._error
        refusal: str = ray.get(self._board.begin.remote(row["name"], self._who))
        if refusal:
            return refusal
        clip: Clip = pickle.loads(row["clip"])
        return process_safely(self._worker, clip, self._reporter(row["name"]))

    def _reporter(self, name: str) -> Callable[[Progress], None]:
        """Sends progress, now and then."""
        return now_and_then(
            lambda progress: self._board.progress.remote(
                name, progress.frames_out, progress.frame_count
            )
        )


def _check_folder(spec: ClipSpec, token: str) -> None:
    """Make sure that results go where the driver looks for them.

    Raises:
        SinkError: they do not.
    """
    if not (spec.output / spec.unfinished / token).is_file():
        raise SinkError(
            f"{Path.cwd() / spec.output} on {socket.gethostname()} is another folder than the one "
            "of the machine that asks, or is not there",
            fix=f"give an {option('--output')} that all machines of the cluster share",
        )
