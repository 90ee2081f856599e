"""A network as an OpenVINO file pair (`.xml` and `.bin`), in FP32 or INT8."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roadseg.core.errors import SinkError
from roadseg.core.files import whole_files, write_json, writing
from roadseg.core.openvino import import_openvino, openvino_failure
from roadseg.export.argmax import pick_by_reductions, pick_in_blocks
from roadseg.weights.manifest import sha256_of

__all__ = ["dump_metadata", "finish_ir", "from_onnx", "save_ir"]

_FIX = "free some space, or give another path"


def from_onnx(onnx_model: Any) -> Any:
    """An `openvino.Model` of an `onnx.ModelProto`, its metadata included."""
    model = import_openvino().Core().read_model(onnx_model.SerializeToString())
    for entry in onnx_model.metadata_props:
        model.set_rt_info(entry.value, ["roadseg", entry.key])
    return model


def finish_ir(model: Any) -> None:
    """Rewrite ArgMax, in place, the way OpenVINO's CPU plugin runs it fastest: see `argmax.py`."""
    result = model.get_results()[0]
    node = result.input_value(0).get_node()
    while node.get_type_name() in ("Convert", "Squeeze", "Reshape"):
        node = node.input_value(0).get_node()
    if node.get_type_name() != "TopK":
        return
    scores = node.input_value(0)
    labels = pick_in_blocks(scores) or pick_by_reductions(scores)
    names = result.input_value(0).get_names()
    result.input(0).replace_source_output(labels)
    labels.set_names(names)
    model.validate_nodes_and_infer_types()


def dump_metadata(model: Any) -> dict[str, str]:
    """What the exporter wrote into an `openvino.Model`; empty for models of others."""
    if not model.has_rt_info(["roadseg"]):
        return {}
    entries = model.get_rt_info(["roadseg"]).astype(dict)
    return {key: str(model.get_rt_info(["roadseg", key]).astype(str)) for key in entries}


def save_ir(
    model: Any, path: Path, *, precision: str, figures: Mapping[str, object] | None = None
) -> None:
    """Write `path` (`.xml`), the `.bin` beside it, and a `.xml.json` with checksums and figures.

    All files are complete before the first of them gets its name.

    Args:
        model: an `openvino.Model`.
        path: a `.xml` file; replaced if it exists.
        precision: `int8`, `fp32` or `fp16`. With `fp16` the weights are stored as FP16, which
            halves the file; arithmetic stays FP32. With `int8` what is not INT8 stays FP32.
        figures: more entries for the `.xml.json`.

    Raises:
        SinkError: the files cannot be written.
    """
    sidecar = path.with_name(f"{path.name}.json")
    if model.has_rt_info(["roadseg"]):
        model.set_rt_info(precision, ["roadseg", "precision"])
    try:
        with writing(path, _FIX), whole_files(path.parent, last=sidecar.name) as staging:
            staged = staging / path.name
            import_openvino().save_model(model, str(staged), compress_to_fp16=precision == "fp16")
            facts = {
                "precision": precision,
                "sha256": sha256_of(staged),
                "bin_sha256": sha256_of(staged.with_suffix(".bin")),
                **(figures or {}),
            }
            write_json(staging / sidecar.name, facts)
            sidecar.unlink(missing_ok=True)  # never beside files that it does not describe
    except RuntimeError as exc:
        raise openvino_failure(exc, f"cannot write {path}", _FIX, SinkError) from exc
