"""Checks that run where `tensorrt` is the published bindings: see `run_with_bindings`.

There is no TensorRT behind them, so what is inside the library cannot be tried: adding a plugin to
a network, parsing ONNX that holds one, building. The classes, their methods and the Python side of
the quickly deployable plugins are the real ones.
"""

from __future__ import annotations

import gc
import inspect
import itertools
import json
import re
import sys
from types import SimpleNamespace
from typing import Any

import numpy as np
import tensorrt as trt

from roadseg.backends.tensorrt.formats import combinations
from roadseg.backends.tensorrt.plugin import last_plugin_error, register_plugins
from roadseg.engine.runtime import parse_version
from roadseg.kernels.kernels import Layout, Variant, variants
from roadseg.testing.cuda import SimulatedCuda
from tests.support.tensorrt import plugins as standin

# Attributes that the plugins set or read, by class.
ATTRIBUTES = {
    "PluginField": {"name", "data", "type", "size"},
    "PluginTensorDesc": {"dims", "type", "format", "scale"},
    "DynamicPluginTensorDesc": {"desc", "min", "opt", "max"},
    "IPluginV3OneCore": {"plugin_name", "plugin_version", "plugin_namespace"},
    "IPluginV3OneBuild": {"num_outputs", "timing_cache_id"},
    "IPluginCreatorV3One": {"name", "plugin_version", "plugin_namespace", "field_names"},
    "IPluginRegistry": {"all_creators"},
}


def write(answer: Any) -> None:
    """Give the test that started this process its answer: the last line."""
    sys.stdout.write(json.dumps(answer) + "\n")


def documented_arguments(function: Any) -> list[list[str]]:
    """Names of the arguments after self in each signature that pybind11 documents."""
    found = []
    for line in function.__doc__.splitlines():
        match = re.match(r"^(?:\d+\. )?\w+\(self: (.*)\) -> ", line)
        if match is None:
            continue
        depth, text = 0, ""
        for letter in match[1]:
            depth += {"[": 1, "]": -1}.get(letter, 0)
            text += "\0" if letter == "," and depth == 0 else letter
        found.append([part.split(":")[0].strip() for part in text.split("\0")][1:])
    return found


def arguments(function: Any) -> list[str]:
    """Names of the arguments after self, with the one that is a keyword in Python put back."""
    names = list(inspect.signature(function).parameters)[1:]
    return ["in" if name == "inp" else name for name in names]


def signatures() -> None:
    """The stand-in, and the plugins, take what TensorRT documents; the enums are equal."""
    register_plugins(trt)
    registry = trt.get_plugin_registry()
    creator = registry.get_creator("MaxUnpoolIndex", "1", "roadseg")
    plugin = creator.plugin()
    compared = 0
    for ours in (*standin.CLASSES, standin.IPluginRegistry):
        real = getattr(trt, ours.__name__)
        for name in ATTRIBUTES.get(ours.__name__, ()):
            assert isinstance(getattr(real, name), property), (real, name)
        for name, method in vars(ours).items():
            if name.startswith("_") or not inspect.isfunction(method) or ours is standin.DimsExprs:
                continue
            if name == "evaluate":
                continue
            documented = documented_arguments(getattr(real, name))
            assert arguments(method) in documented, (ours.__name__, name, documented)
            for instance in (plugin, creator):
                if isinstance(instance, real):
                    own = getattr(type(instance), name)
                    assert inspect.isfunction(own), f"{name} is not ours"
                    assert arguments(own) in documented, (name, documented)
            compared += 1
    for enum in standin.ENUMS:
        members = getattr(trt, enum.__name__).__members__
        for member in enum:
            assert int(members[member.name].value) == member.value, member
            compared += 1
    write({"version": trt.__version__, "compared": compared})


def descs(*tensors: tuple[Any, Any, tuple[int, ...]]) -> list[Any]:
    made = []
    for data_type, layout, dims in tensors:
        desc = trt.PluginTensorDesc()
        desc.type, desc.format, desc.dims = data_type, layout, trt.Dims(dims)
        made.append(desc)
    return made


def dynamic(plain: list[Any]) -> list[Any]:
    made = []
    for desc in plain:
        tensor = trt.DynamicPluginTensorDesc()
        tensor.desc = desc
        made.append(tensor)
    return made


class Expression(trt.IDimensionExpr):
    """A dimension that Python can evaluate.

    Only TensorRT makes real ones, and the interface has no constructor: so it is bypassed.
    """

    @staticmethod
    def of(evaluate: Any) -> Expression:
        expression = Expression.__new__(Expression)
        expression.evaluate = evaluate
        return expression


class Builder:
    """An `IExprBuilder` that makes such expressions."""

    def constant(self, value: int) -> Expression:
        return Expression.of(lambda dims: value)

    def operation(self, operation: Any, left: Expression, right: Expression) -> Expression:
        function = {
            trt.DimensionOperation.SUM: lambda a, b: a + b,
            trt.DimensionOperation.PROD: lambda a, b: a * b,
            trt.DimensionOperation.MIN: min,
            trt.DimensionOperation.SUB: lambda a, b: a - b,
            trt.DimensionOperation.FLOOR_DIV: lambda a, b: a // b,
            trt.DimensionOperation.CEIL_DIV: lambda a, b: -(-a // b),
        }[operation]
        return Expression.of(lambda dims: function(left.evaluate(dims), right.evaluate(dims)))


def open_shape(tensor: int) -> list[Expression]:
    """The four dimensions of an input, none of them known."""
    return [Expression.of(lambda dims, axis=axis: dims[tensor][axis]) for axis in range(4)]


def plugin() -> None:
    """Both plugins through a real registry, creator, field collection and tensor descriptions."""
    launches: list[Any] = []

    def record(symbol: str) -> Any:
        return lambda grid, block, args: launches.append((symbol, [arg.value for arg in args]))

    cuda = SimulatedCuda({variant.symbol: record(variant.symbol) for variant in variants()})
    register_plugins(trt, cuda, image=b"simulated")
    register_plugins(trt)
    registry = trt.get_plugin_registry()
    mine = [c for c in registry.all_creators if c.plugin_namespace == "roadseg"]
    assert [c.name for c in mine] == ["MaxPoolIndex", "MaxUnpoolIndex"], mine
    # What registering twice by hand would say.
    assert not registry.register_creator(type(mine[0])(), "roadseg")

    half, int8 = trt.DataType.HALF, trt.DataType.INT8
    hwc8 = trt.TensorFormat.HWC8
    # By hand, these checks were run with the bindings of 10.3 and 10.9, too.
    offered = combinations(parse_version(trt.__version__))
    index_layout = Layout.HWC16 if len(offered) == 6 else Layout.CHW32
    map_format = getattr(trt.TensorFormat, index_layout.name)
    large, small = (2, 24, 5, 8), (2, 24, 3, 4)
    for name, fields, tensors, inputs in (
        (
            "MaxPoolIndex",
            {},
            [(half, hwc8, large), (half, hwc8, small), (int8, map_format, small)],
            1,
        ),
        (
            "MaxUnpoolIndex",
            {"crop_h": 1, "crop_w": 0},
            [(half, hwc8, small), (int8, map_format, small), (half, hwc8, large)],
            2,
        ),
    ):
        creator = registry.get_creator(name, "1", "roadseg")
        assert [field.name for field in creator.field_names] == list(fields)
        given = [
            trt.PluginField(key, np.array([value], np.int32), trt.PluginFieldType.INT32)
            for key, value in fields.items()
        ]
        made = creator.create_plugin(
            "node", trt.PluginFieldCollection(given), trt.TensorRTPhase.BUILD
        )
        for interface in ("V3", "V3OneCore", "V3OneBuild", "V3OneRuntime"):
            assert isinstance(made, getattr(trt, f"IPlugin{interface}"))
        clone = made.clone()
        names = (clone.plugin_name, clone.plugin_version, clone.plugin_namespace)
        assert names == (name, "1", "roadseg")
        assert clone.timing_cache_id == made.timing_cache_id != ""
        plain = descs(*tensors)
        assert clone.num_outputs == len(plain) - inputs
        types = clone.get_output_data_types([desc.type for desc in plain[:inputs]])
        assert types == [desc.type for desc in plain[inputs:]], types

        outputs = clone.get_output_shapes([open_shape(i) for i in range(inputs)], [], Builder())
        assert [type(output) for output in outputs] == [trt.DimsExprs] * clone.num_outputs
        assert all(len(output) == 4 for output in outputs)
        # What TensorRT passes is no list.
        again = trt.DimsExprs(trt.DimsExprs(4))
        assert len(again) == 4

        accepted = negotiate(clone, len(plain), inputs)
        assert len(accepted) == len(offered), accepted
        assert tuple((desc.type, desc.format) for desc in plain) in accepted

        clone.configure_plugin(dynamic(plain[:inputs]), dynamic(plain[inputs:]))
        collection = clone.get_fields_to_serialize()
        # The collection holds addresses, valid as long as the plugin lives that gave it.
        del given, made
        gc.collect()
        kept = {field.name: field.data.tolist() for field in collection}
        assert kept == {"crop_h": [fields.get("crop_h", 0)], "crop_w": [0]}, kept
        loaded = creator.create_plugin("node", collection, trt.TensorRTPhase.RUNTIME)
        attached = loaded.attach_to_context(None)
        attached.set_tactic(0)
        attached.on_shape_change(plain[:inputs], plain[inputs:])
        addresses = [256 * (i + 1) for i in range(len(plain))]
        stream = cuda.stream()
        attached.enqueue(
            plain[:inputs],
            plain[inputs:],
            addresses[:inputs],
            addresses[inputs:],
            0,
            stream.handle,
        )
        stream.synchronize()
    assert launches == [
        (f"roadseg_pool_fp16_hwc8_{index_layout.value}", [256, *large, 512, 768]),
        (f"roadseg_unpool_fp16_hwc8_{index_layout.value}", [256, 512, *small, 1, 0, 768]),
    ], launches
    assert last_plugin_error() is None
    write("passed")


def negotiate(plugin: Any, count: int, inputs: int) -> set[Any]:
    """Every complete combination of formats that a plugin accepts, of all that exist."""
    accepted: set[Any] = {()}
    pairs = list(
        itertools.product(trt.DataType.__members__.values(), trt.TensorFormat.__members__.values())
    )
    for pos in range(count):
        extended = set()
        for prefix, pair in itertools.product(accepted, pairs):
            in_out = dynamic(descs(*((*p, (1, 8, 4, 4)) for p in (*prefix, pair))))
            if plugin.supports_format_combination(pos, in_out, inputs):
                extended.add((*prefix, pair))
        accepted = extended
    return accepted


def portable(ptx_path: str, cases: list[dict[str, Any]], argument_order: str | None = None) -> None:
    """The quickly deployable plugins, as TensorRT calls them to build; prints what they answer.

    Each case names a variant, the shape of the large map and whether the batch is open.
    """
    import tensorrt.plugin._tensor as internals

    from roadseg.backends.tensorrt.portable import register_portable

    with open(ptx_path, "rb") as file:
        register_portable(trt, (9, 0), ptx=file.read(), argument_order=argument_order)
    register_portable(trt)
    answers = []
    # What TensorRT reads of an expression cannot be read back from Python: noted on the way.
    real = internals.SymExprImpl

    class Noted(real):
        def __init__(self, expression: Any) -> None:
            super().__init__(expression)
            assert isinstance(expression, internals.SymInt32)
            self.noted = expression._expr

    internals.SymExprImpl = Noted
    for case in cases:
        variant = Variant(
            case["op"], case["dtype"], Layout(case["layout"]), Layout(case["index_layout"])
        )
        answers.append(answer(variant, tuple(case["large"]), bool(case["open_batch"])))
    write(answers)


def answer(variant: Variant, large: tuple[int, ...], open_batch: bool) -> dict[str, Any]:
    """What one plugin tells TensorRT about one variant and shape."""
    types = {"fp32": trt.DataType.FLOAT, "fp16": trt.DataType.HALF, "int8": trt.DataType.INT8}
    small = (*large[:2], (large[2] + 1) // 2, (large[3] + 1) // 2)
    values = (types[variant.dtype], getattr(trt.TensorFormat, variant.layout.name))
    index = (trt.DataType.INT8, getattr(trt.TensorFormat, variant.index_layout.name))
    pool = variant.op == "pool"
    tensors = (
        [(*values, large), (*values, small), (*index, small)]
        if pool
        else [(*values, small), (*index, small), (*values, large)]
    )
    inputs = 1 if pool else 2
    name = "MaxPoolIndex" if pool else "MaxUnpoolIndex"
    registry = trt.get_plugin_registry()
    creator = registry.get_creator(name, "1", "roadseg_portable")
    crops = {} if pool else {"crop_h": large[2] % 2, "crop_w": large[3] % 2}
    assert [(f.name, f.type) for f in creator.field_names] == [
        (key, trt.PluginFieldType.INT32) for key in crops
    ]
    fields = [
        trt.PluginField(key, np.array([value], np.int32), trt.PluginFieldType.INT32)
        for key, value in crops.items()
    ]
    made = creator.create_plugin(
        name,
        "roadseg_portable",
        trt.PluginFieldCollection(fields),
        trt.TensorRTPhase.BUILD,
        trt.QuickPluginCreationRequest.STRICT_AOT,
    )
    plain = descs(*tensors)
    output_types = made.get_output_data_types([desc.type for desc in plain[:inputs]], [4] * inputs)
    assert output_types == [desc.type for desc in plain[inputs:]], output_types
    builder = Builder()
    open_inputs = [open_shape(i) for i in range(inputs)]
    made.get_output_shapes(open_inputs, [], builder)
    dims = [tensor[2] for tensor in tensors]
    shapes = [[e._expr.evaluate(dims) for e in desc.shape_expr] for desc in made.output_descs]
    assert shapes == [list(tensor[2]) for tensor in tensors[inputs:]], shapes

    in_out = dynamic(plain)
    if open_batch:
        for tensor, shape in zip(in_out, dims, strict=True):
            desc = tensor.desc
            desc.dims = trt.Dims((-1, *shape[1:]))
            tensor.desc = desc
            tensor.min, tensor.opt = trt.Dims((1, *shape[1:])), trt.Dims(shape)
            tensor.max = trt.Dims((9, *shape[1:]))
    flat = made.get_supported_format_combinations(in_out, inputs)
    count = len(tensors)
    offered = [
        tuple((desc.type, desc.format) for desc in flat[i : i + count])
        for i in range(0, len(flat), count)
    ]
    assert len(set(offered)) == len(offered) == 6, offered
    assert tuple(tensor[:2] for tensor in tensors) in offered
    made.configure_plugin(in_out[:inputs], in_out[inputs:])
    assert made.get_valid_tactics() == []
    made.set_tactic(0)
    params, extra = SimpleNamespace(), ExtraArgs()
    made.get_launch_params(open_inputs, in_out, inputs, params, extra, builder)
    kernel, code = made.get_kernel(plain[:inputs], plain[inputs:])
    assert isinstance(code, bytes)
    return {
        "symbol": kernel,
        "ptx": code.decode(),
        "grid": [getattr(params, f"grid_{axis}").noted.evaluate(dims) for axis in "xyz"],
        "block": [getattr(params, f"block_{axis}").noted.evaluate(dims) for axis in "xyz"],
        "shared_mem": params.shared_mem.noted.evaluate(dims),
        "extra": [extra[i].noted.evaluate(dims) for i in range(extra.nbSymExprs)],
    }


class ExtraArgs(dict[int, Any]):
    """An `ISymExprs`."""

    nbSymExprs: int
