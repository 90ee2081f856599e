"""What the page shows of one clip.

To look into the files of a clip takes a tenth of a second, which is much for thousands of clips:
digests are kept, and made again where the clip has changed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from roadseg.archive.result import ClipResult
from roadseg.core.errors import RoadsegError, SinkError, SourceError
from roadseg.core.files import unwritable, write_bytes, write_json
from roadseg.core.records import read_record
from roadseg.media.gps.clip import driven_m
from roadseg.media.gps.recorded import reads_recorded
from roadseg.media.gps.sidecar import sidecar_of
from roadseg.media.mask_video import MaskVideo
from roadseg.media.thumbnails import thumbnails
from roadseg.road.vocabulary import GROUPS
from roadseg.video.reading.parquet import read_rows
from roadseg.video.reading.table import intervals

BINS = 48
"""Parts of a clip's time: a bar of them is as wide as a thumbnail."""

_VERSION = 3
_WIDTH = 240
_JPEG_QUALITY = [cv2.IMWRITE_JPEG_QUALITY, 78]
_FIX = "free the space it needs; the results are complete without a report"
_LEAST_SHARE = 0.005  # a class that covers less of a clip has no place in its bar
_SHARE = "share_"
_NO_TRACK = "its way is not known"
_INSIDE = " itself"


@dataclass(frozen=True)
class Digest:
    """What the page shows of a clip that is done.

    Attributes:
        shares: of the picture that each class covers, 0 to 1, over all of the clip.
        bars: of each class that matters, `BINS` shares over the clip's time, in 1/63; None where
            nothing is known of the shares.
        events: name, first and last second.
        picture: there is a thumbnail.
        driven_m: how long the way was, by GPS; None where that is not known.
        tracks: the files with tracks beside the clip when `driven_m` was found out; None where the
            clip was not there.
        notes: what could not be read, one line each.
        version: of this record.
    """

    shares: dict[str, float] = field(default_factory=dict)
    bars: dict[str, list[int]] = field(default_factory=dict)
    events: tuple[tuple[str, float, float], ...] = ()
    picture: bool = False
    driven_m: float | None = None
    tracks: tuple[str, ...] | None = None
    notes: tuple[str, ...] = ()
    version: int = _VERSION


class Digests:
    """The digests of an archive, and the pictures.

    Args:
        output: the archive's folder.
        folder: where digests are kept; created where it is missing.

    Raises:
        SinkError: the folder cannot be made.
    """

    def __init__(self, output: Path, folder: Path) -> None:
        self._output, self._folder = output, folder
        self._used: set[str] = set()
        try:
            folder.mkdir(exist_ok=True)
        except OSError as exc:
            raise unwritable(folder, exc, _FIX) from exc

    def of(self, result: ClipResult) -> Digest:
        """What is known of a clip that is done.

        Raises:
            SinkError: it cannot be kept.
        """
        path = self._folder / f"{_key(result)}.json"
        picture = self.picture(result)
        self._used |= {path.name, picture.name}
        tracks = _tracks(result)
        digest = self._kept(path, picture, result)
        if digest is None:
            digest = self._make(result, picture)
        elif tracks is None or not _more(tracks, digest.tracks):
            return digest
        if tracks is not None:
            digest = _with_way(digest, result, tracks)
        write_json(path, asdict(digest), fix=_FIX)
        return digest

    def picture(self, result: ClipResult) -> Path:
        """Where a clip's thumbnail is, if it has one."""
        return self._folder / f"{_key(result)}.jpg"

    def forget_others(self) -> None:
        """Remove what was kept of clips that `of` was not asked for."""
        for path in self._folder.iterdir():
            if path.name not in self._used:
                with contextlib.suppress(OSError):
                    path.unlink()

    def _kept(self, path: Path, picture: Path, result: ClipResult) -> Digest | None:
        """What was found out, unless more can be by now: a disk is there again, or a package."""
        with contextlib.suppress(OSError, SinkError):
            kept = read_record(path, Digest, SinkError, fix="")
            is_whole = all(note.startswith(_NO_TRACK) for note in kept.notes)
            has_all = (
                picture.is_file() if kept.picture else _pictures_of(self._output, result) is None
            )
            if kept.version == _VERSION and is_whole and has_all:
                return kept
        return None

    def _make(self, result: ClipResult, picture: Path) -> Digest:
        notes: list[str] = []
        shares, bars, events = self._timeline(result, notes)
        if not bars:
            shares, bars = self._masks(result, notes)
        events = self._events(result, notes) or events
        middle_s = result.duration_s / 2
        if events:
            middle_s = (events[0][1] + events[0][2]) / 2
        return Digest(
            shares={name: round(share, 4) for name, share in shares.items()},
            bars=bars,
            events=tuple((name, round(a, 2), round(b, 2)) for name, a, b in events),
            picture=self._draw(result, middle_s, picture, notes),
            notes=tuple(notes),
        )

    def _timeline(
        self, result: ClipResult, notes: list[str]
    ) -> tuple[dict[str, float], dict[str, list[int]], list[tuple[str, float, float]]]:
        timeline = result.output("timeline")
        if timeline is None:
            return {}, {}, []
        try:
            names, values, _is_cut = read_rows(self._output / timeline.path)
        except (OSError, ValueError, ImportError) as exc:
            notes.append(f"its timeline cannot be read ({exc})")
            return {}, {}, []
        columns = dict(zip(names, values, strict=True))
        times_s = np.array(columns["time_s"], np.float64)
        events = intervals(times_s.tolist(), columns["events"]) if "events" in columns else []
        shares = {
            name[len(_SHARE) :].replace("_", " "): np.array(columns[name], np.float64)
            for name in names
            if name.startswith(_SHARE)
        }
        return *_shares(times_s, _of_classes(shares, _groups(result))), events

    def _masks(
        self, result: ClipResult, notes: list[str]
    ) -> tuple[dict[str, float], dict[str, list[int]]]:
        """From one mask for each part of the time: to read them all would take seconds."""
        output = result.output("masks")
        if output is None:
            return {}, {}
        try:
            with MaskVideo(self._output / output.path) as masks:
                some = np.linspace(0, len(masks) - 1, min(len(masks), BINS)).round().astype(int)
                counts = [
                    np.bincount(ids.ravel(), minlength=256)[: len(masks.classes)] / ids.size
                    for ids in (masks[int(number)] for number in some)
                ]
                by_class = dict(zip(masks.classes, np.array(counts).T, strict=True))
                return _shares(masks.times_s[some], by_class)
        except (RoadsegError, ValueError) as exc:
            notes.append(f"its masks cannot be read ({exc})")
            return {}, {}

    def _events(self, result: ClipResult, notes: list[str]) -> list[tuple[str, float, float]]:
        output = result.output("events")
        if output is None:
            return []
        try:
            lines = (self._output / output.path).read_text(encoding="utf-8").splitlines()
            events = [json.loads(line) for line in lines]
            return [
                (str(each["name"]), float(each["start_s"]), float(each["end_s"])) for each in events
            ]
        except (OSError, ValueError, LookupError, TypeError) as exc:
            notes.append(f"its events cannot be read ({exc})")
            return []

    def _draw(self, result: ClipResult, time_s: float, path: Path, notes: list[str]) -> bool:
        video = _pictures_of(self._output, result)
        if video is None:
            return False
        try:
            image = thumbnails(video, [time_s], _WIDTH)[0]
        except RoadsegError as exc:
            notes.append(f"it has no picture here ({exc.what})")
            return False
        if image is None:
            return False
        write_bytes(
            path, cv2.imencode(".jpg", image, _JPEG_QUALITY)[1].tobytes(), fix=_FIX, durable=False
        )
        return True


def _tracks(result: ClipResult) -> tuple[str, ...] | None:
    """The files with tracks beside a clip, as they are now: they often come later than the clip.

    Returns:
        Name, size and time of each, and the clips that were looked into for a track; None where the
        clip, or one file of a drive, is not there.
    """
    tracks = []
    try:
        for file in map(Path, result.parts or (result.clip,)):
            if not file.is_file():
                return None
            sidecar = sidecar_of(file)
            if sidecar is not None:
                stat = sidecar.stat()
                tracks.append(f"{sidecar.name} {stat.st_size} {stat.st_mtime_ns}")
            elif reads_recorded(file):
                tracks.append(f"{file.name}{_INSIDE}")
    except OSError:
        return None
    return tuple(tracks)


def _more(tracks: tuple[str, ...], before: tuple[str, ...] | None) -> bool:
    """Whether files tell another way than before. What was read inside of clips stays known where
    the package for it is gone."""
    if before is not None and not any(each.endswith(_INSIDE) for each in tracks):
        before = tuple(each for each in before if not each.endswith(_INSIDE))
    return tracks != before


def _with_way(digest: Digest, result: ClipResult, tracks: tuple[str, ...]) -> Digest:
    """With the way of a clip, or of all files of a drive whose way is known."""
    notes = [note for note in digest.notes if not note.startswith(_NO_TRACK)]
    ways = [_way(Path(file), notes) for file in result.parts or (result.clip,)]
    known = [each for each in ways if each is not None]
    whole = round(sum(known), 1) if known else None
    return replace(digest, driven_m=whole, tracks=tracks, notes=tuple(notes))


def _way(clip: Path, notes: list[str]) -> float | None:
    try:
        return driven_m(clip)
    except SourceError as exc:
        notes.append(f"{_NO_TRACK} ({exc.what})")
        return None


def _pictures_of(output: Path, result: ClipResult) -> Path | None:
    """What a thumbnail is made of. What was to be hidden is not taken from the source."""
    overlay = result.output("overlay")
    if overlay is not None and overlay.path.endswith(".mp4"):
        return output / overlay.path
    source = Path(result.clip)
    return None if hides(result) or not source.is_file() else source


def hides(result: ClipResult) -> bool:
    """Whether something was to be hidden: then nobody is shown the clip itself."""
    return bool(_options(result).get("reading", {}).get("blur"))


def _options(result: ClipResult) -> dict[str, Any]:
    options = json.loads(result.options)
    return options if isinstance(options, dict) else {}


def _groups(result: ClipResult) -> dict[str, set[str]]:
    """The user's groups and what each holds."""
    groups: dict[str, set[str]] = {}
    for each in _options(result).get("reading", {}).get("groups") or ():
        name, _, members = str(each).partition("=")
        groups[_plain(name)] = {_plain(member) for member in members.split(",")}
    return groups


def _plain(name: str) -> str:
    """A name as it comes back from a column."""
    return " ".join(name.replace("_", " ").split())


def _expanded(members: Iterable[str], columns: Collection[str]) -> set[str]:
    """With the classes of the groups that are known to all, `people`, in place of their names."""
    found = set()
    for member in members:
        if member in GROUPS and member not in columns:
            found |= _expanded(GROUPS[member], columns) & set(columns)
        else:
            found.add(member)
    return found


def _of_classes(
    shares: dict[str, npt.NDArray[np.float64]], groups: dict[str, set[str]]
) -> dict[str, npt.NDArray[np.float64]]:
    """Without groups, which say nothing new.

    A group may be called like a class that it holds, `road=road,pavement`: then the column has
    both, and the class is what the other members leave of it.
    """
    classes = {name: values for name, values in shares.items() if name not in groups}
    for name in shares:
        others = _expanded(groups.get(name, set()) - {name}, shares.keys())
        if name in groups.get(name, set()) and others <= classes.keys():
            classes[name] = shares[name] - sum(classes[other] for other in others - {name})
    return {name: classes[name] for name in shares if name in classes}


def _shares(
    times_s: npt.NDArray[np.float64], by_class: dict[str, npt.NDArray[np.float64]]
) -> tuple[dict[str, float], dict[str, list[int]]]:
    """Shares over all of the time, and bars of those that matter, the largest first."""
    if not times_s.size or not by_class:
        return {}, {}
    span_s = max(float(times_s[-1] - times_s[0]), 1e-9)
    at = np.minimum(((times_s - times_s[0]) / span_s * BINS).astype(int), BINS - 1)
    rows = np.bincount(at, minlength=BINS)
    shares = {}
    bars = {}
    for name, values in by_class.items():
        known = np.nan_to_num(values)
        shares[name] = float(known.mean())
        if shares[name] < _LEAST_SHARE:
            continue
        sums = np.bincount(at, weights=known, minlength=BINS)
        means = np.divide(sums, rows, out=np.zeros(BINS), where=rows > 0)
        # A part without a frame shows what was there before it.
        filled = np.maximum.accumulate(np.where(rows > 0, np.arange(BINS), 0))
        bars[name] = np.clip((means[filled] * 63).round(), 0, 63).astype(int).tolist()
    order = sorted(bars, key=lambda name: -shares[name])
    return shares, {name: bars[name] for name in order}


def _key(result: ClipResult) -> str:
    files = [f"{each.path} {each.bytes}" for each in result.outputs]
    what = "\0".join([result.name, result.identity, result.work, *files])
    return hashlib.sha256(what.encode()).hexdigest()[:24]
