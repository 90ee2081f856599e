"""The same two ops as quickly deployable plugins, compiled ahead of time (TensorRT 10.9 and newer).

    register_portable(trt)

before a network exported with `portable=True` is parsed. TensorRT then takes PTX and launch
parameters from here while it builds, and keeps both inside the engine: whoever loads that engine
needs neither Python nor roadseg nor a plugin library. So these run in trtexec, DeepStream and
Triton Inference Server.

The kernels are those of `kernels`. TensorRT calls them with the addresses of the inputs, the extra
arguments, which are 32-bit integers, and the addresses of the outputs, in this order. That is
what its Python layer documents, and the order in which the kernels take their parameters. Because
some published samples have the outputs before the extra arguments, the order is a parameter here,
and one run on a GPU settles it (docs/plugin.md).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Sequence
from types import GenericAlias
from typing import Any, Literal, get_args

import numpy as np
import numpy.typing as npt

from roadseg.backends.tensorrt.formats import ROLES, Op, combinations, variant_of
from roadseg.core.errors import BackendError
from roadseg.core.installing import upgrade
from roadseg.core.wording import option
from roadseg.cuda.load import load_cuda
from roadseg.engine.runtime import parse_version
from roadseg.kernels.kernels import Layout, Variant, pool_launch, unpool_launch
from roadseg.kernels.layouts import ITEM_BYTES
from roadseg.kernels.nvrtc import compile_kernels, newer_than_driver
from roadseg.kernels.ptx import cuda_release, entry_ptx

ArgumentOrder = Literal["inputs, extra, outputs", "inputs, outputs, extra"]
ARGUMENT_ORDERS: tuple[ArgumentOrder, ...] = get_args(ArgumentOrder)
"""How TensorRT may hand a kernel its parameters; the first is the documented one."""

NAMESPACE = "roadseg_portable"

_SINCE = (10, 9)
_VECTOR_BYTES = 16
_MAX_GRID_Y = 65535
_CHANNEL_BLOCK = {Layout.LINEAR: 1, Layout.HWC8: 8, Layout.HWC16: 16, Layout.CHW32: 32}
_TYPE_NAMES = {"fp32": "FP32", "fp16": "FP16", "int8": "INT8"}
# Places of the kernels' parameters: (x, N, C, H, W, y, index), (x, index, N, C, H, W, crops, y).
_OUTPUTS_BEFORE_EXTRA = {"pool": (0, 5, 6, 1, 2, 3, 4), "unpool": (0, 1, 8, 2, 3, 4, 5, 6, 7)}


# One element. Of a plain `int` the Python layer of TensorRT 10.9 makes `int(array)`, which NumPy
# refuses from 2.4 on.
Crop = npt.NDArray[np.int32]


class _Target:
    """What the plugins hand to TensorRT; one for the process, as the registration is.

    Attributes:
        ptx: all kernels, compiled for the GPU that the engine is for.
        argument_order: how TensorRT hands them their parameters.
    """

    def __init__(self) -> None:
        self.ptx = b""
        self.argument_order: ArgumentOrder = ARGUMENT_ORDERS[0]

    def code(self, variant: Variant) -> str:
        """The PTX of one kernel."""
        order = None
        if self.argument_order == "inputs, outputs, extra":
            order = _OUTPUTS_BEFORE_EXTRA[variant.op]
        return entry_ptx(self.ptx.decode(), variant.symbol, order)


_TARGET = _Target()


def register_portable(
    trt: Any,
    compute_capability: tuple[int, int] | None = None,
    *,
    ptx: bytes | None = None,
    argument_order: ArgumentOrder | None = None,
) -> None:
    """Teach TensorRT the two ops for a build; a second call changes only what it names.

    Args:
        trt: the imported `tensorrt` module.
        compute_capability: of the GPU that the engine is for. None: what an earlier call named, or
            else the GPU here.
        ptx: all kernels, compiled for it; None compiles them, or finds them in the user's cache.
        argument_order: how TensorRT hands kernels their parameters. None: as documented.

    Raises:
        BackendError: this TensorRT has no ahead-of-time plugins; or there is no GPU to ask; or the
            kernels cannot be compiled for it, or not by a compiler that its driver understands.
    """
    # The Python layer tells by this type, too, whether the library can do it.
    if parse_version(trt.__version__) < _SINCE or not hasattr(trt, "QuickPluginCreationRequest"):
        raise BackendError(
            f"TensorRT {trt.__version__} has no ahead-of-time plugins",
            fix=f"build without {option('--portable', True)}, or install TensorRT 10.9 or newer: "
            f"{upgrade('tensorrt')}",
        )
    if ptx is not None:
        _TARGET.ptx = ptx
    elif compute_capability is not None:
        _TARGET.ptx = compile_kernels(compute_capability, output="ptx")
    elif not _TARGET.ptx:
        _TARGET.ptx = _compile_here()
    if argument_order is not None:
        _TARGET.argument_order = argument_order
    trtp = importlib.import_module("tensorrt.plugin")
    registered = getattr(trtp.op, NAMESPACE, None)
    for name, register in (("MaxPoolIndex", _register_pool), ("MaxUnpoolIndex", _register_unpool)):
        if not hasattr(registered, name):
            register(trt, trtp, f"{NAMESPACE}::{name}")


def _compile_here() -> bytes:
    """All kernels for the first GPU here, in a form that its driver can finish.

    A driver reads PTX up to its own CUDA version. TensorRT would notice when the engine first runs,
    and not say why.
    """
    device = load_cuda().device
    ptx = compile_kernels(device.compute_capability, output="ptx")
    release = cuda_release(ptx.decode())
    if release > device.driver_cuda:
        raise newer_than_driver(release, device.driver_cuda, "ptx")
    return ptx


def _register_pool(trt: Any, trtp: Any, plugin_id: str) -> None:
    def describe(x: Any) -> Any:
        _check_rank(x)
        y = x.like()
        y.shape_expr[2] = trtp.cdiv(x.shape_expr[2], 2)
        y.shape_expr[3] = trtp.cdiv(x.shape_expr[3], 2)
        index = y.like()
        index.dtype = trt.DataType.INT8
        return y, index

    def formats(x: Any, outputs: Any) -> Any:
        del x, outputs
        return _formats(trt, trtp, "pool")

    def implement(x: Any, outputs: Any, tactic: int) -> Any:
        del tactic
        variant = _variant(trt, "pool", (x, *outputs))
        nchw = _opt_nchw(x)
        block = pool_launch(variant, nchw, 0, 0, 0).block[0]
        batch, channels, height, width = x.shape_expr
        small = (batch, channels, trtp.cdiv(height, 2), trtp.cdiv(width, 2))
        params = _launch_params(trtp, variant, small, wide_width=nchw[3], block=block)
        extra = _extra_args(trtp, (batch, channels, height, width))
        return variant.symbol, _TARGET.code(variant), params, extra

    desc = trtp.TensorDesc
    _annotate(describe, x=desc, **{"return": GenericAlias(tuple, (desc, desc))})
    _annotate(formats)
    _annotate(implement, **{"return": _implementation(trtp)})
    _register(trtp, plugin_id, describe, formats, implement)


def _register_unpool(trt: Any, trtp: Any, plugin_id: str) -> None:
    def describe(x: Any, index: Any, crop_h: Crop, crop_w: Crop) -> Any:
        del index
        _check_rank(x)
        y = x.like()
        y.shape_expr[2] = x.shape_expr[2] * 2 - int(crop_h[0])
        y.shape_expr[3] = x.shape_expr[3] * 2 - int(crop_w[0])
        return y

    def formats(x: Any, index: Any, outputs: Any) -> Any:
        del x, index, outputs
        return _formats(trt, trtp, "unpool")

    def implement(x: Any, index: Any, crop_h: Crop, crop_w: Crop, outputs: Any, tactic: int) -> Any:
        # The crops come by position, in the order of the node's attributes: shapes are safer.
        del crop_h, crop_w, tactic
        variant = _variant(trt, "unpool", (x, index, *outputs))
        nchw, large = _opt_nchw(x), _opt_nchw(outputs[0])
        crop_hw = (2 * nchw[2] - large[2], 2 * nchw[3] - large[3])
        block = unpool_launch(variant, nchw, crop_hw, 0, 0, 0).block[0]
        small = tuple(x.shape_expr)
        params = _launch_params(trtp, variant, small, wide_width=large[3], block=block)
        crops = [small[axis] * 2 - outputs[0].shape_expr[axis] for axis in (2, 3)]
        extra = _extra_args(trtp, (*small, *crops))
        return variant.symbol, _TARGET.code(variant), params, extra

    desc = trtp.TensorDesc
    _annotate(describe, x=desc, index=desc, crop_h=Crop, crop_w=Crop, **{"return": desc})
    _annotate(formats)
    _annotate(implement, crop_h=Crop, crop_w=Crop, **{"return": _implementation(trtp)})
    _register(trtp, plugin_id, describe, formats, implement)


def _register(
    trtp: Any,
    plugin_id: str,
    describe: Callable[..., Any],
    formats: Callable[..., Any],
    implement: Callable[..., Any],
) -> None:
    """What the decorators of `tensorrt.plugin` do."""
    trtp.register(plugin_id)(describe)
    trtp.autotune(plugin_id)(formats)
    trtp.aot_impl(plugin_id)(implement)


def _annotate(function: Callable[..., Any], **annotations: Any) -> None:
    """Give a function the annotations that `tensorrt.plugin` checks: classes of its own.

    Written in the source they would be text, as all annotations here, and it reads no text.
    """
    function.__annotations__ = annotations


def _implementation(trtp: Any) -> Any:
    """What an ahead-of-time implementation returns: kernel, code, launch, extra arguments."""
    return GenericAlias(tuple, (str, str, trtp.KernelLaunchParams, trtp.SymExprs))


def _formats(trt: Any, trtp: Any, op: Op) -> list[Any]:
    """The combinations of `formats` in the words of `tensorrt.plugin`."""
    offered = []
    for combination in combinations(parse_version(trt.__version__)):
        values = (_TYPE_NAMES[combination.dtype], combination.layout.name)
        index = ("INT8", combination.index_layout.name)
        tensors = [values if role == "values" else index for role in ROLES[op]]
        types, layouts = zip(*tensors, strict=True)
        offered.append(trtp.AutoTuneCombination(", ".join(types), ", ".join(layouts)))
    return offered


def _variant(trt: Any, op: Op, tensors: Sequence[Any]) -> Variant:
    """The kernel for tensors of these types and formats, inputs before outputs."""
    return variant_of(trt, op, [(desc.dtype, desc.format) for desc in tensors])


def _check_rank(x: Any) -> None:
    if x.ndim != 4:
        raise ValueError(f"expected (N, C, H, W), got {x.ndim} dimensions")


def _opt_nchw(desc: Any) -> tuple[int, int, int, int]:
    """The shape for which the engine is tuned."""
    extents = desc.shape.opt if desc.shape.is_dynamic else tuple(desc.shape)
    batch, channels, height, width = (int(extent) for extent in extents)
    return batch, channels, height, width


def _launch_params(
    trtp: Any, variant: Variant, small: Sequence[Any], *, wide_width: int, block: int
) -> Any:
    """Blocks and threads as expressions of the shape: what `kernels` computes from numbers.

    Args:
        trtp: `tensorrt.plugin`.
        variant: the kernel.
        small: N, C, H, W of the small map, as expressions.
        wide_width: width of the large map in the shape that the engine is tuned for.
        block: threads of a block. Kernels loop, so it need not fit the shape.
    """
    batch, channels, height, width = small
    elements = _VECTOR_BYTES // ITEM_BYTES[variant.dtype]
    if variant.layout is Layout.LINEAR:
        planes = batch * channels
        in_vectors = wide_width % elements == 0
        pieces = height * (width * 2 // elements if in_vectors else width)
    else:
        # Pooling also writes the index map's padding, which can be wider.
        kinds = (variant.layout, variant.index_layout)[: 2 if variant.op == "pool" else 1]
        room = max(_CHANNEL_BLOCK[kind] for kind in kinds)
        groups = trtp.cdiv(channels, room)
        vectors = room // elements
        if variant.layout is Layout.CHW32:
            planes, pieces = batch * groups, height * width * vectors
        else:
            planes, pieces = batch, height * width * groups * vectors
    params = trtp.KernelLaunchParams()
    params.grid_x = trtp.cdiv(pieces, block)
    params.grid_y = trtp.min(planes, _MAX_GRID_Y)
    params.block_x = block
    return params


def _extra_args(trtp: Any, values: Sequence[Any]) -> Any:
    """The kernel's integers, in order."""
    extra = trtp.SymIntExprs(len(values))
    for i, value in enumerate(values):
        extra[i] = trtp.SymInt32(value)
    return extra
