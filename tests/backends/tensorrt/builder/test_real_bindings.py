"""A build through the bindings of full TensorRT that NVIDIA publishes.

The library behind them is TensorRT-RTX's (see `tests/support/tensorrt/bindings.py`), so this shows
that the calls are right, not what full TensorRT makes of them.
"""

from __future__ import annotations

import json
from pathlib import Path

from tests.support.tensorrt.bindings import Bindings

CODE = """
import json
from pathlib import Path
import onnx
from roadseg.backends.tensorrt.builder.compile import compile_plan
from roadseg.engine.runtime import load_runtime
from roadseg.engine.spec import EngineSpec
from tests.support.tensorrt.builder import differences

helper, kinds = onnx.helper, onnx.TensorProto
nodes = [
    helper.make_node("Cast", ["frame_bgr"], ["a"], to=kinds.FLOAT16),
    helper.make_node("Transpose", ["a"], ["b"], perm=[0, 3, 1, 2]),
    helper.make_node("ArgMax", ["b"], ["c"], axis=1, keepdims=0),
    helper.make_node("Cast", ["c"], ["d"], to=kinds.FLOAT16),
    helper.make_node("Cast", ["d"], ["labels"], to=kinds.UINT8),
]
frames = helper.make_tensor_value_info("frame_bgr", kinds.UINT8, ["batch", 64, 96, 3])
labels = helper.make_tensor_value_info("labels", kinds.UINT8, ["batch", 64, 96])
graph = helper.make_graph(nodes, "graph", [frames], [labels])
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
runtime = load_runtime("tensorrt")
spec = EngineSpec("x", "fp32", (64, 96), (1, 2, 4), "tensorrt", "native", workspace_mb=256)
told = []
plan = compile_plan(
    model.SerializeToString(),
    spec,
    runtime,
    timing_cache=Path(sys.argv[1]),
    on_phase=lambda fraction, phase: told.append(fraction),
)
stopped = compile_plan(
    model.SerializeToString(), spec, runtime, cancelled=lambda: len(told) > 3
)
facts = {
    "version": runtime.version,
    "differences": differences(trt),
    "bytes": len(plan),
    "stopped": stopped is None,
    "last": told[-1],
}
print(json.dumps(facts))
"""


def test_a_build_through_them(run_with_bindings: Bindings, tmp_path: Path) -> None:
    cache = tmp_path / "timing.cache"
    output = run_with_bindings(CODE, str(cache), options=["-W", "error"])
    facts = json.loads(output.splitlines()[-1])
    assert facts["version"] == [int(part) for part in run_with_bindings.version.split(".")]
    # Only the RTX edition is told whom to build for.
    assert [odd for odd in facts["differences"] if "apabilit" not in odd] == []
    assert facts["bytes"] > 1000
    assert facts["last"] == 1.0
    assert facts["stopped"] is True
    assert cache.stat().st_size > 0
