"""Which clips there are, and what the results of each are called.

A clip's folder has the clip's name without suffix, below the folders that lead to it from the
source that was given: `drives/` with `monday/a.mp4` has its results in `OUTPUT/monday/a/`.
"""

from __future__ import annotations

import glob
import os
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path, PurePath
from urllib.parse import unquote

from roadseg.archive.clip import Clip
from roadseg.archive.identity import size_of
from roadseg.archive.remote import find_remote, is_remote
from roadseg.core.errors import SourceError, UsageError, os_reason, reading, unreadable
from roadseg.core.files import printable
from roadseg.core.wording import option
from roadseg.media.sources.images import images_in, natural_key

VIDEO_SUFFIXES = frozenset(
    f".{suffix}"
    for suffix in [
        "3gp",
        "asf",
        "avi",
        "dav",
        "f4v",
        "flv",
        "h264",
        "264",
        "h265",
        "265",
        "hevc",
        "insv",
        "m1v",
        "m2ts",
        "m2v",
        "m4v",
        "mjpeg",
        "mjpg",
        "mkv",
        "mov",
        "mp4",
        "mpeg",
        "mpg",
        "mts",
        "mxf",
        "ogv",
        "ts",
        "vob",
        "webm",
        "wmv",
        "y4m",
    ]
)
"""What is taken for a clip in a folder; a file that is named may be called anything."""


_HERE = PurePath()


@dataclass(frozen=True, slots=True)
class Found:
    """What sources hold.

    Attributes:
        clips: in order, no two with the same name.
        notes: what could not be searched, one line each, for people.
    """

    clips: tuple[Clip, ...]
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Search:
    output: Path
    clips: list[Clip] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    seen: set[str] = field(default_factory=set)

    def add(self, path: Path, name: PurePath) -> None:
        """A clip, unless it was found before."""
        real = os.path.realpath(path)
        if real in self.seen:
            return
        self.seen.add(real)
        self.clips.append(Clip(str(path), _folder_name(name), size_of(path)))

    def source(self, path: Path, name: PurePath, below: PurePath = _HERE) -> None:
        """A file or folder that was given.

        Args:
            path: it.
            name: of a file.
            below: what the names in a folder begin with.

        Raises:
            UsageError: the output is inside of it.
        """
        if not os.path.isdir(path):  # also one that may not be looked at: its clip says so
            self.add(path, name)
            return
        if self.output == path.resolve() or path.resolve() in self.output.parents:
            raise _output_inside(self.output, path)
        images: list[Path] = []
        videos = False
        for folder, files in self._walk(path):
            for file in sorted((folder / each for each in files), key=natural_key):
                if file.suffix.lower() in VIDEO_SUFFIXES and file.is_file():
                    videos = True
                    self.add(file, below / file.relative_to(path))
            if not videos and any(images_in(folder)):
                images.append(folder)
        # Pictures beside videos are their thumbnails; without videos they are what was recorded.
        for folder in [] if videos else images:
            inside = below / folder.relative_to(path)
            self.add(folder, _no_suffix(inside if inside.parts else PurePath(path.resolve().name)))

    def remote(self, url: str) -> None:
        """A file, a folder or a pattern that lies elsewhere.

        Raises:
            SourceError: it is not there.
            BackendError: a package is missing.
        """
        found = find_remote(url)
        if len(found) != 1:
            found = [
                file
                for file in sorted(found, key=lambda file: natural_key(Path(file.name)))
                if PurePath(file.name).suffix.lower() in VIDEO_SUFFIXES
                and not any(part.startswith(".") for part in PurePath(file.name).parts)
            ]
        for file in found:
            self._add_remote(file.url, file.name, file.bytes)

    def remote_line(self, url: str) -> None:
        """A file of a list: it is not asked for, as there may be a million."""
        self._add_remote(url, unquote(url.partition("://")[2]), 0)

    def _add_remote(self, url: str, name: str, count: int) -> None:
        if url not in self.seen:
            self.seen.add(url)
            self.clips.append(Clip(url, _folder_name(PurePath(*_below_root(Path(name)))), count))

    def _walk(self, top: Path) -> Iterator[tuple[Path, list[str]]]:
        """Folders in natural order, each once, with the files in them; hidden ones are left out.

        Raises:
            UsageError: a link leads to the output.
        """
        entered: set[str] = set()

        def note(exc: OSError) -> None:
            self.notes.append(f"cannot search {exc.filename} ({os_reason(exc)})")

        for folder, below, files in os.walk(top, onerror=note, followlinks=True):
            real = os.path.realpath(folder)
            if real == str(self.output):
                raise _output_inside(self.output, Path(folder))
            if real in entered:
                below.clear()  # links that lead in a circle
                continue
            entered.add(real)
            below[:] = sorted(
                (name for name in below if not name.startswith(".")),
                key=lambda name: natural_key(Path(name)),
            )
            yield Path(folder), [name for name in files if not name.startswith(".")]


def find_clips(sources: Iterable[str], output: Path, *, listed: Iterable[str] = ()) -> Found:
    """Find the clips of an archive.

    Args:
        sources: files, URLs, folders, which are searched with all that is below, and
            patterns such as `drives/*/front/*.mp4`.
        output: the archive's folder.
        listed: files from a list; their results are named by their whole path.

    Raises:
        SourceError: there is nothing of that name, or no clip in any of them.
        UsageError: the output is inside a source, or two clips would have one name.
    """
    search = _Search(output.resolve())
    sources, listed = list(sources), list(listed)
    for source in sources:
        if is_remote(source):
            search.remote(source)
            continue
        if not source:
            raise UsageError("a source is empty", fix="give files, folders or a quoted pattern")
        path = _local(source)
        with reading(SourceError, path):
            is_there = path.exists()
        if is_there:
            search.source(path, PurePath(path.name))
        elif glob.has_magic(source):
            _match(search, source)
        else:
            raise SourceError(
                f"no such file: {source}", fix="give files, folders or a quoted pattern"
            )
    for line in listed:
        if is_remote(line):
            search.remote_line(line)
            continue
        path = _local(line)
        # One that is missing is a clip that cannot be read: a list says what there is to be done.
        name = PurePath(*_below_root(path))
        search.source(path, name, name)
    if not search.clips:
        raise SourceError(
            f"no clips in {', '.join(sources)}" if sources else "no clips were named",
            fix="give files, or folders with files such as .mp4, .mov, .avi, .mkv or .ts",
        )
    _check_names(search.clips)
    return Found(tuple(search.clips), tuple(search.notes))


def read_list(path: Path) -> list[str]:
    """Paths of a list: one a line; empty lines and those that begin with # are passed over.

    Raises:
        SourceError: it cannot be read, or is not text.
    """
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as exc:
        raise unreadable(SourceError, f"the list {path}", exc) from exc
    return [line.strip() for line in lines if line.strip() and not line.startswith("#")]


def _local(source: str) -> Path:
    """The file that a source names; a `file://` URL is one."""
    scheme, is_url, rest = source.partition("://")
    if is_url and scheme.lower() == "file":
        return Path(re.sub(r"^localhost(?=/)|^/(?=[A-Za-z]:)", "", unquote(rest)))
    return Path(os.path.expanduser(source))


def _match(search: _Search, pattern: str) -> None:
    expanded = str(Path(os.path.expanduser(pattern)))
    fixed = Path(expanded)
    while glob.has_magic(str(fixed)):
        fixed = fixed.parent
    if _looks_into(search.output, fixed.resolve(), Path(expanded).relative_to(fixed)):
        raise _output_inside(search.output, pattern)
    matches = sorted((Path(each) for each in glob.glob(expanded, recursive=True)), key=natural_key)
    if not matches:
        raise SourceError(f"nothing matches {pattern}", fix="check the folder and the pattern")
    for path in matches:
        # `**` matches folders, too: their files are matched themselves.
        if "**" in pattern and (path.is_dir() or path.suffix.lower() not in VIDEO_SUFFIXES):
            continue
        if search.output in path.resolve().parents:
            raise UsageError(
                f"{pattern} matches files in {option('--output', search.output)}",
                fix="give a folder elsewhere",
            )
        inside = path.relative_to(fixed)
        search.source(path, inside, inside)


def _looks_into(output: Path, top: Path, pattern: PurePath) -> bool:
    """Whether a pattern finds the results, once they are there.

    Args:
        output: the archive's folder, absolute.
        top: where the pattern begins, absolute.
        pattern: below it.
    """
    if top != output and top not in output.parents:
        return False
    wanted = pattern.parts
    for number, part in enumerate(output.relative_to(top).parts):
        if part.startswith(".") and not wanted[number].startswith("."):
            return False  # as `glob` has it
        if wanted[number] == "**":
            return True
        if not fnmatch(part, wanted[number]):
            return False
        if number + 1 == len(wanted):
            return True  # the folder itself, or one that it is in
    # Below it are folders that are called like clips: without `**` their files are too deep.
    rest = wanted[len(output.relative_to(top).parts) :]
    return "**" in rest or PurePath(rest[-1]).suffix.lower() not in VIDEO_SUFFIXES


def _output_inside(output: Path, source: Path | str) -> UsageError:
    return UsageError(
        f"{option('--output', output)} is inside the source {source}, where it would be "
        "searched for clips",
        fix="give a folder elsewhere",
    )


def _below_root(path: Path) -> tuple[str, ...]:
    """The parts of a path, as they can be put below another one."""
    path = Path(os.path.normpath(path))
    anchor = re.sub(r"[^A-Za-z0-9]", "", path.anchor)
    parts = (
        (anchor, *path.parts[bool(path.anchor) :])
        if anchor
        else path.relative_to(path.anchor).parts
    )
    return tuple(part for part in parts if part != "..")


def _folder_name(name: PurePath) -> str:
    """Without suffix, and without what would hide it."""
    parts = [*name.parts[:-1], name.stem]
    return "/".join(printable(part.lstrip(".") or "clip") for part in parts)


def _no_suffix(name: PurePath) -> PurePath:
    """A folder's name, whose dots are part of it, as `_folder_name` leaves it alone."""
    return name.with_name(f"{name.name}.images")


def _check_names(clips: Iterable[Clip]) -> None:
    """Refuse clips whose results would lie in each other's folders.

    Raises:
        UsageError: there are some.
    """
    by_name: dict[str, Clip] = {}
    for clip in clips:
        other = by_name.setdefault(clip.name.casefold(), clip)
        if other is not clip:
            raise _clash(other, clip, f"would both be written to {clip.name}")
    for name, clip in by_name.items():
        at = name.rfind("/")
        while at > 0:
            outer = by_name.get(name[:at])
            if outer is not None:
                inside = (
                    f"the results of the second would lie among those of the first, {outer.name}"
                )
                raise _clash(outer, clip, f"cannot both be written: {inside}")
            at = name.rfind("/", 0, at)


def _clash(first: Clip, second: Clip, what: str) -> UsageError:
    return UsageError(
        f"{printable(first.path)} and {printable(second.path)} {what}",
        fix="give the folder that holds both, rename one, or give each an output of its own",
    )
