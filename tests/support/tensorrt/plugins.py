"""A stand-in of the part of `tensorrt` that the plugins touch, which checks and records calls.

`with_real_bindings.py` holds every class, method, argument and enum value here against the
published bindings, so that what passes here is what TensorRT would call.
"""

from __future__ import annotations

import itertools
import types
import weakref
from collections.abc import Iterable, Iterator, Sequence
from enum import IntEnum
from typing import Any

import numpy as np


class DataType(IntEnum):
    FLOAT = 0
    HALF = 1
    INT8 = 2
    INT32 = 3
    BOOL = 4
    UINT8 = 5


class TensorFormat(IntEnum):
    LINEAR = 0
    CHW2 = 1
    HWC8 = 2
    CHW4 = 3
    CHW16 = 4
    CHW32 = 5
    HWC = 8
    HWC16 = 11


class DimensionOperation(IntEnum):
    SUM = 0
    PROD = 1
    MAX = 2
    MIN = 3
    SUB = 4
    EQUAL = 5
    LESS = 6
    FLOOR_DIV = 7
    CEIL_DIV = 8


class PluginFieldType(IntEnum):
    INT8 = 3
    INT32 = 5
    UNKNOWN = 8
    INT64 = 10


class TensorRTPhase(IntEnum):
    BUILD = 0
    RUNTIME = 1


class PluginCapabilityType(IntEnum):
    CORE = 0
    BUILD = 1
    RUNTIME = 2


class PluginField:
    """As the real one, it keeps no reference to its data: only where it is."""

    def __init__(self, name: str, data: Any, type: PluginFieldType = PluginFieldType.UNKNOWN):
        self.name = name
        self.type = type
        self._data = weakref.ref(data)
        self.size = data.size

    @property
    def data(self) -> Any:
        data = self._data()
        assert data is not None, f"the data of field {self.name} is gone"
        return data


class PluginFieldCollection:
    """A copy of the fields; a plugin must keep the fields and what they point to alive."""

    def __init__(self, fields: Iterable[PluginField] = ()):
        self._fields = [weakref.ref(field) for field in fields]

    def __iter__(self) -> Iterator[PluginField]:
        for reference in self._fields:
            field = reference()
            assert field is not None, "a field of the collection is gone"
            yield field

    def __len__(self) -> int:
        return len(self._fields)


class IDimensionExpr:
    """An expression over named dimensions: a function of their values."""

    def __init__(self, evaluate: Any):
        self.evaluate = evaluate


class IExprBuilder:
    _FUNCTIONS = {  # noqa: RUF012
        DimensionOperation.SUM: lambda a, b: a + b,
        DimensionOperation.PROD: lambda a, b: a * b,
        DimensionOperation.SUB: lambda a, b: a - b,
        DimensionOperation.FLOOR_DIV: lambda a, b: a // b,
        DimensionOperation.CEIL_DIV: lambda a, b: -(-a // b),
    }

    def constant(self, arg0: int) -> IDimensionExpr:
        assert isinstance(arg0, int)
        return IDimensionExpr(lambda dims: arg0)

    def operation(
        self, arg0: DimensionOperation, arg1: IDimensionExpr, arg2: IDimensionExpr
    ) -> IDimensionExpr:
        function = self._FUNCTIONS[arg0]
        return IDimensionExpr(lambda dims: function(arg1.evaluate(dims), arg2.evaluate(dims)))


class DimsExprs(list[IDimensionExpr]):
    pass


class PluginTensorDesc:
    def __init__(self) -> None:
        self.dims: tuple[int, ...] = ()
        self.type = DataType.FLOAT
        self.format = TensorFormat.LINEAR
        self.scale = -1.0


class DynamicPluginTensorDesc:
    def __init__(self) -> None:
        self.desc = PluginTensorDesc()


class _Interface:
    """Notes which `__init__` ran: the bindings need all of them.

    What the bindings leave to the plugin raises here: a method that is missing must not pass.
    """

    def __init__(self) -> None:
        raise AssertionError("each interface's own __init__ is to be called")


def _note(self: Any, interface: type) -> None:
    self.__dict__.setdefault("initialised", set()).add(interface.__name__)


class IPluginV3(_Interface):
    def __init__(self) -> None:
        _note(self, IPluginV3)

    def get_capability_interface(self, type: Any) -> Any:
        raise NotImplementedError

    def clone(self) -> Any:
        raise NotImplementedError


class IPluginV3OneCore(_Interface):
    def __init__(self) -> None:
        _note(self, IPluginV3OneCore)


class IPluginV3OneBuild(_Interface):
    def __init__(self) -> None:
        _note(self, IPluginV3OneBuild)

    def get_output_data_types(self, input_types: Any) -> Any:
        raise NotImplementedError

    def get_output_shapes(self, inputs: Any, shape_inputs: Any, expr_builder: Any) -> Any:
        raise NotImplementedError

    def configure_plugin(self, inp: Any, out: Any) -> None:
        raise NotImplementedError

    def supports_format_combination(self, pos: Any, in_out: Any, num_inputs: Any) -> Any:
        raise NotImplementedError


class IPluginV3OneRuntime(_Interface):
    def __init__(self) -> None:
        _note(self, IPluginV3OneRuntime)

    def on_shape_change(self, inp: Any, out: Any) -> None:
        raise NotImplementedError

    def set_tactic(self, tactic: Any) -> None:
        raise NotImplementedError

    def get_fields_to_serialize(self) -> Any:
        raise NotImplementedError

    def enqueue(
        self,
        input_desc: Any,
        output_desc: Any,
        inputs: Any,
        outputs: Any,
        workspace: Any,
        stream: Any,
    ) -> None:
        raise NotImplementedError

    def attach_to_context(self, resource_context: Any) -> Any:
        raise NotImplementedError


class IPluginCreatorV3One:
    def __init__(self) -> None:
        _note(self, IPluginCreatorV3One)

    def create_plugin(self, name: Any, field_collection: Any, phase: Any) -> Any:
        raise NotImplementedError


class IPluginRegistry:
    def __init__(self) -> None:
        self.all_creators: list[Any] = []
        self.refuses = False

    def register_creator(self, creator: Any, plugin_namespace: str = "") -> bool:
        assert isinstance(creator, IPluginCreatorV3One)
        assert creator.plugin_namespace == plugin_namespace
        assert isinstance(creator.field_names, PluginFieldCollection)
        if self.refuses or self.get_creator(creator.name, creator.plugin_version, plugin_namespace):
            return False
        self.all_creators.append(creator)
        return True

    def get_creator(self, type: str, version: str, plugin_namespace: str = "") -> Any:
        for creator in self.all_creators:
            key = (creator.name, creator.plugin_version, creator.plugin_namespace)
            if key == (type, version, plugin_namespace):
                return creator
        return None


ENUMS = (
    DataType,
    TensorFormat,
    DimensionOperation,
    PluginFieldType,
    TensorRTPhase,
    PluginCapabilityType,
)
CLASSES = (
    PluginField,
    PluginFieldCollection,
    IDimensionExpr,
    IExprBuilder,
    DimsExprs,
    PluginTensorDesc,
    DynamicPluginTensorDesc,
    IPluginV3,
    IPluginV3OneCore,
    IPluginV3OneBuild,
    IPluginV3OneRuntime,
    IPluginCreatorV3One,
)

FORMATS_OF_TYPES = {
    DataType.FLOAT: {TensorFormat.LINEAR, TensorFormat.CHW32, TensorFormat.HWC},
    DataType.HALF: {
        TensorFormat.LINEAR,
        TensorFormat.CHW2,
        TensorFormat.HWC8,
        TensorFormat.HWC16,
        TensorFormat.CHW32,
    },
    DataType.INT8: {TensorFormat.LINEAR, TensorFormat.CHW4, TensorFormat.CHW32},
    DataType.INT32: {TensorFormat.LINEAR, TensorFormat.CHW32},
}
"""What TensorRT knows for tensors of plugins; INT8 gains HWC16 in 10.6."""


def make(version: str) -> Any:
    """A module that looks like `tensorrt` of this version."""
    module = types.ModuleType("tensorrt")
    module.__version__ = version
    for thing in (*ENUMS, *CLASSES):
        setattr(module, thing.__name__, thing)
    registry = IPluginRegistry()
    module.get_plugin_registry = lambda: registry
    major, minor = (int(part) for part in version.split(".")[:2])
    formats = {data_type: set(known) for data_type, known in FORMATS_OF_TYPES.items()}
    if (major, minor) >= (10, 6):
        formats[DataType.INT8].add(TensorFormat.HWC16)
    module.formats_of_types = formats
    return module


class _Undefined:
    """A tensor that a plugin must not look at yet."""

    @property
    def desc(self) -> Any:
        raise AssertionError("looked at a tensor behind pos")


def describe(data_type: DataType, layout: TensorFormat, dims: Sequence[int] = ()) -> Any:
    desc = DynamicPluginTensorDesc()
    desc.desc.type, desc.desc.format, desc.desc.dims = data_type, layout, tuple(dims)
    return desc


def negotiate(trt: Any, plugin: Any, num_inputs: int) -> set[tuple[tuple[Any, Any], ...]]:
    """Every complete combination of types and formats that the plugin accepts.

    As TensorRT does it: one tensor after the other, those behind it undefined.
    """
    count = num_inputs + plugin.num_outputs
    pairs = [(t, f) for t, formats in trt.formats_of_types.items() for f in formats]
    accepted: set[tuple[tuple[Any, Any], ...]] = {()}
    for pos in range(count):
        extended = set()
        for prefix, pair in itertools.product(accepted, pairs):
            in_out = [describe(*p) for p in (*prefix, pair)] + [_Undefined()] * (count - pos - 1)
            if plugin.supports_format_combination(pos, in_out, num_inputs):
                extended.add((*prefix, pair))
        accepted = extended
    return accepted


def output_shapes(trt: Any, plugin: Any, shapes: Sequence[Sequence[int]]) -> list[tuple[int, ...]]:
    """What the plugin's expressions give for these inputs, with every dimension left open."""
    inputs = [
        trt.DimsExprs(
            IDimensionExpr(lambda dims, i=i, axis=axis: dims[i][axis]) for axis in range(len(shape))
        )
        for i, shape in enumerate(shapes)
    ]
    outputs = plugin.get_output_shapes(inputs, [], IExprBuilder())
    return [tuple(extent.evaluate(shapes) for extent in output) for output in outputs]


def fields(**values: int) -> tuple[PluginFieldCollection, list[Any]]:
    """A collection, and what must stay alive with it."""
    data = [np.array([value], np.int32) for value in values.values()]
    made = [
        PluginField(name, array, PluginFieldType.INT32)
        for name, array in zip(values, data, strict=True)
    ]
    return PluginFieldCollection(made), [data, made]
