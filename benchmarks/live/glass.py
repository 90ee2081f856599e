"""From glass to glass: how old a picture is when a browser has drawn it.

    python -m benchmarks.live.glass --minutes 10

A camera writes the moment into each picture; Chromium opens the page and reads it back off the
canvas, whenever something new is drawn. Camera, server, network and browser share the machine and
its clock. What is drawn counts as seen with the next animation frame.
"""

from __future__ import annotations

import argparse
import json
import shutil
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.live.cameras import BITS, BLOCK_PX, HttpCamera, pictures_of
from benchmarks.live.running import running

CLIP = Path(__file__).resolve().parent.parent.parent / "samples" / "drive.mp4"

# Reads the code off the large canvas, which shows the camera alone.
WATCH = """([bits, block, width]) => {
  window.ages = [];
  let last = -1;
  const small = document.createElement("canvas");
  small.width = bits; small.height = 1;
  const pen = small.getContext("2d", { willReadFrequently: true });
  const look = () => {
    const canvas = document.querySelector(".tile.large canvas");
    if (canvas && canvas.dataset.number !== String(last) && canvas.width > 16) {
      last = canvas.dataset.number;
      // Slow viewers get the picture at half its size.
      const scale = canvas.width / width;
      pen.imageSmoothingEnabled = false;
      const row = Math.floor(scale * block / 2);
      pen.drawImage(canvas, 0, row, scale * bits * block, 1, 0, 0, bits, 1);
      const levels = pen.getImageData(0, 0, bits, 1).data;
      let code = 0;
      for (let i = 0; i < bits; i++) code = code * 2 + (levels[4 * i + 1] > 127 ? 1 : 0);
      const age = (Date.now() % 2 ** 32) - code;
      window.ages.push(age);
    }
    requestAnimationFrame(look);
  };
  look();
}"""


def main(argv: Sequence[str] | None = None) -> None:
    """See the module."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--fps", type=float, default=25.0)
    parser.add_argument("--model", default="segnet-lite")
    parser.add_argument("--source", help="another camera, which writes the same code")
    parser.add_argument("--width", type=int, default=960, help="of the camera's pictures")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args(argv)
    from playwright.sync_api import sync_playwright

    camera = None if arguments.source else HttpCamera(pictures_of(CLIP), arguments.fps)
    source = arguments.source or (camera.url if camera else "")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    minutes: list[list[float]] = []
    with (
        running("--source", source, "--model", arguments.model) as run,
        sync_playwright() as playwright,
    ):
        browser = playwright.chromium.launch(
            executable_path=chromium, args=["--no-sandbox", "--enable-unsafe-swiftshader"]
        )
        page = browser.new_page(viewport={"width": 1100, "height": 760})
        page.goto(run.url)
        page.wait_for_selector("#link[data-state=connected]", timeout=120_000)
        page.click("[data-view=camera]")
        time.sleep(5)
        page.evaluate(WATCH, [BITS, BLOCK_PX, arguments.width])
        ends_s = time.monotonic() + arguments.minutes * 60
        while time.monotonic() < ends_s:
            time.sleep(min(60.0, max(ends_s - time.monotonic(), 0.1)))
            minutes.append(page.evaluate("() => window.ages.splice(0)"))
            print(line(f"minute {len(minutes)}", minutes[-1]), flush=True)
        health = next(iter(run.health().values()))
        print(f"shown at {health['fps']} frames a second")
        browser.close()
        run.end()
    if camera is not None:
        camera.close()
    ages = [age for each in minutes for age in each]
    print(line("all", ages))
    print(f"first to last minute: p95 {p95(minutes[-1]) - p95(minutes[0]):+.0f} ms")
    if arguments.json is not None:
        summary = {"p50_ms": float(np.median(ages)), "p95_ms": p95(ages), "count": len(ages)}
        arguments.json.write_text(json.dumps({**summary, "shown_fps": health["fps"]}) + "\n")


def line(what: str, ages_ms: list[float]) -> str:
    """One line of figures."""
    if not ages_ms:
        return f"{what}: nothing was drawn"
    return (
        f"{what}: {len(ages_ms)} pictures, age p50 {np.median(ages_ms):.0f} ms, "
        f"p95 {p95(ages_ms):.0f} ms, max {max(ages_ms):.0f} ms"
    )


def p95(ages_ms: list[float]) -> float:
    """The age that 95% do not exceed."""
    return float(np.percentile(ages_ms, 95)) if ages_ms else float("nan")


if __name__ == "__main__":
    main()
