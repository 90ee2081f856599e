"""From an ONNX graph to a plan: TensorRT's builder, asked the same way in all of its versions.

Networks are strongly typed: the graph says what is FP16 and what is INT8, and nothing is left to
the builder's choice. Full TensorRT is told so with a flag up to 10.x and is always so from 11 on,
as TensorRT-RTX is. No flag is used that 11 removed.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roadseg.backends.tensorrt.builder.progress import make_monitor
from roadseg.core.cache import keep_in_cache
from roadseg.core.errors import BackendError, EngineError, UsageError
from roadseg.core.wording import option
from roadseg.engine.messages import Messages, first_reason, is_out_of_memory, listen
from roadseg.engine.runtime import Runtime
from roadseg.engine.spec import EngineSpec

if TYPE_CHECKING:
    from roadseg.cuda.api import DeviceInfo


_log = logging.getLogger(__name__)


def available_sm(runtime: Runtime) -> tuple[int, ...]:
    """Compute capabilities that TensorRT-RTX builds for: (75, 80, 86, 89, 120, 121)."""
    names = runtime.trt.ComputeCapability.__members__
    return tuple(sorted(int(name[2:]) for name in names if name[:2] == "SM" and name[2:].isdigit()))


def choose_sm(
    wanted: tuple[int, ...], runtime: Runtime, device: DeviceInfo | None
) -> tuple[int, ...]:
    """The compute capabilities to build an engine of TensorRT-RTX for.

    Args:
        wanted: as given; empty: all of them from Ampere on, which costs no more than one, or
            Turing alone if that is the GPU that is here.
        runtime: TensorRT-RTX.
        device: the GPU that is here, if there is one.

    Raises:
        UsageError: TensorRT-RTX does not know one that is wanted.
        EngineError: it does not know the GPU that is here.
    """
    known = available_sm(runtime)
    if wanted:
        unknown = [sm for sm in wanted if sm not in known]
        if unknown:
            raise UsageError(
                f"{runtime.name} does not build for compute capability {unknown[0]}",
                fix=f"use {option('--sm', *known)}",
            )
        return wanted
    here = None if device is None else 10 * device.compute_capability[0]
    if device is not None and here is not None:
        here += device.compute_capability[1]
        if here not in known:
            raise EngineError(
                f"{runtime.name} does not run on {device.name} (compute capability "
                f"{here // 10}.{here % 10})",
                fix=f"use {option('--target', 'tensorrt')}",
            )
    return (75,) if here == 75 else tuple(sm for sm in known if sm > 75)


def compile_plan(
    graph: bytes,
    spec: EngineSpec,
    runtime: Runtime,
    *,
    timing_cache: Path | None = None,
    on_phase: Callable[[float, str], object] | None = None,
    cancelled: Callable[[], bool] | None = None,
) -> bytes | None:
    """Build. What TensorRT had to remark is logged when it is over, for those who look for it.

    Args:
        graph: a serialised ONNX model of that precision, lowering, size and batch.
        spec: what it is; of TensorRT-RTX with the compute capabilities to build for.
        runtime: what builds it.
        timing_cache: file of measurements of earlier builds; TensorRT only.
        on_phase: called with the fraction done, and what is being done.
        cancelled: asked often whether to give up.

    Returns:
        The plan; None if it was cancelled.

    Raises:
        BackendError: TensorRT cannot start.
        EngineError: it refuses the graph, or fails to build it.
    """
    with listen(runtime.trt) as (logger, messages):
        monitor = make_monitor(runtime.trt, on_phase, cancelled)
        build = _Build(spec, runtime, logger, messages)
        try:
            builder = build.builder()
            network = build.parse(builder, graph)
            config = builder.create_builder_config()
            build.configure(builder, config)
            config.progress_monitor = monitor
            # TensorRT-RTX measures nothing while it builds: there its timing cache is deprecated.
            cache = None
            if timing_cache is not None and runtime.target == "tensorrt":
                cache = build.attach_cache(config, timing_cache)
            plan = builder.build_serialized_network(network, config)
            if cache is not None and timing_cache is not None:
                # What was measured before a failure or Ctrl-C was measured all the same.
                keep_in_cache(timing_cache, bytes(config.get_timing_cache().serialize()))
            if monitor.error is not None:
                raise monitor.error
            if plan is None and not monitor.cancelled():
                raise build.failure()
            return None if plan is None else bytes(plan)
        finally:
            for line in messages.lines:
                _log.debug("%s: %s", runtime.name, line)


@dataclass
class _Build:
    """One build; what TensorRT makes lives as long as this."""

    spec: EngineSpec
    runtime: Runtime
    logger: Any
    messages: Messages

    def builder(self) -> Any:
        try:
            return self.runtime.trt.Builder(self.logger)
        except (TypeError, RuntimeError) as exc:  # what pybind11 makes of a null pointer
            reason = first_reason(self.messages.errors)
            raise BackendError(
                f"{self.runtime.name} cannot start ({reason})", fix="see 'roadseg doctor'"
            ) from exc

    def parse(self, builder: Any, graph: bytes) -> Any:
        trt = self.runtime.trt
        flags = 0
        if self.runtime.target == "tensorrt" and self.runtime.version[0] < 11:
            flags = 1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED)
        network = builder.create_network(flags)
        self._register_plugins()
        parser = trt.OnnxParser(network, self.logger)
        if not parser.parse(graph):
            raise self._refusal(parser)
        return network

    def _register_plugins(self) -> None:
        # TensorRT-RTX has no plugins in Python, and ends the process when one is registered.
        if self.spec.lowering != "plugin":
            return
        if self.spec.portable:
            from roadseg.backends.tensorrt.portable import register_portable

            register_portable(self.runtime.trt)
        else:
            from roadseg.backends.tensorrt.plugin import last_plugin_error, register_plugins

            last_plugin_error()  # of an earlier build
            register_plugins(self.runtime.trt)

    def configure(self, builder: Any, config: Any) -> None:
        from roadseg.export.onnx import INPUT_NAME

        trt, spec = self.runtime.trt, self.spec
        if spec.workspace_mb is not None:
            config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, spec.workspace_mb << 20)
        if spec.precision == "fp32":
            # Set by default: it rounds what convolutions multiply to 10 bits.
            config.clear_flag(trt.BuilderFlag.TF32)
        if spec.is_dynamic:
            profile = builder.create_optimization_profile()
            profile.set_shape(INPUT_NAME, *((count, *spec.size_hw, 3) for count in spec.batch))
            if config.add_optimization_profile(profile) < 0:
                raise self.failure()
        if self.runtime.target == "tensorrt-rtx":
            config.num_compute_capabilities = len(spec.sm)
            for index, number in enumerate(spec.sm):
                capability = getattr(trt.ComputeCapability, f"SM{number}")
                if not config.set_compute_capability(capability, index):
                    raise self.failure()

    def attach_cache(self, config: Any, path: Path) -> Any:
        kept = b""
        with contextlib.suppress(OSError):  # none yet, or unreadable: everything is measured
            kept = path.read_bytes()
        # It says so in an error when the file is damaged or of another version. That is no failure
        # of the build.
        errors = self.messages.errors.copy()
        cache = config.create_timing_cache(kept)
        if cache is None or not config.set_timing_cache(cache, False):
            cache = config.create_timing_cache(b"")
            config.set_timing_cache(cache, False)
        self.messages.errors[:] = errors
        return cache

    def _refusal(self, parser: Any) -> EngineError:
        name = self.spec.model_name
        plugin_error = self._plugin_error()
        if parser.num_errors:
            error = parser.get_error(0)
            node = error.node_name()
            reason = (f"node {node}: " if node else "") + first_reason([error.desc()])
        else:
            reason = first_reason(self.messages.errors)
        return EngineError(
            f"{self.runtime.name} refuses the network {name} ({plugin_error or reason})",
            fix="report it with this line",
        )

    def failure(self) -> EngineError:
        errors = self.messages.errors
        model = self.spec.model_name
        plugin_error = self._plugin_error()
        if is_out_of_memory(errors):
            return EngineError(
                f"the GPU's memory is full: {self.runtime.name} cannot build {model}",
                fix=f"close other programs that use the GPU, or use a smaller {option('--size')}, "
                f"{option('--batch')} or {option('--workspace')}",
            )
        return EngineError(
            f"{self.runtime.name} cannot build {model} ({plugin_error or first_reason(errors)})",
            fix=f"try another {option('--size')}, or see 'roadseg doctor'",
        )

    def _plugin_error(self) -> str | None:
        if self.spec.lowering != "plugin" or self.spec.portable:
            return None
        from roadseg.backends.tensorrt.plugin import last_plugin_error

        return last_plugin_error()
