"""Whether other programs keep this one from the processor."""

from __future__ import annotations

from pathlib import Path

__all__ = ["waited_s"]


def waited_s(tasks: Path = Path("/proc/self/task")) -> float | None:
    """Seconds for which threads of this process could have run and others had the processor.

    It counts from the start of each thread that is there now; only differences say something.

    Args:
        tasks: where Linux describes the threads. The second figure of `schedstat` is their waiting
            time in nanoseconds.

    Returns:
        None where the system does not say.
    """
    waited_ns = 0
    found = False
    try:
        for stat in tasks.glob("*/schedstat"):
            try:
                waited_ns += int(stat.read_text().split()[1])
            except FileNotFoundError:  # a thread that has ended meanwhile
                continue
            found = True
    except (OSError, ValueError, IndexError):
        return None
    return waited_ns / 1e9 if found else None
