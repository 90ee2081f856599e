"""What the two plugins do, as classes that become TensorRT's own in `tensorrt_plugin`.

What makes them safe inside a CUDA graph: kernels are compiled and loaded when a plugin meets its
context or first learns its shapes, and `enqueue` allocates, synchronises, loads and compiles
nothing. It launches one kernel. A graph that was captured replays without Python.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, ClassVar, ParamSpec, TypeVar

import numpy as np

from roadseg.backends.device_kernels import LoadedKernels
from roadseg.backends.tensorrt.formats import ROLES, Op, supports, variant_of
from roadseg.kernels.kernels import Launch, Variant, pool_launch, source_hash, unpool_launch

NAMESPACE = "roadseg"
VERSION = "1"

_P = ParamSpec("_P")
_R = TypeVar("_R")


class State:
    """What all plugins of the process share.

    Attributes:
        kernels: those that plugins take from now on; a plugin keeps the ones it has.
        error: the first failure since `last_plugin_error` was last asked.
        creators: ours, by name; TensorRT's registry does not keep them alive.
    """

    def __init__(self) -> None:
        self.kernels = LoadedKernels()
        self.error: str | None = None
        self.creators: dict[str, Any] = {}


STATE = State()


def remembered(method: Callable[_P, _R]) -> Callable[_P, _R]:
    """Keep the text of an exception for `last_plugin_error`, then let it go on to TensorRT."""

    @wraps(method)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return method(*args, **kwargs)
        except Exception as exc:
            if STATE.error is None:
                op = args[0]
                text = " ".join(str(exc).split())
                STATE.error = f"{type(op).__name__}.{method.__name__}: {text}"
            raise

    return call


class IndexOp:
    """What pooling and unpooling share; made one of TensorRT's plugins by `register_plugins`."""

    trt: ClassVar[Any]
    op: ClassVar[Op]
    plugin_name: str
    plugin_version: str
    plugin_namespace: str
    num_outputs: int
    timing_cache_id: str

    def __init__(self, crop_hw: tuple[int, int] = (0, 0)) -> None:
        trt = self.trt
        for base in plugin_bases(trt):
            base.__init__(self)
        self.crop_hw = crop_hw
        self.plugin_name = type(self).__name__
        self.plugin_version = VERSION
        self.plugin_namespace = NAMESPACE
        roles = ROLES[self.op]
        self.num_inputs = 1 if self.op == "pool" else 2
        self.num_outputs = len(roles) - self.num_inputs
        # Timings found for other kernels or another crop must not be taken for ours.
        self.timing_cache_id = f"{source_hash()[:16]}-{crop_hw[0]}{crop_hw[1]}"
        # The collection holds addresses of these, and TensorRT reads it after we returned it.
        self._crop = [np.array([crop], np.int32) for crop in crop_hw]
        self._fields = [
            trt.PluginField(name, value, trt.PluginFieldType.INT32)
            for name, value in zip(("crop_h", "crop_w"), self._crop, strict=True)
        ]
        self._collection = trt.PluginFieldCollection(self._fields)
        self._kernels: LoadedKernels | None = None
        self._formats: tuple[Any, ...] = ()
        self._nchw: tuple[int, int, int, int] = (0, 0, 0, 0)
        self._variant: Variant | None = None
        self._pointers: tuple[int, ...] = ()
        self._launch: Launch | None = None

    # What TensorRT asks of every plugin

    def get_capability_interface(self, type: Any) -> IndexOp:
        """One object is all three of core, build and run time."""
        del type
        return self

    def clone(self) -> IndexOp:
        """A plugin of its own with the same crop, kernels and prepared launch."""
        cloned = type(self)(self.crop_hw)
        cloned.__dict__.update(self.__dict__)
        return cloned

    def get_fields_to_serialize(self) -> Any:
        """The crop; it stays alive with the plugin."""
        return self._collection

    # Build time

    @remembered
    def get_output_data_types(self, input_types: Sequence[Any]) -> list[Any]:
        """Values keep their type, the index map is INT8."""
        outputs = ROLES[self.op][self.num_inputs :]
        return [input_types[0] if role == "values" else self.trt.DataType.INT8 for role in outputs]

    @remembered
    def get_output_shapes(
        self, inputs: Sequence[Any], shape_inputs: Sequence[Any], expr_builder: Any
    ) -> list[Any]:
        """Shapes as expressions: they hold for every batch and size."""
        del shape_inputs
        shape = inputs[0]
        if len(shape) != 4:
            raise ValueError(f"expected (N, C, H, W), got {len(shape)} dimensions")
        results = []
        for _ in range(self.num_outputs):
            output = self.trt.DimsExprs(shape)
            for axis in (2, 3):
                output[axis] = self._output_extent(shape[axis], axis, expr_builder)
            results.append(output)
        return results

    def _output_extent(self, extent: Any, axis: int, expr_builder: Any) -> Any:
        """Height or width of the outputs from that of the input."""
        operation = self.trt.DimensionOperation
        two = expr_builder.constant(2)
        if self.op == "pool":
            return expr_builder.operation(operation.CEIL_DIV, extent, two)
        doubled = expr_builder.operation(operation.PROD, extent, two)
        crop = expr_builder.constant(self.crop_hw[axis - 2])
        return expr_builder.operation(operation.SUB, doubled, crop)

    @remembered
    def supports_format_combination(self, pos: int, in_out: Sequence[Any], num_inputs: int) -> bool:
        """Whether the tensors up to `pos` belong to one of the combinations in `formats`."""
        del num_inputs
        return supports(self.trt, self.op, _formats([tensor.desc for tensor in in_out[: pos + 1]]))

    def configure_plugin(self, inp: Sequence[Any], out: Sequence[Any]) -> None:
        """Nothing to do: all that depends on formats waits for `on_shape_change`."""
        del inp, out

    # Run time

    def set_tactic(self, tactic: int) -> None:
        """There is one kernel for each combination of formats, so nothing to choose."""
        del tactic

    @remembered
    def attach_to_context(self, resource_context: Any) -> IndexOp:
        """A clone for one execution context, with its kernels loaded."""
        del resource_context
        cloned = self.clone()
        cloned._load()
        return cloned

    @remembered
    def on_shape_change(self, inp: Sequence[Any], out: Sequence[Any]) -> None:
        """Choose the kernel for these formats and shapes."""
        self._load()
        self._prepare(inp, out)

    @remembered
    def enqueue(
        self,
        input_desc: Sequence[Any],
        output_desc: Sequence[Any],
        inputs: Sequence[int],
        outputs: Sequence[int],
        workspace: int,
        stream: int,
    ) -> None:
        """Launch the kernel in `stream`; nothing else."""
        del workspace
        self._prepare(input_desc, output_desc)
        pointers = (*inputs, *outputs)
        if self._launch is None or pointers != self._pointers:
            self._launch = self._launch_for(pointers)
            self._pointers = pointers
        launch = self._launch
        if self._kernels is None:
            raise RuntimeError("enqueued before attach_to_context or on_shape_change")
        kernel = self._kernels.kernel(launch.symbol)
        kernel.launch(launch.grid, launch.block, launch.args, stream)

    def _load(self) -> None:
        """Take the process's kernels, and load them if nobody did; not during a capture."""
        if self._kernels is None:
            self._kernels = STATE.kernels
        self._kernels.load()

    def _prepare(self, inp: Sequence[Any], out: Sequence[Any]) -> None:
        """Choose the kernel; only Python, and only where formats or shape differ from before."""
        in_out = (*inp, *out)
        formats = _formats(in_out)
        nchw = tuple(int(extent) for extent in inp[0].dims)
        if formats == self._formats and nchw == self._nchw:
            return
        if len(nchw) != 4:
            raise ValueError(f"expected (N, C, H, W), got {nchw}")
        self._variant = variant_of(self.trt, self.op, formats)
        self._formats, self._nchw = formats, nchw
        self._launch = None
        # Kernels that cannot take this shape say so here rather than at the first frame.
        self._launch_for((0,) * len(in_out))

    def _launch_for(self, pointers: tuple[int, ...]) -> Launch:
        """The launch for tensors at these addresses, in TensorRT's order."""
        if self._variant is None:
            raise RuntimeError("no formats are known yet")
        if self.op == "pool":
            x, y, index = pointers
            return pool_launch(self._variant, self._nchw, x, y, index)
        x, index, y = pointers
        return unpool_launch(self._variant, self._nchw, self.crop_hw, x, index, y)


class MaxPoolIndex(IndexOp):
    """MaxPoolIndex(x) -> y, index: 2x2 max pooling with stride 2, rounding sizes up."""

    op = "pool"


class MaxUnpoolIndex(IndexOp):
    """MaxUnpoolIndex(x, index) -> y: each value back to where it was, zeros elsewhere."""

    op = "unpool"


def plugin_bases(trt: Any) -> tuple[Any, ...]:
    """The interfaces of a plugin."""
    return (
        trt.IPluginV3,
        trt.IPluginV3OneCore,
        trt.IPluginV3OneBuild,
        trt.IPluginV3OneRuntime,
    )


def _formats(descs: Sequence[Any]) -> tuple[tuple[Any, Any], ...]:
    """Data types and memory formats of tensors."""
    return tuple((desc.type, desc.format) for desc in descs)
