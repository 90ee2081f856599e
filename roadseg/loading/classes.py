"""Which classes a model knows, read from its file without loading the model."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path

from roadseg.core.errors import BackendError, ModelError, reading
from roadseg.core.installing import install, is_installed
from roadseg.core.labels import CAMVID, ClassSet, known_class_set
from roadseg.core.weights_file import SUFFIX, SUFFIXES, is_weights, read_header

_KEYS = ("classes", "palette_rgb")

# Field numbers of onnx.proto: ModelProto.metadata_props; StringStringEntryProto.key and value.
_METADATA_PROPS, _KEY, _VALUE = 14, 1, 2


def classes_of_file(path: Path) -> ClassSet:
    """The classes that a `.xml`, `.onnx` or `.safetensors` file knows.

    A file that does not say, or is none, counts as one for CamVid's; what is wrong with it, the
    backend says.

    Raises:
        ModelError: what the file says of its classes is damaged, or it is no weights file.
        BackendError: the classes of a file of weights, without PyTorch.
    """
    suffix = path.suffix.lower()
    with reading(ModelError, path):
        is_there = path.is_file()
    if not is_there or suffix not in (*SUFFIXES, ".xml", ".onnx"):
        return CAMVID
    if suffix == SUFFIX:
        return read_header(path).classes
    if is_weights(path):
        return _of_old_weights(path)
    try:
        facts = _of_ir(path) if suffix == ".xml" else _of_onnx(path)
        if "classes" not in facts:
            return CAMVID
        colours = json.loads(facts.get("palette_rgb", "null"))
        return known_class_set(
            tuple(json.loads(facts["classes"])),
            tuple((int(r), int(g), int(b)) for r, g, b in colours) if colours else None,
        )
    except (OSError, ValueError, TypeError) as exc:
        raise ModelError(
            f"{path} does not say which classes it knows ({exc})",
            fix="write it again with 'roadseg export'",
        ) from exc


def _of_old_weights(path: Path) -> ClassSet:
    try:
        from roadseg.models import weights_classes
    except ImportError as exc:
        raise _no_torch(str(path)) from exc
    return weights_classes(path)


def require_torch(model: str) -> None:
    """Make sure that there is PyTorch to load a file of weights with.

    Raises:
        BackendError: there is not.
    """
    if not is_installed("torch"):
        raise _no_torch(model)


def _no_torch(model: str) -> BackendError:
    return BackendError(
        f"{model} needs PyTorch, which is not installed",
        fix=f"{install('train')}, or turn it into a file for OpenVINO where PyTorch is: "
        f"'roadseg export --model {model} --output {Path(model).stem}.onnx'",
    )


def _of_ir(path: Path) -> dict[str, str]:
    facts = {}
    try:
        # An IR is large, and what is looked for is at its end.
        for _event, element in ET.iterparse(path):
            if element.tag == "roadseg":
                facts = {e.tag: e.get("value", "") for e in element if e.tag in _KEYS}
            elif element.tag == "layer":
                element.clear()
    except ET.ParseError:
        return {}  # damaged: OpenVINO says how
    return facts


def _of_onnx(path: Path) -> dict[str, str]:
    facts = {}
    for number, entry in _fields(path.read_bytes()):
        if number == _METADATA_PROPS:
            pair = dict(_fields(entry))
            facts[pair.get(_KEY, b"").decode()] = pair.get(_VALUE, b"").decode()
    return {key: value for key, value in facts.items() if key in _KEYS}


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """Length-delimited fields of a protobuf message; stops where it is damaged."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == 2:
            size, at = _varint(message, at)
            if at + size > len(message):
                return
            yield tag >> 3, message[at : at + size]
            at += size
        elif kind == 0:
            _, at = _varint(message, at)
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            return


def _varint(message: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(message):
        byte = message[at]
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            break
    return value, at
