"""A stand-in of the part of `tensorrt` that builds engines, which checks and records calls.

`differences` holds its methods and enums against the published bindings. The plugin interfaces are
those of `plugins.py` beside this file, and engines run as in `runtime.py`: as labels they give what
`FakeBackend` gives.
"""

from __future__ import annotations

import inspect
import re
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import onnx

from tests.support.tensorrt import plugins
from tests.support.tensorrt import runtime as engines

Severity = engines.Severity


class NetworkDefinitionCreationFlag(IntEnum):
    """As in 10.x."""

    EXPLICIT_BATCH = 0
    STRONGLY_TYPED = 1


class MemoryPoolType(IntEnum):
    WORKSPACE = 0


class BuilderFlag(IntEnum):
    TF32 = 6


class ComputeCapability(IntEnum):
    NONE = 0
    CURRENT = 1
    SM75 = 75
    SM80 = 80
    SM86 = 86
    SM89 = 89
    SM120 = 120


class IProgressMonitor:
    """Abstract, as the binding's: a method that is not overridden must not pass for one."""

    def __init__(self) -> None:
        self.is_initialised = True

    def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
        raise NotImplementedError

    def step_complete(self, phase_name: str, step: int) -> bool:
        raise NotImplementedError

    def phase_finish(self, phase_name: str) -> None:
        raise NotImplementedError


class World:
    """What the objects of one stand-in share, and what tests change and look at.

    Attributes:
        fail: what says no from now on: `builder`, `parse`, `build`, `cache`, `mismatch`.
        message: what is logged when it does.
        network_flags: what the last network was created with.
        config: the last one.
        graph: the last one that was parsed.
        during: called in the middle of a build.
        steps: how many steps were taken.
        measured: what a timing cache holds after a build.
    """

    def __init__(self, version: str) -> None:
        self.version = version
        self.fail: set[str] = set()
        self.message = "IBuilder::x: Error Code 10: Internal Error (no kernel. In f at x.cpp:9)"
        self.network_flags: int | None = None
        self.config: IBuilderConfig | None = None
        self.graph: Any = None
        self.during: Any = lambda: None
        self.steps = 0
        self.measured = b"measured"
        self.trt: Any = None

    def no(self, what: str, logger: Any) -> bool:
        if what in self.fail:
            logger.log(Severity.WARNING, "first\nthis")
            logger.log(Severity.ERROR, self.message)
            logger.log(Severity.ERROR, "[y.cpp] Error Code 2: what followed from it")
            return True
        return False


class IOptimizationProfile:
    def __init__(self) -> None:
        self.shapes: dict[str, list[tuple[int, ...]]] = {}

    def set_shape(self, input: str, min: Any, opt: Any, max: Any) -> None:
        self.shapes[input] = [min, opt, max]


class ITimingCache:
    def __init__(self, content: bytes) -> None:
        self.content = content

    def serialize(self) -> bytes:
        return self.content


class IBuilderConfig:
    _KNOWN = ("progress_monitor", "num_compute_capabilities")

    def __init__(self, world: World, logger: Any) -> None:
        object.__setattr__(self, "_world", world)
        object.__setattr__(self, "_logger", logger)
        object.__setattr__(self, "calls", [])
        object.__setattr__(self, "profiles", [])
        object.__setattr__(self, "cache", None)
        object.__setattr__(self, "progress_monitor", None)

    def __setattr__(self, name: str, value: Any) -> None:
        assert name in self._KNOWN, f"config.{name} does not exist in every TensorRT"
        object.__setattr__(self, name, value)

    def set_memory_pool_limit(self, pool: Any, pool_size: int) -> None:
        self.calls.append(("limit", pool.name, pool_size))

    def clear_flag(self, flag: Any) -> None:
        self.calls.append(("clear", flag.name))

    def add_optimization_profile(self, profile: Any) -> int:
        self.profiles.append(profile)
        return len(self.profiles) - 1

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Any:
        if serialized_timing_cache and "cache" in self._world.fail:
            self._logger.log(Severity.ERROR, "the timing cache is damaged")
            return None
        return ITimingCache(serialized_timing_cache)

    def set_timing_cache(self, cache: Any, ignore_mismatch: bool) -> bool:
        assert not ignore_mismatch
        if cache.content and "mismatch" in self._world.fail:
            self._logger.log(Severity.ERROR, "the timing cache is another GPU's")
            return False
        object.__setattr__(self, "cache", cache)
        return True

    def get_timing_cache(self) -> Any:
        return self.cache

    def set_compute_capability(self, compute_capability: Any, index: int) -> bool:
        self.calls.append(("sm", compute_capability.name, index))
        return True


class INetworkDefinition:
    def __init__(self) -> None:
        self.graph: Any = None


class OnnxParser:
    def __init__(self, network: INetworkDefinition, logger: Any) -> None:
        self._network = network
        self._logger = logger
        self._errors: list[Any] = []

    world: World

    @property
    def num_errors(self) -> int:
        return len(self._errors)

    def get_error(self, index: int) -> Any:
        return self._errors[index]

    def parse(self, model: bytes, path: str | None = None) -> bool:
        world = self.world
        if "parse" in world.fail:
            self._error("conv1", "no importer for this operation")
            return False
        if world.no("silent parse", self._logger):
            return False
        graph = onnx.load_from_string(model)
        for node in graph.graph.node:
            if node.domain != "roadseg":
                continue
            given = {a.name: onnx.helper.get_attribute_value(a) for a in node.attribute}
            namespace = given["plugin_namespace"].decode()
            version = given["plugin_version"].decode()
            known = [
                (c.name, c.plugin_version, c.plugin_namespace)
                for c in world.trt.get_plugin_registry().all_creators
            ]
            if (node.op_type, version, namespace) not in known:
                self._error(node.name, f"Plugin not found: {node.op_type}")
                return False
        self._network.graph = world.graph = graph
        return True

    def _error(self, node: str, text: str) -> None:
        self._errors.append(SimpleNamespace(node_name=lambda: node, desc=lambda: text))


class Builder:
    world: World

    def __init__(self, logger: Any) -> None:
        self._logger = logger
        logger.log(Severity.VERBOSE, "hello")
        if self.world.no("builder", logger):
            raise TypeError("pybind11::init(): factory function returned nullptr")

    def create_network(self, flags: int = 0) -> INetworkDefinition:
        self.world.network_flags = flags
        return INetworkDefinition()

    def create_builder_config(self) -> IBuilderConfig:
        self.world.config = IBuilderConfig(self.world, self._logger)
        return self.world.config

    def create_optimization_profile(self) -> IOptimizationProfile:
        return IOptimizationProfile()

    def build_serialized_network(self, network: Any, config: Any) -> bytes | None:
        world = self.world
        frames = network.graph.graph.input[0]
        dims = frames.type.tensor_type.shape.dim
        shape = [d.dim_value if d.HasField("dim_value") else -1 for d in dims]
        assert (shape[0] < 0) == bool(config.profiles)
        batches = (shape[0], shape[0])
        if config.profiles:
            (profile,) = config.profiles
            low, _opt, high = profile.shapes[frames.name]
            assert list(low[1:]) == list(high[1:]) == shape[1:]
            batches = low[0], high[0]
        if not self._work(config.progress_monitor):
            self._logger.log(Severity.ERROR, "Error Code 7: BuildCanceled (Build canceled by user)")
            return None
        if config.cache is not None:
            config.cache.content = world.measured
        if world.no("build", self._logger):
            return None
        self._logger.log(Severity.WARNING, "odd but\nworking")
        plan: bytes = engines.plan(batches, tuple(shape[1:3]))
        return plan

    def _work(self, monitor: Any) -> bool:
        """Three steps of which the second has two steps of its own."""
        if monitor is None:
            return True
        assert monitor.is_initialised
        monitor.phase_start("Building engine", None, 3)
        going = self._step(monitor, "Building engine", 0)
        if going:
            self.world.during()
            monitor.phase_start("Timing tactics", "Building engine", 2)
            going = self._step(monitor, "Timing tactics", 0)
            going = going and self._step(monitor, "Timing tactics", 1)
            monitor.phase_finish("Timing tactics")
        going = going and self._step(monitor, "Building engine", 1)
        going = going and self._step(monitor, "Building engine", 2)
        monitor.phase_finish("Building engine")
        return bool(going)

    def _step(self, monitor: Any, name: str, step: int) -> bool:
        self.world.steps += 1
        return bool(monitor.step_complete(name, step))


def make(version: str = "10.13.0.35", cuda: Any = None, *, rtx: bool = False) -> tuple[Any, World]:
    """A module, and what is behind it.

    Args:
        version: of TensorRT.
        cuda: where its engines run.
        rtx: make a `tensorrt_rtx`, which has no plugins in Python.
    """
    world = World(version)
    module, _ = engines.make(cuda)
    module.__version__ = version
    module.__name__ = f"tensorrt{'_rtx' if rtx else ''}_standin_{id(world)}"
    if not rtx:
        for name, value in vars(plugins.make(version)).items():
            if not name.startswith("_") and not hasattr(module, name):
                setattr(module, name, value)
    module.Builder = type("Builder", (Builder,), {"world": world})
    module.OnnxParser = type("OnnxParser", (OnnxParser,), {"world": world})
    module.IProgressMonitor = IProgressMonitor
    module.MemoryPoolType = MemoryPoolType
    module.BuilderFlag = BuilderFlag
    if rtx:
        module.ComputeCapability = ComputeCapability
    elif version.startswith("10."):
        module.NetworkDefinitionCreationFlag = NetworkDefinitionCreationFlag
    world.trt = module
    return module, world


def differences(trt: Any) -> list[str]:
    """What the real module has not, or has otherwise."""
    found = []
    for ours in (
        Builder,
        IBuilderConfig,
        IOptimizationProfile,
        ITimingCache,
        IProgressMonitor,
        OnnxParser,
    ):
        real_class = getattr(trt, ours.__name__)
        for name, function in vars(ours).items():
            if name.startswith("_") or not inspect.isfunction(function):
                continue
            real = getattr(real_class, name, None)
            wanted = list(inspect.signature(function).parameters)[1:]
            if real is None or wanted not in _overloads(real):
                found.append(f"{ours.__name__}.{name}({', '.join(wanted)})")
    for owner, name in (
        ("IBuilderConfig", "progress_monitor"),
        ("IBuilderConfig", "num_compute_capabilities"),
        ("OnnxParser", "num_errors"),
    ):
        if not isinstance(getattr(getattr(trt, owner), name, None), property):
            found.append(f"{owner}.{name}")
    for enum in (MemoryPoolType, BuilderFlag, ComputeCapability):
        real_enum = getattr(trt, enum.__name__, None)
        found += [
            f"{enum.__name__}.{member.name}"
            for member in enum
            if int(getattr(real_enum, member.name, -1)) != member.value
        ]
    return found


def _overloads(method: Any) -> list[list[str]]:
    """Names of the parameters after `self` of each signature in a docstring of pybind11."""
    found = re.findall(rf"{method.__name__}\(self: [^,)]+(?:, (.*))?\) -> ", method.__doc__)
    return [re.findall(r"(?:^|, )(\w+): ", text) for text in found]
