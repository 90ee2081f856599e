"""A small writer of ONNX graphs: fresh names, shared constants, a checked result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from roadseg.core.errors import ModelError, first_line
from roadseg.core.wording import option

OPSET = 17
"""Every operation here is in it, and every TensorRT since 8.6 reads it."""

OPSET_FLOAT16 = 19
"""The first in which (De)QuantizeLinear take FP16; every TensorRT since 10.0 reads it."""

_IR_VERSIONS = {OPSET: 8, OPSET_FLOAT16: 9}

_FLOAT16_MAX = 65504.0


class GraphBuilder:
    """Collects nodes and initialisers; tensors are known by their names.

    `add` returns the name of the one output that most nodes have. Names come from the module
    paths of the PyTorch model where there is one, so that a profile of the compiled network
    reads like the model.

    Args:
        float16: make a strongly typed FP16 graph: what `number` returns is FP16, and what must
            not be is cast there (`widen`) and back (`narrow`).
    """

    def __init__(self, *, float16: bool = False) -> None:
        self.float16 = float16
        self.opset = OPSET_FLOAT16 if float16 else OPSET
        self._nodes: list[Any] = []
        self._initializers: list[Any] = []
        self._value_infos: list[Any] = []
        self._constants: dict[tuple[str, tuple[int, ...], bytes], str] = {}
        self._taken: set[str] = set()

    def fresh(self, stem: str) -> str:
        """`stem`, or `stem_1`, `stem_2`... when it is taken."""
        name, count = stem, 0
        while name in self._taken:
            count += 1
            name = f"{stem}_{count}"
        self._taken.add(name)
        return name

    def add(
        self,
        op_type: str,
        inputs: Sequence[str],
        *,
        name: str | None = None,
        output: str | None = None,
        domain: str = "",
        **attributes: Any,
    ) -> str:
        """Append a node and return the name of its output."""
        node_name = self.fresh(name or op_type)
        result = output or f"{node_name}:0"
        self._append(op_type, inputs, [result], node_name, domain, attributes)
        return result

    def add_pair(
        self, op_type: str, inputs: Sequence[str], *, name: str, domain: str, **attributes: Any
    ) -> tuple[str, str]:
        """Append a node with two outputs and return their names, `name:0` and `name:1`."""
        node_name = self.fresh(name)
        first, second = f"{node_name}:0", f"{node_name}:1"
        self._append(op_type, inputs, [first, second], node_name, domain, attributes)
        return first, second

    def _append(
        self,
        op_type: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        name: str,
        domain: str,
        attributes: Mapping[str, Any],
    ) -> None:
        import onnx

        self._nodes.append(
            onnx.helper.make_node(
                op_type, list(inputs), list(outputs), name=name, domain=domain, **attributes
            )
        )

    def declare(self, tensor: str, *, int8: bool = False) -> str:
        """Say the type of a map (N, C, H, W) that a node outside ONNX's own domain yields.

        ONNX knows nothing of such nodes; with this the types of all that follow can be checked.
        """
        import onnx

        kind = onnx.TensorProto.INT8 if int8 else self.float_type
        self._value_infos.append(onnx.helper.make_tensor_value_info(tensor, kind, [None] * 4))
        return tensor

    @property
    def float_type(self) -> int:
        """ONNX's number of the type of weights and features."""
        import onnx

        kinds = onnx.TensorProto
        return int(kinds.FLOAT16 if self.float16 else kinds.FLOAT)

    def widen(self, x: str, name: str) -> str:
        """`x` as FP32: a cast in FP16 graphs, `x` itself in others."""
        import onnx

        kind = onnx.TensorProto.FLOAT
        return self.add("Cast", [x], name=name, to=kind) if self.float16 else x

    def narrow(self, x: str, name: str) -> str:
        """FP32 `x` in the graph's float type: the way back of `widen`."""
        return self.add("Cast", [x], name=name, to=self.float_type) if self.float16 else x

    def number(self, value: npt.ArrayLike, name: str = "const") -> str:
        """An initialiser in the graph's float type; `name` says whose it is in the error.

        Raises:
            ModelError: a value is beyond FP16's range.
        """
        array = np.asarray(value, np.float32)
        if not self.float16:
            return self.constant(array, np.float32, name)
        peak = float(np.abs(array).max(initial=0))
        if not peak <= _FLOAT16_MAX:
            raise ModelError(
                f"{name} holds {peak:g}, and FP16 ends at {_FLOAT16_MAX:g}",
                fix=f"use {option('--precision', 'fp32')} or train with weight decay",
            )
        return self.constant(array, np.float16, name)

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike, name: str = "const") -> str:
        """An initialiser; equal small ones are stored once."""
        import onnx

        array = np.asarray(value, dtype=dtype)
        key = (array.dtype.str, array.shape, array.tobytes() if array.size <= 16 else b"")
        if array.size <= 16 and key in self._constants:
            return self._constants[key]
        fresh = self.fresh(name)
        self._initializers.append(onnx.numpy_helper.from_array(np.asarray(array, order="C"), fresh))
        if array.size <= 16:
            self._constants[key] = fresh
        return fresh

    def finish(
        self,
        name: str,
        inputs: Sequence[Any],
        outputs: Sequence[Any],
        metadata: Mapping[str, str],
        domains: Mapping[str, int] | None = None,
    ) -> Any:
        """The checked `onnx.ModelProto`.

        Args:
            name: name of the graph.
            inputs: value infos of the graph's inputs.
            outputs: value infos of the graph's outputs.
            metadata: `metadata_props` of the model.
            domains: versions of further operator domains that the nodes use.

        Raises:
            ModelError: the graph is not valid ONNX.
        """
        import onnx

        graph = onnx.helper.make_graph(
            self._nodes,
            name,
            list(inputs),
            list(outputs),
            self._initializers,
            value_info=self._value_infos,
        )
        opsets = [onnx.helper.make_opsetid("", self.opset)]
        opsets += [
            onnx.helper.make_opsetid(key, version) for key, version in (domains or {}).items()
        ]
        model = onnx.helper.make_model(
            graph,
            opset_imports=opsets,
            ir_version=_IR_VERSIONS[self.opset],
            producer_name="roadseg",
        )
        onnx.helper.set_model_props(model, dict(metadata))
        try:
            onnx.checker.check_model(model, full_check=True)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as exc:
            detail = first_line(exc)
            raise ModelError(
                f"the exported graph is not valid ONNX ({detail})",
                fix="use another operation in the network, or add this one to "
                "roadseg/export/operators.py",
            ) from exc
        return model
