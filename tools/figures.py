"""What follows from new weights in words and pictures: the documentation's figures.

Figures stand between markers, `<!-- segnet-lite:miou -->0.696<!-- / -->`, so that they can be
written again from the manifest and can never be those of other weights.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2

from roadseg.core.errors import SinkError, os_reason
from roadseg.core.geometry import network_size
from roadseg.core.types import Image
from roadseg.loading.segmenter import Segmenter
from roadseg.render import Renderer
from roadseg.weights import ManifestEntry

_END = "<!-- / -->"
_PAGES = ("README.md", "docs/accuracy.md", "docs/performance.md")
_FIX = "free some space, or check the permissions"
_DATA = {"val": "validation", "sample": "`samples/drive.mp4`"}


def figures_of(entry: ManifestEntry) -> dict[str, str]:
    """The figures of a shipped model by marker.

    `miou`, `table`, `classes`; INT8's `cost`, and its `ladder` where that was measured.
    """
    scores = {
        key: value
        for key, value in entry.validation.items()
        if isinstance(value, Mapping) and "miou" in value
    }
    rows = ["| | mIoU | G | C | BF (classes of the truth) |", "|---|---|---|---|---|"]
    # By data, not by precision: what INT8 costs is seen at a glance.
    for key in sorted(scores, key=lambda k: (k.split(" on ")[1] != "val", k.startswith("int8"))):
        precision, data = key.split(" on ")
        value = scores[key]
        title = f"{precision.upper()}, {_DATA.get(data, data)} ({value['images']} frames)"
        if precision == "int8":
            title = f"**{title}**"
        columns = (value[name] for name in ("miou", "global_accuracy", "class_accuracy", "bf"))
        rows.append(f"| {title} | " + " | ".join(f"{figure:.3f}" for figure in columns) + " |")
    full = scores["fp32 on val"]
    shipped = scores.get("int8 on val", full)
    classes = ", ".join(f"{name} {iou:.2f}" for name, iou in shipped["per_class_iou"].items())
    figures = {
        "miou": f"{shipped['miou']:.3f}",
        "table": "\n" + "\n".join(rows) + "\n",
        "classes": classes,
    }
    if shipped is not full:
        figures["cost"] = f"{100 * (full['miou'] - shipped['miou']):.2f}"
    if entry.ladder:
        figures["ladder"] = f"\n{_ladder(entry)}\n"
    return figures


def _ladder(entry: ManifestEntry) -> str:
    rows = [
        "| input for 4:3 | for 16:9 | processor time | mIoU, validation | mIoU, 720p |",
        "|---|---|---|---|---|",
    ]
    for rung in sorted(entry.ladder, key=lambda rung: -rung.pixels):
        shapes = (network_size(hw, budget=rung.pixels) for hw in ((360, 480), (720, 1280)))
        inputs = " | ".join(f"{height}x{width}" for height, width in shapes)
        scores = " | ".join(f"{rung.miou[key]:.3f}" for key in ("val", "720p"))
        rows.append(f"| {inputs} | {rung.cost_ms:.0f} ms | {scores} |")
    return "\n".join(rows)


def replace_figures(text: str, name: str, figures: Mapping[str, str]) -> str:
    """Write figures between their markers.

    Args:
        text: a document.
        name: the model's name.
        figures: by marker, as `figures_of` gives them. What has no marker is left out.
    """
    for key, figure in figures.items():
        start = f"<!-- {name}:{key} -->"
        pattern = re.escape(start) + r".*?" + re.escape(_END)
        replacement = f"{start}{figure}{_END}"
        text = re.sub(pattern, lambda _match, new=replacement: new, text, flags=re.DOTALL)  # type: ignore[misc]
    return text


def refresh_documents(entry: ManifestEntry, run: Path | None, checkout: Path) -> list[Path]:
    """Bring README, accuracy page, picture and curves up to date with a model that ships.

    Args:
        entry: its manifest entry.
        run: folder of the training run, for its curves; None where they stay as they are.
        checkout: the project's folder.

    Returns:
        What was written.

    Raises:
        SinkError: a document cannot be written.
    """
    written = refresh_figures(entry, checkout)
    try:
        curves = run / "curves.png" if run is not None else None
        if curves is not None and curves.is_file():
            target = checkout / "docs" / "curves" / f"{entry.name}.png"
            target.parent.mkdir(exist_ok=True)
            shutil.copyfile(curves, target)
            written.append(target)
    except OSError as exc:
        raise SinkError(f"cannot refresh the documentation ({exc})", fix=_FIX) from exc
    return written


def refresh_figures(entry: ManifestEntry, checkout: Path) -> list[Path]:
    """Bring the figures of README and pages up to date with a model that ships.

    Args:
        entry: its manifest entry.
        checkout: the project's folder.

    Returns:
        What was written.

    Raises:
        SinkError: a document cannot be written.
    """
    written = []
    figures = figures_of(entry)
    try:
        for name in _PAGES:
            path = checkout / name
            text = path.read_text(encoding="utf-8")
            renewed = replace_figures(text, entry.name, figures)
            if renewed != text:
                path.write_text(renewed, encoding="utf-8")
                written.append(path)
    except OSError as exc:
        raise SinkError(f"cannot refresh the documentation ({exc})", fix=_FIX) from exc
    return written


def write_picture(path: Path, frame_bgr: Image, model: str) -> None:
    """A street, and the same street segmented: what the README shows.

    Args:
        path: a `.jpg` file; replaced.
        frame_bgr: (H, W, 3) uint8 BGR.
        model: name of the model.

    Raises:
        SinkError: the picture cannot be written.
    """
    with Segmenter(model, "openvino") as segmenter:
        label_map = segmenter(frame_bgr)
    picture = Renderer(view="side-by-side", hud=False)(frame_bgr, label_map)
    parameters: Any = [cv2.IMWRITE_JPEG_QUALITY, 88]
    written, encoded = cv2.imencode(".jpg", picture, parameters)
    try:
        if not written:
            raise OSError("no JPEG encoder")
        path.write_bytes(encoded.tobytes())
    except OSError as exc:
        raise SinkError(f"cannot write {path} ({os_reason(exc)})", fix=_FIX) from exc
