"""What became of one clip: a row of the ledger, the file beside its results, a worker's answer.

>>> result = ClipResult("drives/a.mp4", "a", state="done", frames_in=90, frames_out=90)
>>> ClipResult.from_json(result.to_json()) == result
True
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from roadseg.core.errors import SinkError
from roadseg.core.files import write_json
from roadseg.core.records import as_record, read_record

State: TypeAlias = Literal["done", "failed", "skipped"]

CLIP_FILE = "clip.json"
"""The file in a clip's folder that is written last: without it the folder is not a result."""

_VERSION = 1

# Of one run, and not of the result: two runs that did the same work write the same file.
_OF_THE_RUN = ("state", "exit_code", "error", "fix", "seconds", "attempts", "disk_full")


@dataclass(frozen=True, slots=True)
class Output:
    """One file or folder that was written for a clip.

    Attributes:
        kind: `overlay`, `masks`, `png-masks`, `timeline`, `events`, ...
        path: relative to the archive's folder, with forward slashes.
        bytes: its size; of a folder that of all its files.
    """

    kind: str
    path: str
    bytes: int


@dataclass(frozen=True, slots=True)
class ClipResult:
    """What became of one clip.

    Attributes:
        clip: path or URL, as it was found; what is not Unicode in it is escaped.
        name: of the clip's folder, relative to the archive's, with forward slashes; no two clips of
            an archive have the same.
        state: `done`; `failed`; or `skipped`: its frames are part of a drive, see `within`.
        identity: digest of its content, see `roadseg.archive.identity`; empty where it could not be
            read.
        work: digest of what was done: model, options, version. See `roadseg.archive.work`.
        exit_code: 0, or what `roadseg run` exits with for the same error.
        error, fix: what went wrong, and what to do about it; empty where nothing did.
        frames_in, frames_out: frames read and delivered.
        frames_lost: frames of a damaged file that could not be decoded.
        seconds: how long it took; None where that is no longer known.
        duration_s: how long the clip plays.
        model, model_sha256: the network, and the checksum of its weights; the second is empty for
            the fake backend, which has none.
        options: what was asked for, as JSON.
        version: of roadseg.
        outputs: what was written, without the file `CLIP_FILE`.
        attempts: how often it was begun in the run that ended it, at least 1: more where workers
            were killed.
        within: `name` of the drive that holds its frames; empty for a clip of its own.
        parts: the files of a drive, in order; empty for a single file.
        warnings: one line each.
        disk_full: it failed because the disk is full: the clip may be as good as any other.
    """

    clip: str
    name: str
    state: State
    identity: str = ""
    work: str = ""
    exit_code: int = 0
    error: str = ""
    fix: str = ""
    frames_in: int = 0
    frames_out: int = 0
    frames_lost: int = 0
    seconds: float | None = None
    duration_s: float = 0.0
    model: str = ""
    model_sha256: str = ""
    options: str = "{}"
    version: str = ""
    outputs: tuple[Output, ...] = ()
    attempts: int = 1
    within: str = ""
    parts: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    disk_full: bool = False

    @property
    def bytes_out(self) -> int:
        """Size of all that was written."""
        return sum(output.bytes for output in self.outputs)

    def output(self, kind: str) -> Output | None:
        """The output of that kind, None where there is none."""
        return next((output for output in self.outputs if output.kind == kind), None)

    def to_json(self) -> dict[str, object]:
        """Plain values for `json.dumps`."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: object) -> ClipResult:
        """The other way; keys that are not known are passed over.

        Raises:
            ValueError: a key is missing, or a value of another type; the text names it.
        """
        return as_record(values, cls)


def write_clip_file(folder: Path, result: ClipResult) -> None:
    """Write what is the same whenever a clip that is done is done again.

    Args:
        folder: the clip's, complete but for this file.
        result: of a clip that is done.

    Raises:
        SinkError: it cannot be written.
    """
    values = {key: value for key, value in result.to_json().items() if key not in _OF_THE_RUN}
    write_json(folder / CLIP_FILE, {"version_of_file": _VERSION, **values})


def read_clip_file(folder: Path) -> ClipResult | None:
    """The result that a clip's folder holds, without how long it took.

    Returns:
        None where there is no such file, or one of another version, or a damaged one: then there
        is no result that could be used.
    """
    try:
        found = read_record(folder / CLIP_FILE, _ClipFile, SinkError, fix="")
    except (FileNotFoundError, NotADirectoryError, SinkError):
        return None
    if found.version_of_file != _VERSION:
        return None
    values = asdict(found)
    del values["version_of_file"]
    return ClipResult(state="done", **{**values, "outputs": found.outputs})


@dataclass(frozen=True)
class _ClipFile:
    version_of_file: int
    clip: str
    name: str
    identity: str
    work: str
    frames_in: int
    frames_out: int
    frames_lost: int
    duration_s: float
    model: str
    model_sha256: str
    options: str
    version: str
    outputs: tuple[Output, ...]
    within: str
    parts: tuple[str, ...]
    warnings: tuple[str, ...]
