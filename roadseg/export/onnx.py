"""A network as an ONNX file: uint8 frames in, uint8 labels out.

    frame_bgr (N, H, W, 3) uint8 BGR -> labels (N, H, W) uint8 class ids
                                     or logits (N, classes, H, W) float32

Everything between is in the graph: the scale to 0..1 (folded into the first convolution where the
network starts with one), batch normalisation (folded into the convolutions), and ArgMax, where the
lowest id wins ties. Layers keep their PyTorch names.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from roadseg import __version__
from roadseg.errors import SinkError, UsageError
from roadseg.export.lowering import get_lowering
from roadseg.labels import CLASS_NAMES, PALETTES

if TYPE_CHECKING:
    from torch import nn

__all__ = ["INPUT_NAME", "Output", "build_onnx", "metadata", "save_onnx"]

Output = Literal["labels", "logits"]

INPUT_NAME = "frame_bgr"
"""Name of the graph's input; the output has the name of what it is, `labels` or `logits`."""


def build_onnx(
    model: nn.Module,
    name: str,
    *,
    size_hw: tuple[int, int] | None = None,
    lowering: str = "native",
    output: Output = "labels",
    weights_sha256: str = "",
) -> Any:
    """Export a network.

    Args:
        model: takes (N, 3, H, W) float BGR in 0..1, returns (N, classes, H, W) scores; not changed.
        name: the network's name, for the metadata.
        size_hw: the only height and width that the graph takes; None for any multiples of 32.
            Only with a fixed size can sides be odd. The batch size is always free.
        lowering: how pooling with indices and unpooling are written: `native`.
        output: `labels`, or `logits` for comparisons.
        weights_sha256: checksum of the weights' file, for the metadata.

    Returns:
        A checked `onnx.ModelProto`.

    Raises:
        UsageError: unknown lowering or output.
        ModelError: the network uses an operation that export does not cover.
    """
    import onnx

    from roadseg.export.builder import GraphBuilder
    from roadseg.export.convert import Converter
    from roadseg.export.trace import trace_model

    rules = get_lowering(lowering)
    if output not in ("labels", "logits"):
        raise UsageError(f"unknown output {output!r}: use labels or logits")
    graph = GraphBuilder()
    trace = trace_model(model, size_hw)
    as_float = graph.add("Cast", [INPUT_NAME], name="to_float", to=onnx.TensorProto.FLOAT)
    planes = graph.add("Transpose", [as_float], name="to_nchw", perm=[0, 3, 1, 2])
    scores = Converter(trace, graph, rules, input_scale=1 / 255).run(planes)
    classes = trace.output_channels
    height, width = size_hw or ("height", "width")
    value_info = onnx.helper.make_tensor_value_info
    if output == "labels":
        best = graph.add("ArgMax", [scores], name="argmax", axis=1, keepdims=0, select_last_index=0)
        graph.add("Cast", [best], name="to_uint8", output=output, to=onnx.TensorProto.UINT8)
        result = value_info(output, onnx.TensorProto.UINT8, ["batch", height, width])
    else:
        graph.add("Identity", [scores], name="to_logits", output=output)
        result = value_info(output, onnx.TensorProto.FLOAT, ["batch", classes, height, width])
    frame = value_info(INPUT_NAME, onnx.TensorProto.UINT8, ["batch", height, width, 3])
    properties = metadata(
        name, size_hw=size_hw, lowering=lowering, output=output, weights_sha256=weights_sha256
    )
    return graph.finish(name, [frame], [result], properties, rules.domains)


def metadata(
    name: str,
    *,
    size_hw: tuple[int, int] | None,
    lowering: str,
    output: Output,
    weights_sha256: str,
) -> dict[str, str]:
    """What an exported file says of itself; values are text, lists are JSON."""
    palette_rgb = PALETTES["camvid"][:, ::-1].tolist()
    return {
        "roadseg_version": __version__,
        "model": name,
        "classes": json.dumps(list(CLASS_NAMES)),
        "palette_rgb": json.dumps(palette_rgb),
        "size_hw": json.dumps(list(size_hw)) if size_hw else "any multiple of 32",
        "lowering": lowering,
        "output": output,
        "weights_sha256": weights_sha256,
    }


def save_onnx(model: Any, path: Path) -> None:
    """Write a graph; the file appears under its name only when it is complete.

    Raises:
        SinkError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        temporary.write_bytes(model.SerializeToString())
        temporary.replace(path)
    except OSError as exc:
        temporary.unlink(missing_ok=True)
        raise SinkError(f"cannot write {path}: {exc.strerror or exc}") from exc
