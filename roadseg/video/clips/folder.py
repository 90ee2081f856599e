"""The folder that event clips go to."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path

from roadseg.core.errors import SinkError
from roadseg.core.file_lock import lock_target
from roadseg.core.files import new_part
from roadseg.core.wording import option
from roadseg.media.sinks.leftovers import settle_parts
from roadseg.media.sinks.targets import write_failure

_NUMBERED = re.compile(r"(\d{4,})-.*")
_PART = re.compile(r"\.(\d{4,}-.+\.(?:mp4|jpg))\.\d+-[0-9a-f]{6}(?:\.copy)?\.part")


class ClipFolder:
    """A folder whose clips are numbered on from those that it has; no other run writes there.

    Args:
        path: created where it is missing.

    Attributes:
        path: as given.
        warnings: one line each, of what killed runs left.

    Raises:
        SinkError: it cannot be written to, or another run does.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.warnings: list[str] = []
        shown = option("--event-clips", path)
        if path.exists() and not path.is_dir():
            raise SinkError(f"{shown} is a file", fix="give a folder")
        try:
            path.mkdir(parents=True, exist_ok=True)
            self._lock = lock_target(path / ".roadseg.lock", shown)
            try:
                self._next = self._settled()
            except OSError:
                self.release()
                raise
        except OSError as exc:
            raise write_failure(path, exc) from exc

    def name(self, rule: str) -> str:
        """A new name for the files of an event: `0007-walker`.

        Args:
            rule: name of the event; what file systems do not take becomes `_`.
        """
        number, self._next = self._next, self._next + 1
        plain = re.sub(r"[^\w-]+", "_", rule)[:60]
        return f"{number:04d}-{plain}"

    def clip(self, name: str) -> Path:
        """Where the clip of an event goes."""
        return self.path / f"{name}.mp4"

    def snapshot(self, name: str) -> Path:
        """Where the picture of its peak goes."""
        return self.path / f"{name}.jpg"

    def release(self) -> None:
        """Let others write there; a second call does nothing."""
        if self._lock is not None:
            self._lock.release()

    def _settled(self) -> int:
        """Give names to what killed runs left; the first number that is free."""
        probe = new_part(self.path / "probe")
        probe.touch()
        probe.unlink()
        parts = {match[1] for each in self.path.iterdir() if (match := _PART.fullmatch(each.name))}
        # Without locks a part may be one that another run is writing.
        for name in sorted(parts) if self._lock is not None else ():
            if name.endswith(".mp4"):
                self.warnings += settle_parts(self.path / name)
            for picture in self.path.glob(f".{name}.*.part"):
                with contextlib.suppress(OSError):
                    picture.unlink()
        taken = (_NUMBERED.fullmatch(each.name) for each in self.path.iterdir())
        return max((int(match[1]) for match in taken if match), default=0) + 1
