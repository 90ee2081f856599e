"""A file of weights: safetensors, whose header says of which network and classes they are.

The header is read without PyTorch. Its metadata has one entry, `roadseg`, with JSON in it, because
safetensors writes several in any order, and equal weights are to give equal bytes:

    {"model": "segnet-lite", "classes": ["sky", ...], "class_set": "CamVid",
     "palette_rgb": [[128, 128, 128], ...], "meta": {"recipe": "lite", "epoch": 90, ...}}
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadseg.core.errors import ModelError

if TYPE_CHECKING:
    from roadseg.core.labels import ClassSet


SUFFIX = ".safetensors"
"""Of files that are written now."""

SUFFIXES = (SUFFIX, ".pt")
"""Of all files of weights: earlier versions wrote PyTorch's, which still load."""

_ENTRY = "roadseg"


@dataclass(frozen=True)
class WeightsHeader:
    """What a file says of its weights.

    Attributes:
        model: the network's name.
        classes: what it tells apart.
        meta: further plain values: the recipe, the epoch and so on.
    """

    model: str
    classes: ClassSet
    meta: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, facts: Any) -> WeightsHeader:
        """From what a file holds.

        Raises:
            KeyError, TypeError, ValueError: something is missing, or of another kind.
        """
        # The doctor asks for suffixes where NumPy, which classes need, may be broken.
        from roadseg.core.labels import stored_class_set

        if not isinstance(facts, dict):
            raise TypeError(f"expected a dictionary, got {type(facts).__name__}")
        classes = stored_class_set(
            facts["classes"],
            facts.get("palette_rgb"),
            str(facts.get("class_set", "its own data set")),
        )
        return cls(str(facts["model"]), classes, dict(facts["meta"]))

    def metadata(self) -> dict[str, str]:
        """As safetensors takes it."""
        facts = {
            "model": self.model,
            "classes": self.classes.names,
            "class_set": self.classes.name,
            "palette_rgb": self.classes.colours_rgb,
            "meta": self.meta,
        }
        return {_ENTRY: json.dumps(facts)}


def is_weights(name_or_path: str | Path) -> bool:
    """Whether this names a file of weights, by its suffix.

    >>> is_weights("runs/night/best.safetensors"), is_weights("old.pt"), is_weights("net.onnx")
    (True, True, False)
    """
    return Path(name_or_path).suffix.lower() in SUFFIXES


def best_weights(run: Path) -> Path:
    """The best weights in the folder of a run, `best.pt` where an earlier version wrote them."""
    old = run / "best.pt"
    best = run / f"best{SUFFIX}"
    return old if old.is_file() and not best.is_file() else best


def read_header(path: Path) -> WeightsHeader:
    """The header of a `.safetensors` file.

    Raises:
        ModelError: the file is missing, damaged, or of another kind.
    """
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            return WeightsHeader.of(json.loads((file.metadata() or {})[_ENTRY]))
    except FileNotFoundError:
        raise no_weights(path) from None
    except (
        OSError,
        SafetensorError,
        KeyError,
        TypeError,
        ValueError,
        RecursionError,  # JSON that is nested too deep
    ) as exc:
        raise not_ours(path) from exc


def no_weights(path: Path) -> ModelError:
    """The error for a file that is missing."""
    return ModelError(f"no weights at {path}", fix="train some with 'roadseg train'")


def not_ours(path: Path) -> ModelError:
    """The error for a file that is damaged, or of another kind."""
    return ModelError(
        f"{path} is not a roadseg weights file", fix="use one that 'roadseg train' wrote"
    )
