"""A long live run: one camera that stays, one that flaps, one viewer; does anything grow?

    python -m benchmarks.live.soak --minutes 60 --out soak

Every few seconds memory, threads, descriptors, ages and counts go to OUT.jsonl; at the end their
slopes by the hour, and whether all frames are accounted for, to OUT.md and to the terminal.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.live.cameras import HttpCamera, pictures_of
from benchmarks.live.running import Running, running
from benchmarks.live.viewers import Viewer

CLIP = Path(__file__).resolve().parent.parent.parent / "samples" / "drive.mp4"

# What the beginning takes (caches, pools of memory) is no growth.
_WARM = 0.2


def main(argv: Sequence[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--every", type=float, default=5.0, metavar="SECONDS")
    parser.add_argument("--fps", type=float, default=15.0)
    parser.add_argument("--nice", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("soak"))
    arguments = parser.parse_args(argv)
    pictures = pictures_of(CLIP)
    stable = HttpCamera(pictures, arguments.fps)
    flapping = HttpCamera(pictures, arguments.fps, on_s=20, off_s=8)
    sources = ("--source", stable.url, "--source", flapping.url)
    rows: list[dict[str, Any]] = []
    with (
        running(*sources, nice=arguments.nice) as run,
        arguments.out.with_suffix(".jsonl").open("w") as log,
    ):
        viewer = Viewer(run.port, (0, 1))
        ends_s = time.monotonic() + arguments.minutes * 60
        while time.monotonic() < ends_s:
            time.sleep(arguments.every)
            rows.append(row(run, viewer))
            log.write(json.dumps(rows[-1]) + "\n")
            log.flush()
            if len(rows) % 60 == 0:
                arguments.out.with_suffix(".md").write_text(report(rows, None))
        viewer.close()
        stats = run.end()
    stable.close()
    flapping.close()
    text = report(rows, stats)
    arguments.out.with_suffix(".md").write_text(text)
    print(text)


def row(run: Running, viewer: Viewer) -> dict[str, Any]:
    """What is to be seen now."""
    health = list(run.health().values())
    ages_s, viewer.ages_s = viewer.ages_s, []
    return {
        "time_s": round(time.monotonic(), 1),
        "rss_mb": round(run.rss_mb(), 1),
        "threads": run.threads(),
        "descriptors": run.descriptors(),
        "cpu_s": run.cpu_s(),
        "states": [each["state"] for each in health],
        "fps": [each["fps"] for each in health],
        "age_ms": round(float(np.median(ages_s)) * 1e3, 1) if ages_s else None,
        "viewed": viewer.frames,
    }


def report(rows: list[dict[str, Any]], stats: dict[str, Any] | None) -> str:
    """Slopes by the hour, after the beginning; frames, when the run has ended."""
    steady = rows[int(len(rows) * _WARM) :]
    hours = np.array([each["time_s"] for each in steady]) / 3600
    span_min = (rows[-1]["time_s"] - rows[0]["time_s"]) / 60
    lines = [
        f"{span_min:.0f} minutes, {len(rows)} samples; slopes over the last {1 - _WARM:.0%}:",
        "",
        "| what | first | last | slope an hour |",
        "|---|---|---|---|",
    ]
    for name in ("rss_mb", "threads", "descriptors", "age_ms"):
        values = [each[name] for each in steady]
        good = [i for i, value in enumerate(values) if value is not None]
        series = np.array([values[i] for i in good], float)
        tenth = max(len(series) // 10, 1)
        slope = np.polyfit(hours[good], series, 1)[0] if len(good) > 2 else float("nan")
        first, last = np.median(series[:tenth]), np.median(series[-tenth:])
        lines.append(f"| {name} | {first:.1f} | {last:.1f} | {slope:+.2f} |")
    lines += ["", f"Frames that reached the viewer: {rows[-1]['viewed']}."]
    if stats is not None:
        for each in stats["sources"]:
            left = each["read"] - each["shown"] - sum(each["dropped"].values())
            lines.append(
                f"{each['name']}: {each['connects']} connections, {each['read']} frames read, "
                f"{each['shown']} shown, {each['dropped']}, {left} unaccounted for."
            )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    main()
