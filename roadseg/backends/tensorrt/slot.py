"""One of the places where a batch is uploaded, segmented and downloaded, beside the others.

A slot owns a stream, page-locked memory for frames and labels, their copies on the GPU, and the
memory of the network's activations: everything is allocated once. What the stream is given for a
batch,

    frames -> GPU,  network,  labels -> host

is captured in one CUDA graph for each size of batch, so that a frame costs one launch.
"""

from __future__ import annotations

import contextlib
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from roadseg.core.errors import BackendError

if TYPE_CHECKING:
    from roadseg.backends.tensorrt.execution import LoadedEngine
    from roadseg.cuda.api import Cuda, Graph


# A graph that does the same as the calls it was captured from agrees in every label, but for
# networks whose convolutions add up in an order that is not fixed.
_MIN_AGREEMENT = 0.99


@dataclass
class _Program:
    """How a batch of one size is run."""

    context: Any
    graph: Graph | None = None


class Slot:
    """A place for one batch at a time.

    Args:
        engine: what runs.
        cuda: CUDA on the GPU that the engine is on.
        capture: use CUDA graphs.
        config: the runtime configuration of TensorRT-RTX, which captures by itself.

    Attributes:
        captures: whether CUDA graphs are used; false after one could not be captured.

    Raises:
        BackendError: the GPU's memory is full, or TensorRT or CUDA failed.
    """

    def __init__(self, engine: LoadedEngine, cuda: Cuda, *, capture: bool, config: Any) -> None:
        self.captures = capture
        self._engine = engine
        self._cuda = cuda
        self._config = config
        self._programs: dict[int, _Program] = {}
        self._smallest, most = engine.batches
        h, w = engine.network_hw
        self._frame_bytes, self._label_bytes = h * w * 3, h * w
        with ExitStack() as stack:
            self._stream = cuda.stream()
            stream = self._stream
            stack.callback(stream.close)
            self._done = cuda.event()
            stack.callback(self._done.close)
            frames = cuda.pinned(most * self._frame_bytes)
            stack.callback(frames.free)
            labels = cuda.pinned(most * self._label_bytes)
            stack.callback(labels.free)
            self._host_frames, self._host_labels = frames.pointer, labels.pointer
            self._frames = frames.array.reshape(most, h, w, 3)
            self._labels = labels.array.reshape(most, h, w)
            self._device_frames = self._malloc(most * self._frame_bytes, stack)
            self._device_labels = self._malloc(most * self._label_bytes, stack)
            self._scratch_bytes = max(int(engine.engine.device_memory_size_v2), 1)
            self._scratch = self._malloc(self._scratch_bytes, stack)
            stack.callback(self._drop_programs)
            # Prepare for the batches that come first; noise, because a graph is checked with it.
            noise = np.random.default_rng(0).integers(
                0, 256, (self._smallest, h, w, 3), dtype=np.uint8
            )
            self._frames[...] = 0
            self.start(noise)
            self.wait()
            self._resources = stack.pop_all()

    def start(self, batch_bgr: npt.NDArray[np.uint8]) -> None:
        """Begin with (n, h, w, 3) uint8 BGR frames, n at most the engine's largest batch.

        The frames may be overwritten once this returns. An engine whose smallest batch is larger
        than n computes what its memory holds besides.

        Raises:
            BackendError: TensorRT or CUDA failed; the slot is free again, because whatever was
                enqueued comes before what the next batch will.
        """
        count = len(batch_bgr)
        np.copyto(self._frames[:count], batch_bgr)
        size = max(count, self._smallest)
        program = self._programs.get(size) or self._prepare(size)
        if program.graph is None:
            self._enqueue(program, size)
        else:
            program.graph.launch(self._stream)
        self._done.record(self._stream)

    def wait(self) -> npt.NDArray[np.uint8]:
        """(most, h, w) uint8 labels of the batch started last, valid until the next `start`.

        Raises:
            BackendError: the GPU failed.
        """
        self._done.synchronize()
        return self._labels

    def close(self) -> None:
        """Give everything back; a second call does nothing."""
        with contextlib.suppress(BackendError):  # a GPU that failed has nothing in flight
            self._stream.synchronize()
        self._resources.close()

    def _malloc(self, nbytes: int, stack: ExitStack) -> int:
        buffer = self._cuda.malloc(nbytes)
        stack.callback(buffer.free)
        return buffer.pointer

    def _drop_programs(self) -> None:
        while self._programs:
            program = self._programs.popitem()[1]
            if program.graph is not None:
                program.graph.close()

    def _prepare(self, size: int) -> _Program:
        """Everything that is done once for a size of batch.

        A context serves one graph only: another size changes memory that the graph uses. The
        contexts of a slot share the memory of the activations, since they never run at once.
        """
        engine = self._engine
        context = engine.context(self._config)
        context.set_device_memory(self._scratch, self._scratch_bytes)
        for name, pointer in (
            (engine.input_name, self._device_frames),
            (engine.output_name, self._device_labels),
        ):
            if not context.set_tensor_address(name, pointer):
                raise engine.failure("refuses the memory of its tensors")
        is_dynamic = engine.batches[0] != engine.batches[1]
        if is_dynamic and not context.set_input_shape(
            engine.input_name, (size, *engine.network_hw, 3)
        ):
            raise engine.failure(f"refuses a batch of {size}")
        program = _Program(context)
        if self.captures:
            program.graph = self._checked_graph(program, size)
            self.captures = program.graph is not None
        self._programs[size] = program
        return program

    def _enqueue(self, program: _Program, size: int) -> None:
        cuda, stream = self._cuda, self._stream
        cuda.copy_to_device(
            self._device_frames, self._host_frames, size * self._frame_bytes, stream
        )
        if not program.context.execute_async_v3(stream.handle):
            raise self._engine.failure("failed while inferring")
        cuda.copy_to_host(self._host_labels, self._device_labels, size * self._label_bytes, stream)

    def _checked_graph(self, program: _Program, size: int) -> Graph | None:
        """The three steps as a graph; None if that cannot be had, and plain calls must do.

        A capture can succeed and miss work that went to another stream. So the graph has to
        repeat a result, with other frames in between to spoil what is left in memory. The first
        of these runs is also the one in which TensorRT finishes its preparations, which cannot
        be captured.
        """
        frames, labels = self._frames[:size], self._labels[:size]
        wanted = frames.copy()
        self._run(program, size)
        expected = labels.copy()
        np.subtract(255, wanted, out=frames)
        self._run(program, size)
        graph = None
        try:
            graph = self._capture(program, size)
            np.copyto(frames, wanted)
            labels[...] = 255
            graph.launch(self._stream)
            self._stream.synchronize()
            if (labels == expected).mean() >= _MIN_AGREEMENT:
                return graph
        except BackendError:
            pass  # plain calls do the same, and tell what is wrong if that was not the graph
        finally:
            np.copyto(frames, wanted)
        if graph is not None:
            graph.close()
        return None

    def _run(self, program: _Program, size: int) -> None:
        self._enqueue(program, size)
        self._stream.synchronize()

    def _capture(self, program: _Program, size: int) -> Graph:
        self._cuda.begin_capture(self._stream)
        try:
            self._enqueue(program, size)
        except BackendError:
            with contextlib.suppress(BackendError):  # leave the capture, whatever it has become
                self._cuda.end_capture(self._stream).close()
            raise
        return self._cuda.end_capture(self._stream)
