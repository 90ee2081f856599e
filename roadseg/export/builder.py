"""A small writer of ONNX graphs: fresh names, shared constants, a checked result."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from roadseg.errors import ModelError

__all__ = ["IR_VERSION", "OPSET", "GraphBuilder"]

OPSET = 17
"""Every operation here is in it, and every TensorRT since 8.6 reads it."""

IR_VERSION = 8


class GraphBuilder:
    """Collects nodes and initialisers; tensors are known by their names.

    `add` returns the name of the one output that most nodes have. Names come from the module
    paths of the PyTorch model where there is one, so that a profile of the compiled network
    reads like the model.
    """

    def __init__(self) -> None:
        self._nodes: list[Any] = []
        self._initializers: list[Any] = []
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
        import onnx

        node_name = self.fresh(name or op_type)
        result = output or f"{node_name}:0"
        self._nodes.append(
            onnx.helper.make_node(
                op_type, list(inputs), [result], name=node_name, domain=domain, **attributes
            )
        )
        return result

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike, name: str = "const") -> str:
        """An initialiser; equal small ones are stored once."""
        import onnx

        array = np.asarray(value, dtype=dtype)
        key = (array.dtype.str, array.shape, array.tobytes() if array.size <= 16 else b"")
        if array.size <= 16 and key in self._constants:
            return self._constants[key]
        fresh = self.fresh(name)
        self._initializers.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array), fresh))
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
            self._nodes, name, list(inputs), list(outputs), self._initializers
        )
        opsets = [onnx.helper.make_opsetid("", OPSET)]
        opsets += [
            onnx.helper.make_opsetid(key, version) for key, version in (domains or {}).items()
        ]
        model = onnx.helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="roadseg"
        )
        onnx.helper.set_model_props(model, dict(metadata))
        try:
            onnx.checker.check_model(model, full_check=not domains)
        except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as exc:
            detail = str(exc).strip().splitlines()[0]
            raise ModelError(
                f"the exported graph is not valid ONNX ({detail}): "
                "the network uses an operation in a way that export does not cover"
            ) from exc
        return model
