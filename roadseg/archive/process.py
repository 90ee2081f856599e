"""One clip, from its file to its results in the archive's folder.

>>> spec = ClipSpec(Path("results"), writes=("overlay", "timeline"))
>>> result = process_clip("drives/monday.mp4", spec)
>>> result.state, result.outputs[0].path
('done', 'monday/overlay.mp4')

`ClipWorker` does the same for many clips with one network.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

from roadseg.archive.clip import Clip
from roadseg.archive.identity import identity, joint_identity
from roadseg.archive.publishing import (
    outputs_in,
    publish,
    remove_unfinished,
    unfinished_folder,
)
from roadseg.archive.remote import fetched
from roadseg.archive.result import ClipResult
from roadseg.archive.spec import ClipSpec
from roadseg.archive.work import work_of
from roadseg.core.closing import Closing
from roadseg.core.cv2_check import one_opencv_thread
from roadseg.core.errors import RoadsegError, SourceError
from roadseg.core.files import printable
from roadseg.loading.choice import Choice, choose
from roadseg.loading.segmenter import Segmenter
from roadseg.video.opening import open_video
from roadseg.video.stats import Progress

OnProgress: TypeAlias = Callable[[Progress], None]

_DISK_FULL = (errno.ENOSPC, errno.EDQUOT)


class ClipWorker(Closing):
    """Processes clips, one after the other, with a network that is opened once.

    A context manager, or to be closed.

    Args:
        spec: what is done with each.
        choice: what runs the network, where that is decided already; None to decide it here, from
            the files of this machine.

    Attributes:
        work: what that is, as digest and as words; see `roadseg.archive.work.Work`.

    Raises:
        RoadsegError: the specification, or the model that it names, cannot be used.
    """

    def __init__(self, spec: ClipSpec, choice: Choice | None = None) -> None:
        spec.check()
        self.spec = spec
        self._segmenter = Segmenter.of(
            choice or chosen(spec), scores=spec.video("", Path()).all_reading.wants_doubt
        )
        spec.check_reading(self._segmenter.classes)
        self.work = work_of(spec, self._segmenter.choice)

    def __call__(self, clip: Clip, on_progress: OnProgress | None = None) -> ClipResult:
        """Process one clip; see `process_clip`."""
        started_s = time.monotonic()
        result = ClipResult(
            clip=printable(clip.path),
            name=clip.name,
            state="failed",
            work=self.work.key,
            model=self.work.model,
            model_sha256=self.work.model_sha256,
            options=self.work.options,
            version=self.work.version,
            parts=tuple(map(printable, clip.parts)),
        )
        try:
            with fetched(clip) as local:
                result = replace(result, identity=self._identity(local))
                with unfinished_folder(self.spec.output, self.spec.unfinished) as folder:
                    result = self._process(local, result, folder, on_progress)
                result = replace(
                    result,
                    error=_in_own_names(result.error, local, result),
                    fix=_in_own_names(result.fix, local, result),
                )
        except RoadsegError as exc:
            result = _failed(result, exc)
        return replace(result, seconds=round(time.monotonic() - started_s, 3))

    def close(self) -> None:
        """Close the network."""
        self._segmenter.close()

    def _identity(self, clip: Clip) -> str:
        full = self.spec.full_hash
        found = [identity(Path(file), full=full) for file in clip.files]
        return joint_identity(found, full=full) if clip.parts else found[0]

    def _process(
        self, clip: Clip, result: ClipResult, folder: Path, on_progress: OnProgress | None
    ) -> ClipResult:
        target = self.spec.output / clip.name
        before = _stamps(clip)
        try:
            result, error = self._run(clip, result, folder, on_progress)
            if error is not None:
                raise error
            if _stamps(clip) != before:
                raise SourceError(
                    f"{result.clip} was written to while it was read",
                    fix="wait until it is complete",
                )
            result = replace(result, state="done", outputs=outputs_in(folder, clip.name))
            publish(folder, self.spec.output, result)
        except RoadsegError as exc:
            result = _failed(result, exc)
        # The name that they were written under says nothing to anyone.
        hidden, shown = str(folder), printable(str(target))
        return replace(
            result,
            error=result.error.replace(hidden, shown),
            fix=result.fix.replace(hidden, shown),
        )

    def _run(
        self, clip: Clip, result: ClipResult, folder: Path, on_progress: OnProgress | None
    ) -> tuple[ClipResult, RoadsegError | None]:
        """Write the clip's files into a folder.

        Returns:
            What was read and written, as part of the result, and what ended it before the clip did.

        Raises:
            RoadsegError: it did not begin.
        """
        options = replace(self.spec.video(clip.path, folder), parts=tuple(map(Path, clip.parts)))
        # What does not depend on how many cores there are, and how fast they are.
        options = replace(options, coding_threads=1, ages=False)
        calm = replace(options.reading, temperature=self._segmenter.choice.temperature)
        options = replace(options, reading=calm)
        error = None
        with one_opencv_thread(), open_video(options, self._segmenter) as loop:
            loop.on_progress = on_progress
            try:
                loop.run()
            except RoadsegError as exc:
                error = exc
            stats = loop.stats()
            hidden, shown = str(folder), str(self.spec.output / clip.name)
            told = (printable(each.replace(hidden, shown)) for each in stats.warnings)
            result = replace(
                result,
                frames_in=stats.frames_in,
                frames_out=stats.frames_out,
                frames_lost=stats.frames_lost,
                duration_s=round(loop.plays_s, 6),
                warnings=(*clip.notes, *(_in_own_names(each, clip, result) for each in told)),
            )
        return result, error


def chosen(spec: ClipSpec) -> Choice:
    """What runs the network of a specification; see `roadseg.loading.choice.choose`."""
    return choose(spec.model, spec.backend, size_hw=spec.size_hw, threads=spec.threads)


def process_clip(
    path: str | os.PathLike[str], spec: ClipSpec, name: str | None = None
) -> ClipResult:
    """Process one clip, and put its results into a folder of its own in the archive's.

    That folder appears when all of it is there; an older result of that name is replaced. The
    ledger is left alone: it is the archive's.

    Args:
        path: a video file, an image, a folder of images, or the URL of a video file.
        spec: what to do with it.
        name: of the clip's folder; default: that of the file, without suffix.

    Returns:
        What became of it: a clip that cannot be read, or results that cannot be written, are a
        result with the state `failed`, and with the exit code, the error and the fix of the
        `RoadsegError` that said so.

    Raises:
        RoadsegError: the specification, or the model that it names, cannot be used.
    """
    clip = Clip(os.fspath(path), Path(path).stem if name is None else name)
    with ClipWorker(spec) as worker:
        result = worker(clip)
    remove_unfinished(spec.output / spec.unfinished, only_empty=True)
    return result


def _failed(result: ClipResult, error: RoadsegError) -> ClipResult:
    return replace(
        result,
        state="failed",
        exit_code=error.exit_code,
        error=printable(error.what),
        fix=printable(error.fix),
        outputs=(),
        disk_full=_is_disk_full(error),
    )


def _in_own_names(text: str, local: Clip, result: ClipResult) -> str:
    """A message with the clip's own names, in place of the files that it was fetched to."""
    for file, own in zip(local.files, result.parts or (result.clip,), strict=True):
        if printable(file) != own:
            text = text.replace(printable(file), own)
    return text


def _is_disk_full(error: BaseException | None) -> bool:
    while error is not None:
        if isinstance(error, OSError) and error.errno in _DISK_FULL:
            return True
        error = error.__cause__
    return False


def _stamps(clip: Clip) -> list[tuple[int, int]]:
    """Sizes and times of the files, which tell whether somebody writes to them meanwhile."""
    try:
        stats = [os.stat(file) for file in clip.files]
    except OSError:
        return []
    return [(stat.st_size, stat.st_mtime_ns) for stat in stats]
