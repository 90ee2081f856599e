"""What an `.onnx` or `.xml` file says of itself, read without loading the network.

The size is that of the graph's own input, and so it holds for files of other tools, too. Classes
and precision are what `roadseg export` wrote into the metadata.
"""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from roadseg.core.errors import ModelError, unreadable
from roadseg.core.labels import CAMVID, ClassSet, stored_class_set
from roadseg.core.size import SizeHW

SUFFIXES = (".xml", ".onnx")
"""Of files that `read_graph` knows: OpenVINO's and ONNX's."""

# Field numbers of onnx.proto: ModelProto.graph and metadata_props; GraphProto.input; from there to
# the dimensions of an input: ValueInfoProto.type, TypeProto.tensor_type, Tensor.shape,
# TensorShapeProto.dim; Dimension.dim_value; StringStringEntryProto.key and value.
_GRAPH, _METADATA_PROPS, _INPUT = 7, 14, 11
_TO_DIMENSIONS = (2, 1, 2, 1)
_DIM_VALUE = 1
_KEY, _VALUE = 1, 2

_VARINT_BYTES = 10
"""The longest whole number of a protobuf message."""


@dataclass(frozen=True)
class GraphFile:
    """What is known of a network before its runtime reads it.

    Attributes:
        size_hw: the only height and width that it takes; None: it takes several, or does not say.
        precision: `int8`, `fp16` or `fp32`; None: it does not say.
        metadata: text by key, as `roadseg.export.onnx.metadata` wrote it.
    """

    size_hw: SizeHW | None = None
    precision: str | None = None
    metadata: dict[str, str] = field(default_factory=dict)

    def classes(self, shown: Path) -> ClassSet:
        """What it tells apart: CamVid's classes where it does not say.

        Args:
            shown: the file's path, for the error.

        Raises:
            ModelError: what it says of its classes is damaged.
        """
        if "classes" not in self.metadata:
            return CAMVID
        try:
            return stored_class_set(
                json.loads(self.metadata["classes"]),
                json.loads(self.metadata.get("palette_rgb", "null")),
            )
        except (ValueError, RecursionError) as exc:
            raise _damaged(shown, exc) from exc


def read_graph(path: Path) -> GraphFile:
    """What a file says. One that is damaged says nothing: what is wrong with it, the runtime says.

    Args:
        path: of one of `SUFFIXES`.

    Raises:
        ModelError: it cannot be read, or its metadata are no text.
    """
    try:
        return _of_ir(path) if path.suffix.lower() == ".xml" else _of_onnx(path.read_bytes())
    except OSError as exc:
        raise unreadable(ModelError, path, exc) from exc
    except UnicodeDecodeError as exc:
        raise _damaged(path, exc) from exc


def _damaged(path: Path, exc: Exception) -> ModelError:
    return ModelError(
        f"{path} does not say which classes it knows ({exc})",
        fix="write it again with 'roadseg export'",
    )


def _of_ir(path: Path) -> GraphFile:
    metadata: dict[str, str] = {}
    shape: list[int] | None = None
    is_int8 = False
    try:
        # An IR is large, and its metadata are at its end.
        for _event, element in ET.iterparse(path):
            if element.tag == "roadseg":
                metadata = {each.tag: each.get("value", "") for each in element}
            elif element.tag == "layer":
                kind, data = element.get("type"), element.find("data")
                is_int8 = is_int8 or kind == "FakeQuantize"
                if kind == "Parameter" and shape is None and data is not None:
                    sides = data.get("shape", "").split(",")
                    shape = [int(side) if side.strip().isdecimal() else 0 for side in sides]
                element.clear()
    except (ET.ParseError, ValueError, LookupError):  # also of encodings that nobody knows
        return GraphFile()  # damaged: OpenVINO says how
    return GraphFile(_size_of(shape or ()), _precision(metadata, is_int8), metadata)


def _of_onnx(content: bytes) -> GraphFile:
    metadata: dict[str, str] = {}
    shape: list[int] | None = None
    for number, entry in _messages(memoryview(content)):
        if number == _METADATA_PROPS:
            pair = {key: bytes(text).decode() for key, text in _messages(entry)}
            metadata[pair.get(_KEY, "")] = pair.get(_VALUE, "")
        elif number == _GRAPH:
            inputs = (each for field_number, each in _messages(entry) if field_number == _INPUT)
            shape = next((_onnx_shape(each) for each in inputs), None)
    is_int8 = b"QuantizeLinear" in content
    return GraphFile(_size_of(shape or ()), _precision(metadata, is_int8), metadata)


def _onnx_shape(message: memoryview) -> list[int]:
    """The sides of a graph's input; 0 for those that are free."""
    level = [message]
    for wanted in _TO_DIMENSIONS:
        level = [part for each in level for number, part in _messages(each) if number == wanted]
    return [_dimension(each) for each in level]


def _dimension(message: memoryview) -> int:
    values = (value for number, value in _fields(message) if number == _DIM_VALUE)
    return next((value for value in values if isinstance(value, int)), 0)


def _size_of(shape: Iterable[int]) -> SizeHW | None:
    """Of (N, H, W, 3) frames; None where a side is free, or it is another kind of input."""
    sides = tuple(shape)
    if len(sides) != 4 or sides[3] != 3 or not all(0 < side < 2**31 for side in sides[1:3]):
        return None
    return sides[1], sides[2]


def _precision(metadata: dict[str, str], is_int8: bool) -> str | None:
    """What the operations show counts more than what was written before they were quantised."""
    if is_int8:
        return "int8"
    said = metadata.get("precision")
    return said if said in ("int8", "fp16", "fp32") else None


def _messages(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The length-delimited fields of a protobuf message."""
    for number, value in _fields(message):
        if isinstance(value, memoryview):
            yield number, value


def _fields(message: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """Length-delimited fields and whole numbers of a message; stops where it is damaged."""
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
            value, at = _varint(message, at)
            yield tag >> 3, value
        elif kind in (1, 5):
            at += 8 if kind == 1 else 4
        else:
            return


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    for byte in message[at : at + _VARINT_BYTES]:
        value |= (byte & 127) << shift
        at, shift = at + 1, shift + 7
        if byte < 128:
            break
    return value, at
