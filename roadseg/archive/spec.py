"""What is asked of an archive, and of each of its clips. Both are values: they can be pickled and
sent to a process or a machine elsewhere."""

from __future__ import annotations

import math
import re
from dataclasses import asdict, dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from roadseg.core.errors import UsageError
from roadseg.core.installing import require
from roadseg.core.labels import DEFAULT_PALETTE, ClassSet
from roadseg.core.size import SizeHW
from roadseg.core.wording import option
from roadseg.loading.choice import AUTO
from roadseg.video.opening import VideoOptions, check_look
from roadseg.video.reading import Reader, ReadingOptions

FILES = {
    "overlay": "overlay.mp4",
    "masks": "masks.mkv",
    "png-masks": "masks",
    "timeline": "timeline.parquet",
    "events": "events.jsonl",
}
"""What can be written for a clip, and what it is called in the clip's folder."""

UNFINISHED = ".unfinished"
"""Folder in the archive's where clips are written until they are complete."""


@dataclass(frozen=True, slots=True)
class ClipSpec:
    """What is done with each clip.

    Attributes:
        output: the archive's folder; each clip has one of its own in it.
        writes: what is written, keys of `FILES`.
        model, backend, size_hw: see `roadseg.Segmenter`; `auto` is not a model here, since what a
            machine can do may not change results.
        threads: CPU threads of the network; results do not depend on them.
        view, alpha, legend, palette, reuse, fps, stream: see `roadseg.video.opening.VideoOptions`.
        reading: what is read from each frame; its files are those of `writes`.
        full_hash: a clip is known by all of its content, and not by head, middle and tail.
        unfinished: name of the folder in `output` that holds what is not complete yet.
    """

    output: Path
    writes: tuple[str, ...] = ("overlay",)
    model: str = "segnet-lite"
    backend: str = "auto"
    size_hw: SizeHW | None = None
    threads: int | None = 1
    view: str = "overlay"
    alpha: float = 0.5
    legend: bool = True
    palette: str = DEFAULT_PALETTE
    reuse: int = 1
    fps: Fraction | None = None
    stream: int | None = None
    reading: ReadingOptions = field(default_factory=ReadingOptions)
    full_hash: bool = False
    unfinished: str = UNFINISHED

    def check(self) -> None:
        """Refuse what can be seen to be wrong before anything is opened.

        Raises:
            UsageError: there is nothing to write, or no such thing, or no events to write; the
                model is `auto`; or see `roadseg.video.opening.check_look`.
            BackendError: it needs a package that is not installed.
        """
        if self.model == AUTO:
            raise UsageError(
                f"{option('--model', AUTO)} follows the speed of the machine, and an archive is to "
                "be the same wherever it is made",
                fix=f"use {option('--model', 'segnet-lite')}",
            )
        wrong = [kind for kind in self.writes if kind not in FILES]
        if wrong or not self.writes:
            what = f"cannot write {wrong[0]!r}" if wrong else "there is nothing to write"
            some = ",".join(kind for kind in FILES if kind != "png-masks")
            raise UsageError(what, fix=f"use {option('--write', some, parameter='writes')}")
        if {"masks", "png-masks"} <= set(self.writes):
            raise UsageError(
                "masks and png-masks are the same twice",
                fix="write masks, one file a clip, or png-masks, a folder a clip",
            )
        if "events" in self.writes and not self.reading.rules:
            raise UsageError(
                "there are no events to write",
                fix="say what to watch for with "
                + option("--event", "NAME: car in corridor > 5%", parameter="rules"),
            )
        check_look(self.video("clip.mp4", Path("out")))

    def check_reading(self, classes: ClassSet) -> None:
        """Refuse read-outs, events and groups that the network's classes do not allow.

        Raises:
            UsageError: what is wrong; what depends on the size of pictures is left to each clip.
        """
        reading = self.video("", Path()).all_reading
        reading.check_groups(classes)
        if reading.wants_reader:
            Reader(reading, classes)

    def video(self, source: str, folder: Path) -> VideoOptions:
        """What the video loop is to do for one clip.

        Args:
            source: the clip, see `roadseg.media.sources.opening.open_source`.
            folder: for the files.
        """
        files = {kind: folder / FILES[kind] for kind in self.writes}
        return VideoOptions(
            source=source,
            output=files.get("overlay"),
            save_masks=files.get("masks") or files.get("png-masks"),
            view=self.view,
            alpha=self.alpha,
            legend=self.legend,
            palette=self.palette,
            hud=False,
            reuse=self.reuse,
            fps=self.fps,
            stream=self.stream,
            reading=replace(
                self.reading,
                timeline=files.get("timeline"),
                events=files.get("events"),
                event_clips=None,
            ),
        )

    def to_json(self) -> dict[str, object]:
        """What results depend on, as plain values for `json.dumps`."""
        values = asdict(self)
        for key in ("output", "threads", "unfinished"):
            del values[key]
        for key in ("timeline", "events", "event_clips", "roll", "temperature", "doubt_view"):
            del values["reading"][key]
        if self.reading.ignore_mask is not None:
            values["reading"]["ignore_mask"] = str(self.reading.ignore_mask)
        values["fps"] = None if self.fps is None else str(self.fps)
        values["writes"] = sorted(self.writes)
        return values


LOCAL_CLUSTER = "local"
AUTO_CLUSTER = "auto"


@dataclass(frozen=True, slots=True)
class Cluster:
    """A Ray cluster, whose machines have roadseg in the same version and share the output's folder.

    Attributes:
        address: `HOST:PORT`; `auto` is the one that this machine belongs to, and `local` one that
            is started on this machine for the run.
        cpus, gpus: what each worker takes of it; None: cores as the network has threads, and one
            GPU where the backend needs it.
    """

    address: str = LOCAL_CLUSTER
    cpus: float | None = None
    gpus: float | None = None

    def check(self) -> None:
        """Refuse what can be seen to be wrong before anything is looked for.

        Raises:
            UsageError: a number is out of range, or the address is none.
            BackendError: Ray is not installed.
        """
        for name, share in (("--worker-cpus", self.cpus), ("--worker-gpus", self.gpus)):
            if share is not None and not 0 <= share < math.inf:
                raise UsageError(
                    f"{option(name, share, parameter=name[9:])} cannot be", fix="give 0 or more"
                )
        known = self.address in (LOCAL_CLUSTER, AUTO_CLUSTER)
        if not known and not re.fullmatch(r"(?!.*://).+:[0-9]{1,5}", self.address):
            raise UsageError(
                f"{option('--ray', self.address, parameter='address')} is not the address of a Ray "
                "cluster",
                fix=f"use HOST:6379, {AUTO_CLUSTER} for the one that this machine belongs to, or "
                f"{LOCAL_CLUSTER} for one of this machine alone",
            )
        require("a Ray cluster", ("ray", "pyarrow"), "ray")


@dataclass(frozen=True, slots=True)
class ArchiveSpec:
    """An archive: which clips, and how they are worked through.

    Attributes:
        sources: files, folders, which are searched with all that is below, and patterns.
        clip: what is done with each.
        listed: files from a list; their results are named by their whole path.
        workers: processes that work at once; None: see `roadseg.archive.workers.default_workers`,
            and on a cluster as many as have room.
        attempts: how often a clip is begun before it has failed, where its worker is killed.
        retry_failed: try clips again that failed before.
        redo: do clips again that were done with other options.
        join: clips that a dashcam recorded in a loop are one drive.
        limit: at most so many clips in this run; None for all.
        shard: `(i, n)`: the i-th of n parts, from 1; each has a ledger of its own.
        cluster: where they work, instead of in processes of this one; None: here.
    """

    sources: tuple[str, ...]
    clip: ClipSpec
    listed: tuple[str, ...] = ()
    workers: int | None = None
    attempts: int = 3
    retry_failed: bool = False
    redo: bool = False
    join: bool = False
    limit: int | None = None
    shard: tuple[int, int] | None = None
    cluster: Cluster | None = None

    def check(self) -> None:
        """Refuse what can be seen to be wrong before anything is looked for.

        Raises:
            UsageError: a number is out of range; or see `ClipSpec.check`.
            BackendError: see `ClipSpec.check`.
        """
        self.clip.check()
        for name, number in (
            ("--workers", self.workers),
            ("--attempts", self.attempts),
            ("--limit", self.limit),
        ):
            if number is not None and number < 1:
                raise UsageError(f"{option(name, number)} cannot be", fix="give 1 or more")
        if self.cluster is not None:
            self.cluster.check()
        if self.shard is not None and not 1 <= self.shard[0] <= self.shard[1]:
            raise UsageError(
                f"there is no shard {self.shard[0]} of {self.shard[1]}",
                fix=f"the first of four is {option('--shard', '1/4')}",
            )
