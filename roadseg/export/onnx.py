"""A network as an ONNX file: uint8 frames in, uint8 labels out.

    frame_bgr (N, H, W, 3) uint8 BGR -> labels (N, H, W) uint8 class ids
                                     or logits (N, classes, H, W) float32

Everything between is in the graph: the scale to 0..1 (folded into the first convolution where the
network starts with one; in FP16 an exact 1/256 stays outside), batch normalisation (folded into
the convolutions), and ArgMax, where the lowest id wins ties. Layers keep their PyTorch names.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from roadseg.core.errors import UsageError
from roadseg.core.files import write_bytes
from roadseg.core.labels import CAMVID, ClassSet
from roadseg.core.version import __version__
from roadseg.core.wording import option
from roadseg.export.lowering import Lowering, get_lowering

if TYPE_CHECKING:
    from torch import nn


Output = Literal["labels", "logits"]

Precision = Literal["fp32", "fp16"]

INPUT_NAME = "frame_bgr"
"""Name of the graph's input; the output has the name of what it is, `labels` or `logits`."""


def build_onnx(
    model: nn.Module,
    name: str,
    *,
    size_hw: tuple[int, int] | None = None,
    batch: int | None = None,
    lowering: str | Lowering = "native",
    precision: Precision = "fp32",
    output: Output = "labels",
    weights_sha256: str = "",
    portable: bool = False,
    classes: ClassSet = CAMVID,
) -> Any:
    """Export a network.

    Args:
        model: takes (N, 3, H, W) float BGR in 0..1, returns (N, classes, H, W) scores; not changed.
        name: the network's name, for the metadata.
        size_hw: the only height and width that the graph takes; None for any multiples of 32.
            Only with a fixed size can sides be odd.
        batch: the only number of frames that the graph takes at a time; None for any.
        lowering: how pooling with indices and unpooling are written: `native`, `plugin`, or one
            of your own.
        precision: the type of weights and features. An FP16 graph is strongly typed: what
            has to be FP32 in it is cast, and nothing is left to the runtime's choice.
        output: `labels`, or `logits` for comparisons.
        weights_sha256: checksum of the weights' file, for the metadata.
        portable: write for the plugin whose kernels are compiled into the engine.
        classes: what the network tells apart, for the metadata.

    Returns:
        A checked `onnx.ModelProto`, opset 17, or 19 for FP16.

    Raises:
        UsageError: unknown lowering, precision or output, or no batch.
        ModelError: the network uses an operation that export does not cover, or weights beyond
            FP16's range.
    """
    import onnx

    from roadseg.export.builder import GraphBuilder
    from roadseg.export.convert import Converter
    from roadseg.export.operators import FUNCTIONS, MODULES
    from roadseg.export.trace import trace_model

    rules = get_lowering(lowering, portable=portable) if isinstance(lowering, str) else lowering
    if output not in ("labels", "logits"):
        raise UsageError(f"unknown output {output!r}", fix="use labels or logits")
    if precision not in ("fp32", "fp16"):
        raise UsageError(f"unknown precision {precision!r}", fix="use fp32 or fp16")
    if batch is not None and batch < 1:
        raise UsageError(
            f"a batch has 1 frame or more, got {batch}",
            fix=f"use for example {option('--batch', 4)}",
        )
    graph = GraphBuilder(float16=precision == "fp16")
    trace = trace_model(model, size_hw)
    as_float = graph.add("Cast", [INPUT_NAME], name="to_float", to=graph.float_type)
    planes = graph.add("Transpose", [as_float], name="to_nchw", perm=[0, 3, 1, 2])
    converter = Converter(
        trace, graph, rules, input_scale=1 / 255, modules=MODULES, functions=FUNCTIONS
    )
    scores = converter.run(planes)
    channels = trace.output_channels
    frames = batch or "batch"
    height, width = size_hw or ("height", "width")
    value_info = onnx.helper.make_tensor_value_info
    if output == "labels":
        best = graph.add("ArgMax", [scores], name="argmax", axis=1, keepdims=0, select_last_index=0)
        # TensorRT makes uint8 of floats only; ids up to 2048 are exact in FP16.
        ids = graph.add("Cast", [best], name="to_id", to=graph.float_type)
        graph.add("Cast", [ids], name="to_uint8", output=output, to=onnx.TensorProto.UINT8)
        result = value_info(output, onnx.TensorProto.UINT8, [frames, height, width])
    else:
        wide = graph.widen(scores, "to_float32")
        graph.add("Identity", [wide], name="to_logits", output=output)
        result = value_info(output, onnx.TensorProto.FLOAT, [frames, channels, height, width])
    frame = value_info(INPUT_NAME, onnx.TensorProto.UINT8, [frames, height, width, 3])
    properties = metadata(
        name,
        size_hw=size_hw,
        batch=batch,
        lowering=rules.name,
        precision=precision,
        output=output,
        weights_sha256=weights_sha256,
        classes=classes,
    )
    return graph.finish(name, [frame], [result], properties, rules.domains)


def metadata(
    name: str,
    *,
    size_hw: tuple[int, int] | None,
    batch: int | None,
    lowering: str,
    precision: Precision,
    output: Output,
    weights_sha256: str,
    classes: ClassSet = CAMVID,
) -> dict[str, str]:
    """What an exported file says of itself; values are text, lists are JSON."""
    palette_rgb = classes.palette_bgr[:, ::-1].tolist()
    return {
        "roadseg_version": __version__,
        "model": name,
        "classes": json.dumps(list(classes.names)),
        "palette_rgb": json.dumps(palette_rgb),
        "size_hw": json.dumps(list(size_hw)) if size_hw else "any multiple of 32",
        "batch": json.dumps(batch) if batch else "any",
        "lowering": lowering,
        "precision": precision,
        "output": output,
        "weights_sha256": weights_sha256,
    }


def save_onnx(model: Any, path: Path) -> None:
    """Write a graph; the file appears under its name only when it is complete.

    Raises:
        SinkError: the file cannot be written.
    """
    write_bytes(path, model.SerializeToString(), fix="free some space, or give another path")
