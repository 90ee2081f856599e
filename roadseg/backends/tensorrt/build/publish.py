"""Engines on disk: refused early when they cannot be written, and never half-written."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from roadseg.core.errors import SinkError
from roadseg.engine.manifest import EngineManifest, manifest_path, write_manifest

__all__ = ["Draft", "claim_engine"]


def claim_engine(path: Path) -> None:
    """Make sure that an engine can be written to `path`, creating its folder where it is missing.

    What is there already is left alone.

    Raises:
        SinkError: it is a folder, or cannot be written.
    """
    if path.is_dir():
        raise SinkError(f"cannot write {path}: it is a folder; give another --output")
    probe = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        probe.touch()
        # Whoever is building this engine already clears away what looks like a draft.
        probe.unlink(missing_ok=True)
    except (FileExistsError, NotADirectoryError) as exc:
        file = next(place for place in path.parents if place.exists())
        raise _failure(path, OSError(f"{file} is no folder")) from exc
    except OSError as exc:
        raise _failure(path, exc) from exc


class Draft:
    """An engine that is not there yet: a hidden file beside its place, gone after the `with` block.

    To be used by whoever holds the engine's lock.

    Args:
        path: where the engine is to lie.

    Attributes:
        plan_path: where it lies for now.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self.plan_path = path.with_name(f".{path.name}.{os.getpid()}.part")

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *error: object) -> None:
        del error
        with contextlib.suppress(OSError):
            self.plan_path.unlink(missing_ok=True)

    def write_plan(self, plan: bytes) -> None:
        """Write the plan.

        Raises:
            SinkError: it cannot be written.
        """
        # Of builds that were killed: nobody else is building now.
        with contextlib.suppress(OSError):
            for left in self._path.parent.glob(f".{_escaped(self._path.name)}.*.part"):
                left.unlink(missing_ok=True)
        try:
            with self.plan_path.open("wb") as file:
                file.write(plan)
                file.flush()
                os.fsync(file.fileno())
        except OSError as exc:
            raise _failure(self._path, exc) from exc

    def publish(self, manifest: EngineManifest) -> EngineManifest:
        """Give the engine its name, and write its manifest.

        The manifest has the engine's checksum and comes last: whatever happens between the two, an
        engine with a manifest that is not its own is never taken for one.

        Raises:
            SinkError: one of them cannot be written; then neither is there.
        """
        try:
            self.plan_path.replace(self._path)
        except OSError as exc:
            raise _failure(self._path, exc) from exc
        try:
            write_manifest(manifest, manifest_path(self._path))
        except SinkError:
            with contextlib.suppress(OSError):
                self._path.unlink()
            raise
        return manifest


def _escaped(name: str) -> str:
    """A name in which no letter is a wildcard."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)


def _failure(path: Path, exc: OSError) -> SinkError:
    return SinkError(
        f"cannot write the engine {path} ({exc.strerror or exc}): give another folder with "
        "--output, or free the space it needs"
    )
