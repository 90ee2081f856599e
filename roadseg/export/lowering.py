"""How pool-with-index and unpool become ONNX.

No runtime has a usable pair: OpenVINO and TensorRT reject `MaxUnpool`, and the indices of
`MaxPool` are int64 offsets into a whole plane. A lowering says what to emit in their place. Index
maps are private to a lowering: what its `pool` returns is what its `unpool` takes. All else has
the same tensor names in every lowering, those of features included: NAME:0 for what a pool or an
unpool called NAME yields. A further lowering is one more class and one more entry in `LOWERINGS`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np

from roadseg.core.errors import UsageError
from roadseg.core.wording import option
from roadseg.export.builder import GraphBuilder

DOMAIN = "roadseg"
"""Operator domain, version 1, of the plugin lowering."""

NAMESPACE = "roadseg"
"""Where TensorRT finds the plugin that calls Python."""

PORTABLE_NAMESPACE = "roadseg_portable"
"""Where TensorRT finds the plugin whose kernels are compiled into the engine."""

_END = 2**31 - 1
"""As the end of a slice: to the end of the axis."""


class Lowering(Protocol):
    """Emits 2x2 stride-2 max-pooling with indices, and its inverse."""

    @property
    def name(self) -> str:
        """What `--lowering` calls it."""

    @property
    def domains(self) -> Mapping[str, int]:
        """Versions of the operator domains that its nodes need besides ONNX's own."""

    def pool(
        self, graph: GraphBuilder, x: str, *, pad_hw: tuple[int, int], name: str
    ) -> tuple[str, str]:
        """Pool `x`, (N, C, H, W); return the names of the maxima and of the index map.

        Args:
            graph: where to emit.
            x: name of the input tensor.
            pad_hw: rows and columns (0 or 1) that ceil mode adds below and to the right.
            name: prefix of the nodes.
        """

    def unpool(
        self, graph: GraphBuilder, x: str, index: str, *, crop_hw: tuple[int, int], name: str
    ) -> str:
        """Put the values of `x`, (N, C, h, w), back at their places in (N, C, 2h, 2w).

        Args:
            graph: where to emit.
            x: name of the tensor of values.
            index: name of the index map that `pool` returned.
            crop_hw: rows and columns (0 or 1) to take off below and at the right.
            name: prefix of the nodes.
        """


class NativeLowering:
    """Standard operations only, so that every runtime takes it.

    Pooling compares the maximum with strided slices of its input and keeps the place of the first
    match in row-major order, 0..3, as PyTorch does. Unpooling makes four planes, of which the one
    that the index names holds the value and the others zero, and interleaves them with
    DepthToSpace. Its DCR order takes the planes as they are concatenated, and channels-last
    memory, which CPU runtimes choose, then moves whole runs of channels; CRD, PyTorch's order,
    would need the planes interleaved first, and makes segnet-lite in INT8 a third slower under
    OpenVINO. Nearest upsampling of values and indices, compared with a map of positions, is no
    faster and bakes the size in.

    - Ceil mode at odd sizes is edge replication to even sizes: the copies come after the originals
      in the window, so that the first match is never a copy and the result is exact.
    - NaNs are not supported: runtimes differ in whether a maximum takes them. Each window still
      gets exactly one place. Networks with finite weights on uint8 frames produce none.
    """

    name = "native"
    domains: Mapping[str, int] = MappingProxyType({})

    def pool(
        self, graph: GraphBuilder, x: str, *, pad_hw: tuple[int, int], name: str
    ) -> tuple[str, str]:
        """See `Lowering.pool`."""
        name = graph.fresh(name)
        if any(pad_hw):
            pads = graph.constant([0, 0, 0, 0, 0, 0, *pad_hw], np.int64)
            x = graph.add("Pad", [x, pads], name=f"{name}/Pad", mode="edge")
        pooled = graph.add(
            "MaxPool",
            [x],
            name=f"{name}/MaxPool",
            output=f"{name}:0",
            kernel_shape=[2, 2],
            strides=[2, 2],
        )
        ends = graph.constant([_END] * 2, np.int64)
        axes = graph.constant([2, 3], np.int64)
        steps = graph.constant([2, 2], np.int64)
        index = graph.number(3)
        for k in (2, 1, 0):
            starts = graph.constant([k // 2, k % 2], np.int64)
            corner = graph.add("Slice", [x, starts, ends, axes, steps], name=f"{name}/Slice{k}")
            match = graph.add("Equal", [corner, pooled], name=f"{name}/Equal{k}")
            code = graph.number(k)
            index = graph.add("Where", [match, code, index], name=f"{name}/Where{k}")
        return pooled, index

    def unpool(
        self, graph: GraphBuilder, x: str, index: str, *, crop_hw: tuple[int, int], name: str
    ) -> str:
        """See `Lowering.unpool`."""
        name = graph.fresh(name)
        zero = graph.number(0)
        planes = []
        for k in range(4):
            code = graph.number(k)
            here = graph.add("Equal", [index, code], name=f"{name}/Equal{k}")
            planes.append(graph.add("Where", [here, x, zero], name=f"{name}/Where{k}"))
        stacked = graph.add("Concat", planes, name=f"{name}/Concat", axis=1)
        result = f"{name}:0"
        full = graph.add(
            "DepthToSpace",
            [stacked],
            name=f"{name}/DepthToSpace",
            output=None if any(crop_hw) else result,
            blocksize=2,
            mode="DCR",
        )
        if not any(crop_hw):
            return full
        starts = graph.constant([0, 0], np.int64)
        ends = graph.constant([-crop if crop else _END for crop in crop_hw], np.int64)
        axes = graph.constant([2, 3], np.int64)
        return graph.add("Slice", [full, starts, ends, axes], name=f"{name}/Crop", output=result)


class PluginLowering:
    """Two operations of our own, for which TensorRT calls the plugin.

        MaxPoolIndex(x) -> y, index     x (N, C, H, W) to y, index (N, C, ceil(H/2), ceil(W/2))
        MaxUnpoolIndex(x, index) -> y   x, index (N, C, h, w) to y (N, C, 2h-crop_h, 2w-crop_w)

    An index is 0..3, the place 2 * row + column of the maximum in its window: SegNet's two bits.
    It is INT8 because TensorRT lets no smaller or unsigned integer into a plugin. TensorRT finds
    the plugin by the operation's name and the attributes `plugin_namespace` and `plugin_version`;
    before 10.10 it does not look at the domain.

    Args:
        portable: for the plugin whose kernels are compiled into the engine (`aot`), rather than
            the one that calls Python.
    """

    name = "plugin"
    domains: Mapping[str, int] = MappingProxyType({DOMAIN: 1})

    def __init__(self, *, portable: bool = False) -> None:
        self._attributes: dict[str, Any] = {
            "plugin_namespace": PORTABLE_NAMESPACE if portable else NAMESPACE,
            "plugin_version": "1",
        }
        if portable:
            self._attributes["aot"] = 1

    def pool(
        self,
        graph: GraphBuilder,
        x: str,
        *,
        pad_hw: tuple[int, int],  # noqa: ARG002
        name: str,
    ) -> tuple[str, str]:
        """See `Lowering.pool`; the kernels round odd sizes up themselves."""
        pooled, index = graph.add_pair(
            "MaxPoolIndex", [x], name=name, domain=DOMAIN, **self._attributes
        )
        return graph.declare(pooled), graph.declare(index, int8=True)

    def unpool(
        self, graph: GraphBuilder, x: str, index: str, *, crop_hw: tuple[int, int], name: str
    ) -> str:
        """See `Lowering.unpool`."""
        return graph.declare(
            graph.add(
                "MaxUnpoolIndex",
                [x, index],
                name=name,
                domain=DOMAIN,
                crop_h=crop_hw[0],
                crop_w=crop_hw[1],
                **self._attributes,
            )
        )


LOWERINGS: Mapping[str, Callable[[], Lowering]] = MappingProxyType(
    {"native": NativeLowering, "plugin": PluginLowering}
)
"""What makes lowerings, by name."""


def get_lowering(name: str, *, portable: bool = False) -> Lowering:
    """The lowering called `name`.

    Args:
        name: `native` or `plugin`.
        portable: see `PluginLowering`.

    Raises:
        UsageError: there is none, or it has no portable form.
    """
    if name not in LOWERINGS:
        raise UsageError(
            f"unknown lowering {name!r}", fix=f"use {option('--lowering', *LOWERINGS)}"
        )
    if not portable:
        return LOWERINGS[name]()
    if name != "plugin":
        raise UsageError(
            f"{option('--portable')} is for plugins, not the {name} lowering",
            fix=f"use {option('--lowering', 'plugin')}",
        )
    return PluginLowering(portable=True)
