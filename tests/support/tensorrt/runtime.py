"""A stand-in of the part of `tensorrt` that runs engines, on a `SimulatedCuda`.

Its engines label a pixel as `FakeBackend` does. They do so when the stream gets there, from the
memory that was bound when they were enqueued; memory that the stream has not filled yet holds
rubbish. What the bindings leave to their user raises. `differences` holds everything here against
the real module, by its docstrings.
"""

from __future__ import annotations

import ctypes
import inspect
import json
import re
from enum import IntEnum
from types import SimpleNamespace
from typing import Any

import numpy as np

FREE = -1


class Severity(IntEnum):
    INTERNAL_ERROR = 0
    ERROR = 1
    WARNING = 2
    INFO = 3
    VERBOSE = 4


class TensorIOMode(IntEnum):
    NONE = 0
    INPUT = 1
    OUTPUT = 2


class DataType(IntEnum):
    FLOAT = 0
    INT32 = 3
    UINT8 = 5


class ExecutionContextAllocationStrategy(IntEnum):
    STATIC = 0
    ON_PROFILE_CHANGE = 1
    USER_MANAGED = 2


class CudaGraphStrategy(IntEnum):
    DISABLED = 0
    WHOLE_GRAPH_CAPTURE = 1


class ILogger:
    Severity = Severity

    def __init__(self) -> None:
        pass

    def log(self, severity: Severity, msg: str) -> None:
        raise NotImplementedError


def plan(
    batches: tuple[int, int] = (1, 1), size_hw: tuple[int, int] = (64, 96), **facts: Any
) -> bytes:
    """A plan file; `facts` override tensors, version..."""
    return json.dumps({"batches": batches, "size_hw": size_hw, **facts}).encode()


class World:
    """What the objects of one stand-in share, and what tests change and look at.

    Attributes:
        cuda: where work is enqueued.
        contexts: every context, in the order of creation.
        fail: calls that say no from now on: `execute`, `context`, `address`, `shape`,
            `capture`, `runtime`.
        message: what is logged when they do.
        stray: enqueue on another stream than the one given, as a broken plugin does.
    """

    def __init__(self, cuda: Any) -> None:
        self.cuda = cuda
        self.contexts: list[IExecutionContext] = []
        self.fail: set[str] = set()
        self.message = (
            "[x.cpp::y::1] Error Code 1: Cuda Runtime (an illegal access. In f at x.cpp:9)"
        )
        self.stray = False
        self.logger: Any = None
        self.kernels: bytes | None = b"compiled"

    def no(self, what: str) -> bool:
        if what in self.fail:
            self.logger.log(Severity.ERROR, self.message)
            self.logger.log(Severity.ERROR, "[y.cpp] Error Code 2: what followed from it")
            self.logger.log(Severity.WARNING, "not this")
            return True
        return False


class IExecutionContext:
    def __init__(self, engine: ICudaEngine) -> None:
        self._engine = engine
        self._world = engine._world
        self._addresses: dict[str, int] = {}
        self._size: int | None = None if engine._is_dynamic else engine._facts["batches"][0]
        self._scratch = 0
        self.shapes_set: list[tuple[int, ...]] = []
        self.runs = 0

    def set_device_memory(self, memory: int, size: int) -> None:
        assert size >= self._engine.device_memory_size_v2
        self._scratch = memory

    def set_tensor_address(self, name: str, memory: int) -> bool:
        assert name in ("frames", "labels")
        self._addresses[name] = memory
        return not self._world.no("address")

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        smallest, most = self._engine._facts["batches"]
        assert name == "frames"
        assert smallest <= shape[0] <= most
        assert shape[1:] == (*self._engine._facts["size_hw"], 3)
        self.shapes_set.append(shape)
        self._size = shape[0]
        self.runs = 0
        return not self._world.no("shape")

    def execute_async_v3(self, stream_handle: int) -> bool:
        world = self._world
        assert self._size is not None, "the shape of the input was never set"
        assert self._scratch, "the context has no memory"
        captured = bool(world.cuda._capture)
        if world.no("execute") or (captured and world.no("capture")):
            return False
        # TensorRT prepares itself in the first run of a shape, which cannot be captured.
        assert self.runs or not captured, "captured without a run before it"
        self.runs += 1
        h, w = self._engine._facts["size_hw"]
        frames, labels, count = self._addresses["frames"], self._addresses["labels"], self._size

        def run() -> None:
            green = _memory(frames, count * h * w * 3).reshape(count, h, w, 3)[..., 1]
            ids = green.astype(int) * 11 // 256
            _memory(labels, count * h * w)[:] = ids.astype(np.uint8).ravel()

        if world.stray and captured:
            run()
        else:
            world.cuda.enqueue(stream_handle, run)
        return True


def _memory(address: int, nbytes: int) -> Any:
    return np.ctypeslib.as_array((ctypes.c_uint8 * nbytes).from_address(address))


class IRuntimeCache:
    def __init__(self, world: World) -> None:
        self._world = world
        self.loaded = b""

    def deserialize(self, blob: bytes) -> bool:
        if not blob.startswith(b"compiled"):
            return False
        self.loaded = blob
        return True

    def serialize(self) -> bytes | None:
        return self._world.kernels


class IRuntimeConfig:
    def __init__(self, world: World) -> None:
        self._world = world
        self.cuda_graph_strategy = CudaGraphStrategy.DISABLED
        self.strategy = ExecutionContextAllocationStrategy.STATIC
        self.cache: IRuntimeCache | None = None

    def set_execution_context_allocation_strategy(
        self,
        strategy: ExecutionContextAllocationStrategy = (ExecutionContextAllocationStrategy.STATIC),
    ) -> None:
        self.strategy = strategy

    def create_runtime_cache(self) -> IRuntimeCache:
        return IRuntimeCache(self._world)

    def set_runtime_cache(self, cache: IRuntimeCache) -> bool:
        self.cache = cache
        return True


class ICudaEngine:
    device_memory_size_v2 = 1 << 12
    num_io_tensors = 2

    def __init__(self, world: World, facts: dict[str, Any]) -> None:
        self._world = world
        self._facts = facts
        smallest, most = facts["batches"]
        self._is_dynamic = smallest != most

    def get_tensor_name(self, index: int) -> str:
        return ("labels", "frames")[index]

    def get_tensor_mode(self, name: str) -> TensorIOMode:
        return {"frames": TensorIOMode.INPUT, "labels": TensorIOMode.OUTPUT}[name]

    def get_tensor_dtype(self, name: str) -> DataType:
        return DataType(self._facts.get(f"{name}_dtype", DataType.UINT8))

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        batch = FREE if self._is_dynamic else self._facts["batches"][0]
        h, w = self._facts["size_hw"]
        return (batch, h, w, 3) if name == "frames" else (batch, h, w)

    def get_tensor_profile_shape(self, name: str, profile_index: int) -> list[tuple[int, ...]]:
        assert (name, profile_index) == ("frames", 0)
        smallest, most = self._facts["batches"]
        return [(n, *self._facts["size_hw"], 3) for n in (smallest, most, most)]

    def create_runtime_config(self) -> IRuntimeConfig:
        return IRuntimeConfig(self._world)

    def create_execution_context(
        self, strategy: Any = ExecutionContextAllocationStrategy.STATIC
    ) -> IExecutionContext | None:
        chosen = strategy.strategy if isinstance(strategy, IRuntimeConfig) else strategy
        assert chosen == ExecutionContextAllocationStrategy.USER_MANAGED
        if self._world.no("context"):
            return None
        self._world.contexts.append(IExecutionContext(self))
        return self._world.contexts[-1]


class Runtime:
    def __init__(self, logger: ILogger) -> None:
        raise NotImplementedError


def make(cuda: Any) -> tuple[Any, World]:
    """A module `tensorrt`, and what is behind it."""
    world = World(cuda)

    class _Runtime(Runtime):
        def __init__(self, logger: ILogger) -> None:
            world.logger = logger
            if world.no("runtime"):
                raise TypeError("pybind11::init(): factory function returned nullptr")

        def deserialize_cuda_engine(self, serialized_engine: bytes) -> ICudaEngine | None:
            if world.no("deserialize"):
                return None
            return ICudaEngine(world, json.loads(serialized_engine))

    module = SimpleNamespace(
        __name__="tensorrt_standin",
        ILogger=ILogger,
        Runtime=_Runtime,
        TensorIOMode=TensorIOMode,
        uint8=DataType.UINT8,
        ExecutionContextAllocationStrategy=ExecutionContextAllocationStrategy,
        CudaGraphStrategy=CudaGraphStrategy,
    )
    return module, world


# What the stand-in must have in common with the real module.

_CLASSES = (IExecutionContext, ICudaEngine, IRuntimeConfig, IRuntimeCache)
_ENUMS = (TensorIOMode, DataType, ExecutionContextAllocationStrategy, CudaGraphStrategy)
_PROPERTIES = {
    "ICudaEngine": ("device_memory_size_v2", "num_io_tensors"),
    "IRuntimeConfig": ("cuda_graph_strategy",),
}


def _overloads(method: Any) -> list[list[str]]:
    """Names of the parameters after `self` of each signature in a docstring of pybind11."""
    found = re.findall(rf"{method.__name__}\(self: [^,)]+(?:, (.*))?\) -> ", method.__doc__)
    return [re.findall(r"(?:^|, )(\w+): ", text) for text in found]


def differences(trt: Any, *, absent: tuple[str, ...] = ()) -> list[str]:
    """What the real module has not, or has otherwise.

    Args:
        trt: the real module.
        absent: classes that this edition does not have.
    """
    found = []
    methods = [
        (owner.__name__, name, function)
        for owner in _CLASSES
        for name, function in vars(owner).items()
        if inspect.isfunction(function) and not name.startswith("_")
    ]

    def deserialize_cuda_engine(self: Any, serialized_engine: bytes) -> None: ...

    methods.append(("Runtime", "deserialize_cuda_engine", deserialize_cuda_engine))
    for owner, name, function in methods:
        if owner in absent:
            continue
        real = getattr(getattr(trt, owner, None), name, None)
        wanted = list(inspect.signature(function).parameters)[1:]
        if real is None or wanted not in _overloads(real):
            found.append(f"{owner}.{name}({', '.join(wanted)}): {real and _overloads(real)}")
    for owner, names in _PROPERTIES.items():
        found += [
            f"{owner}.{name}"
            for name in names
            if owner not in absent and not isinstance(getattr(getattr(trt, owner), name), property)
        ]
    for enum in _ENUMS:
        real_enum = getattr(trt, enum.__name__, None)
        if real_enum is None:
            found += [] if enum.__name__ in absent else [enum.__name__]
            continue
        found += [
            f"{enum.__name__}.{member.name}"
            for member in enum
            if int(getattr(real_enum, member.name, -1)) != member.value
        ]
    for member in Severity:
        if int(getattr(trt.ILogger.Severity, member.name)) != member.value:
            found.append(f"Severity.{member.name}")
    if trt.uint8 != trt.DataType.UINT8:
        found.append("uint8")
    return found
