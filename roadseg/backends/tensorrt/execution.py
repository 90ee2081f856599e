"""An engine in memory: its plan, read and checked, deserialised."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from roadseg.core.errors import BackendError, EngineError
from roadseg.core.wording import option
from roadseg.engine.messages import first_reason, is_out_of_memory, listen
from roadseg.engine.store import EngineFile, read_plan

if TYPE_CHECKING:
    from roadseg.engine.runtime import Runtime


class LoadedEngine:
    """An engine on the GPU, ready for execution contexts.

    Args:
        file: the plan and its manifest.
        runtime: the TensorRT that runs it.
        plan: what `read_plan` read, where it was read before.

    Attributes:
        trt: TensorRT's Python module.
        batches: smallest and largest batch that one execution takes.
        network_hw: height and width of the input.
        input_name, output_name: the two tensors: (N, h, w, 3) uint8 and (N, h, w) uint8.

    Raises:
        EngineError: the file is missing, damaged, not what its manifest says, or was built for
            another TensorRT or GPU.
        BackendError: TensorRT cannot start, or the GPU has not enough memory.
    """

    def __init__(self, file: EngineFile, runtime: Runtime, plan: bytes | None = None) -> None:
        self.trt: Any = runtime.trt
        self._file = file
        self._runtime = runtime
        plan = read_plan(file) if plan is None else plan
        if file.manifest.target != runtime.target:
            raise EngineError(
                f"{file.path} is for {file.manifest.target}, and {runtime.target} is what runs",
                fix=f"build one for it: {file.manifest.build_command(target=runtime.target)}",
            )
        self._has_plugins = file.manifest.lowering == "plugin" and not file.manifest.portable
        if self._has_plugins:
            from roadseg.backends.tensorrt.plugin import register_plugins

            register_plugins(self.trt)
        self.engine: Any = None
        self._deserializer: Any = None
        with ExitStack() as stack:
            # What TensorRT says as long as this lives: errors come from later calls, too.
            logger, self._messages = stack.enter_context(listen(self.trt))
            self._deserialize(plan, logger)
            self.input_name, self.output_name = self._ports()
            self.batches, self.network_hw = self._sizes()
            self._listening = stack.pop_all()

    def context(self, config: Any = None) -> Any:
        """An `IExecutionContext` that has yet to be given the memory of its activations.

        Args:
            config: the `IRuntimeConfig` of TensorRT-RTX, with that strategy.

        Raises:
            BackendError: TensorRT cannot make one; most often the GPU's memory is full.
        """
        self._messages.errors.clear()
        if config is None:
            strategy = self.trt.ExecutionContextAllocationStrategy.USER_MANAGED
            context = self.engine.create_execution_context(strategy)
        else:
            context = self.engine.create_execution_context(config)
        if context is None:
            raise self.failure("cannot prepare the engine")
        return context

    def failure(self, what: str) -> BackendError:
        """The error for a call of TensorRT that said no, with the reason that it logged.

        Args:
            what: `failed while inferring`.
        """
        messages = list(self._messages.errors)
        self._messages.errors.clear()
        if self._has_plugins:
            from roadseg.backends.tensorrt.plugin import last_plugin_error

            plugin_error = last_plugin_error()
            if plugin_error is not None:
                messages.insert(0, plugin_error)
        if is_out_of_memory(messages):
            return BackendError(
                f"the GPU's memory is full: TensorRT {what} ({self._file.manifest.model}, "
                f"{self._file.path.name})",
                fix=f"close other programs that use the GPU, or use a smaller {option('--size')}",
            )
        return BackendError(
            f"TensorRT {what} ({first_reason(messages)})",
            fix="see 'roadseg doctor', or build the engine again with 'roadseg build-engine'",
        )

    def close(self) -> None:
        """Give the engine back, after its contexts; a second call does nothing."""
        self.engine = self._deserializer = None
        self._listening.close()

    def _deserialize(self, plan: bytes, logger: Any) -> None:
        errors = self._messages.errors
        try:
            self._deserializer = self.trt.Runtime(logger)
        except (TypeError, RuntimeError) as exc:  # what pybind11 makes of a null pointer
            raise BackendError(
                f"{self._runtime.name} cannot start ({first_reason(errors)})",
                fix="see 'roadseg doctor'",
            ) from exc
        try:
            self.engine = self._deserializer.deserialize_cuda_engine(plan)
        except (TypeError, RuntimeError) as exc:
            errors.append(str(exc))
        if self.engine is None and any("driver version is insufficient" in e for e in errors):
            raise BackendError(
                f"{self._runtime.name} needs a newer NVIDIA driver than there is here",
                fix="update the driver",
            )
        if self.engine is None and is_out_of_memory(errors):
            raise self.failure("cannot load the engine")
        if self.engine is None:
            raise EngineError(
                f"{self._file.path} cannot be loaded by {self._runtime.name} "
                f"({first_reason(errors)})",
                fix=f"build it again: {self._file.manifest.build_command()}",
            )

    def _ports(self) -> tuple[str, str]:
        trt, engine = self.trt, self.engine
        names: dict[Any, list[str]] = {trt.TensorIOMode.INPUT: [], trt.TensorIOMode.OUTPUT: []}
        for index in range(engine.num_io_tensors):
            name = engine.get_tensor_name(index)
            names[engine.get_tensor_mode(name)].append(name)
        inputs, outputs = names[trt.TensorIOMode.INPUT], names[trt.TensorIOMode.OUTPUT]
        fits = len(inputs) == len(outputs) == 1
        if fits:
            kinds = {engine.get_tensor_dtype(name) for name in (*inputs, *outputs)}
            frames, labels = (
                tuple(engine.get_tensor_shape(name)) for name in (inputs[0], outputs[0])
            )
            fits = kinds == {trt.uint8} and len(frames) == 4 and frames[3] == 3
            fits = fits and labels[1:] == frames[1:3]
        if not fits:
            raise EngineError(
                f"{self._file.path} has other inputs or outputs: a roadseg engine takes uint8 "
                "frames (N, H, W, 3) and gives uint8 labels (N, H, W)",
                fix="build one with 'roadseg build-engine'",
            )
        return inputs[0], outputs[0]

    def _sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        shape = tuple(self.engine.get_tensor_shape(self.input_name))
        smallest, largest = shape, shape
        if min(shape) < 0:
            profile = self.engine.get_tensor_profile_shape(self.input_name, 0)
            smallest, largest = tuple(profile[0]), tuple(profile[2])
        h, w = largest[1:3]
        if (h, w) != tuple(self._file.manifest.size_hw):
            said = self._file.manifest.size_hw
            raise EngineError(
                f"{self._file.path} takes {h}x{w} frames and its manifest says "
                f"{said[0]}x{said[1]}: they do not belong together",
                fix=f"build it again: {self._file.manifest.build_command()}",
            )
        return (smallest[0], largest[0]), (h, w)
