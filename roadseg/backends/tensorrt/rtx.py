"""What TensorRT-RTX wants besides the engine: how to run it, and its kernels of earlier runs.

An engine of TensorRT-RTX holds no machine code: its kernels are compiled for the GPU when it first
runs, which takes seconds. They are kept in the user's cache, so that the next start is quick.
"""

from __future__ import annotations

import contextlib
from typing import Any

from roadseg.core.cache import keep_in_cache, user_cache_dir


class RtxRuntime:
    """The runtime configuration of one engine.

    TensorRT-RTX captures the network in a CUDA graph by itself, and again when it has compiled
    better kernels for a shape; a graph of ours would freeze the first ones.

    Args:
        trt: TensorRT-RTX's Python module.
        engine: an `ICudaEngine`.
        key: names the engine; part of the name of the cache's file.

    Attributes:
        config: an `IRuntimeConfig`, for `create_execution_context`; None after `close`.
        path: where the kernels are kept.
    """

    def __init__(self, trt: Any, engine: Any, key: str) -> None:
        self.path = user_cache_dir() / "tensorrt-rtx" / f"{key}.cache"
        self.config: Any = engine.create_runtime_config()
        self.config.set_execution_context_allocation_strategy(
            trt.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        self.config.cuda_graph_strategy = trt.CudaGraphStrategy.WHOLE_GRAPH_CAPTURE
        self._cache: Any = self.config.create_runtime_cache()
        self._saved = b""
        with contextlib.suppress(OSError):  # none yet, or unreadable: they are compiled anew
            kept = self.path.read_bytes()
            # It refuses what another GPU, driver or version compiled, and then stays empty.
            if self._cache.deserialize(kept):
                self._saved = kept
        self.config.set_runtime_cache(self._cache)

    def save(self) -> None:
        """Keep what has been compiled so far, where it is news and the folder can be written."""
        blob = self._cache.serialize()
        kept = b"" if blob is None else bytes(blob)
        if kept in (b"", self._saved):
            return
        # Without the cache the next start is slower, and nothing else: 'roadseg doctor' says so.
        if keep_in_cache(self.path, kept):
            self._saved = kept

    def close(self) -> None:
        """Keep the kernels and give the configuration back; a second call does nothing."""
        if self.config is not None:
            self.save()
            self.config = self._cache = None
