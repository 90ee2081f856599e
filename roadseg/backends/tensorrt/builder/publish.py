"""Engines on disk: refused early when they cannot be written, and never half-written."""

from __future__ import annotations

import contextlib
from pathlib import Path

from roadseg.core.errors import SinkError
from roadseg.core.files import claim_file, hidden_beside, new_part, sync, writing
from roadseg.core.wording import option
from roadseg.engine.manifest import EngineManifest, manifest_path, write_manifest


def claim_engine(path: Path) -> None:
    """Make sure that an engine can be written to `path`; see `claim_file`.

    Raises:
        SinkError: it is a folder, or cannot be written.
    """
    claim_file(path, instead=f"give another {option('--output')}", fix=_fix())


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
        self.plan_path = new_part(path)

    def __enter__(self) -> Draft:
        return self

    def __exit__(self, *_error: object) -> None:
        with contextlib.suppress(OSError):
            self.plan_path.unlink(missing_ok=True)

    def write_plan(self, plan: bytes) -> None:
        """Write the plan.

        Raises:
            SinkError: it cannot be written.
        """
        # Of builds that were killed: nobody else is building now.
        with contextlib.suppress(OSError):
            start = hidden_beside(self._path, ".").name
            for left in self._path.parent.iterdir():
                if left.name.startswith(start) and left.suffix == ".part":
                    left.unlink(missing_ok=True)
        with writing(self._path, _fix()):
            self.plan_path.write_bytes(plan)
            sync(self.plan_path)

    def publish(self, manifest: EngineManifest) -> EngineManifest:
        """Give the engine its name, and write its manifest.

        The manifest has the engine's checksum and comes last: whatever happens between the two, an
        engine with a manifest that is not its own is never taken for one.

        Raises:
            SinkError: one of them cannot be written; then neither is there.
        """
        with writing(self._path, _fix()):
            self.plan_path.replace(self._path)
        try:
            write_manifest(manifest, manifest_path(self._path))
        except SinkError:
            with contextlib.suppress(OSError):
                self._path.unlink()
            raise
        return manifest


def _fix() -> str:
    return f"give another folder with {option('--output')}, or free the space it needs"
