"""Compiles a network for the CPU, or takes what an earlier run compiled.

Compiling segnet-lite takes 0.4 s of processor time, loading what was compiled 0.15. OpenVINO keeps
it in files of its own, by network, input, options, processor and version, and compiles again what
it cannot use: a file of another processor or version, or one whose frame is damaged. It does not
look at the weights in it. So each file has its checksum in its name, and OpenVINO is shown those
alone that have it, in a folder of this call's own:

    compiled/6f0c4a1d2b3e4f50-89abcdef-5515901119608439917.blob
             kind of network  checksum OpenVINO's name
    compiled/.own-k3j2h1/5515901119608439917.blob     the same file, for as long as it is compiled

What is compiled anew is written there, too, and gets its name in one step when it is whole: several
processes at once neither see each other's halves nor take them for damaged. One that is killed
leaves its folder behind, which a later one clears away.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import tempfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from roadseg.core.openvino import import_openvino

# Files to keep, of 5 MB each for segnet-lite: a few inputs, one at a time and several in flight.
_KEPT = 16

_KEPT_NAME = re.compile("[0-9a-f]{16}-(?P<checksum>[0-9a-f]{8})-(?P<blob>.+[.]blob)")

_OWN = ".own-"
"""How the name of a call's own folder begins."""

_LEFT_BEHIND_S = 3600
"""Age of a folder whose process is gone: compiling takes seconds. Where a long run still holds it,
its files stay."""

_LARGEST_MODEL = 16 * 2**20
"""Bytes. What is compiled holds the weights again."""


def is_worth_keeping(model: Path) -> bool:
    """Whether a model is small enough to be kept a second time."""
    parts = {model, model.with_suffix(".bin")}
    return sum(part.stat().st_size for part in parts if part.is_file()) <= _LARGEST_MODEL


def compile_network(
    core: Any, network: Any, options: dict[str, Any], cache: Path | None = None
) -> Any:
    """An `openvino.CompiledModel`.

    Args:
        core: an `openvino.Core`.
        network: an `openvino.Model`, its input of one size.
        options: properties of the CPU plugin.
        cache: folder for what is compiled, made where it is missing; None for nowhere. One that
            cannot be used costs time, and no more.

    Raises:
        RuntimeError: OpenVINO cannot compile it.
    """
    if cache is not None:
        # OpenVINO's own errors, such as those of a full disk, are RuntimeErrors.
        with contextlib.suppress(OSError, RuntimeError):
            return _compile_or_load(core, network, options, cache)
    return core.compile_model(network, "CPU", options)


def _compile_or_load(core: Any, network: Any, options: dict[str, Any], cache: Path) -> Any:
    cache.mkdir(parents=True, exist_ok=True)
    _clear_left_behind(cache)
    kind = _kind(network)
    with _own_folder(cache) as own:
        for kept in sorted(cache.glob(f"{kind}-*.blob")):  # in one order for all processes
            _show(kept, own)
        shown = _marks(own)
        compiled = core.compile_model(network, "CPU", {**options, "CACHE_DIR": str(own)})
        # It is compiled, whatever becomes of its file.
        with contextlib.suppress(OSError):
            new = [blob for blob, mark in _marks(own).items() if mark != shown.get(blob)]
            for blob in new:
                _keep(blob, cache, kind)
            if new:
                _clear(cache)
    return compiled


def _kind(network: Any) -> str:
    """What tells most networks apart, and never the same one from itself: its name and its ports.

    So there are few files to look at. Which of them it is, if any, OpenVINO knows.
    """
    facts = f"{network!r} {import_openvino().__version__}"
    return hashlib.sha256(facts.encode()).hexdigest()[:16]


@contextlib.contextmanager
def _own_folder(cache: Path) -> Iterator[Path]:
    """An empty folder, where files of the cache can be linked to; elsewhere if it is read-only.

    What is open still keeps its name on Windows and network drives until the process ends, and the
    folder with it: `_clear_left_behind` has it later.
    """
    try:
        folder = tempfile.TemporaryDirectory(prefix=_OWN, dir=cache, ignore_cleanup_errors=True)
    except OSError:
        folder = tempfile.TemporaryDirectory(prefix="roadseg-", ignore_cleanup_errors=True)
    with folder as name:
        yield Path(name)


def _show(kept: Path, own: Path) -> None:
    """Have OpenVINO see a file of the cache, if it is whole; remove it, if it is not."""
    match = _KEPT_NAME.fullmatch(kept.name)
    if match is None:
        return
    blob = own / match["blob"]
    # Two processes at once may have compiled the same, which seldom gives the same bytes.
    needed = not blob.exists()
    if needed:
        try:
            _link(kept, blob)
            needed = _checksum(blob) == match["checksum"]
        except FileNotFoundError:  # another process has removed it
            return
        except OSError:  # somebody else's, or a bad sector: to remove it takes no look inside
            needed = False
        if not needed:
            blob.unlink(missing_ok=True)
    if not needed:
        _remove(kept)


def _link(kept: Path, blob: Path) -> None:
    """Give a file a second name, which holds it where another process removes its first one."""
    try:
        os.link(kept, blob)
    except FileNotFoundError:
        raise
    except OSError:  # a drive without links, or another one
        shutil.copyfile(kept, blob)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _marks(own: Path) -> dict[Path, tuple[int, int]]:
    """The files in a folder, with what changes when one is written anew."""
    stats = {blob: blob.stat() for blob in own.glob("*.blob")}
    return {blob: (stat.st_ino, stat.st_mtime_ns) for blob, stat in stats.items()}


def _keep(blob: Path, cache: Path, kind: str) -> None:
    name = f"{kind}-{_checksum(blob)}-{blob.name}"
    for older in cache.glob(f"{kind}-*-{blob.name}"):
        if older.name != name:
            _remove(older)
    blob.replace(cache / name)


def _checksum(blob: Path) -> str:
    """CRC-32, in hexadecimal: it is against accidents, and every start waits for it.

    The 5 MB of segnet-lite take 3 ms (with SHA-256 5, with BLAKE2b 10).
    """
    value = 0
    block = memoryview(bytearray(2**18))
    with blob.open("rb", buffering=0) as file:
        while size := file.readinto(block):
            value = zlib.crc32(block[:size], value)
    return f"{value:08x}"


def _clear(cache: Path) -> None:
    """Remove the oldest files, and those without a checksum."""
    ages = []
    for blob in cache.glob("*.blob"):
        if _KEPT_NAME.fullmatch(blob.name) is None:
            _remove(blob)
            continue
        with contextlib.suppress(FileNotFoundError):  # another process clears, too
            ages.append((blob.stat().st_mtime, blob))
    for _age, blob in sorted(ages)[:-_KEPT]:
        _remove(blob)


def _clear_left_behind(cache: Path) -> None:
    """Remove the folders of runs that are gone: killed, or on a drive that keeps open files."""
    for folder in cache.glob(f"{_OWN}*"):
        with contextlib.suppress(OSError):
            if time.time() - folder.stat().st_mtime > _LEFT_BEHIND_S:
                shutil.rmtree(folder, ignore_errors=True)
