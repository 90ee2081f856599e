"""The connection to Ray, which is started here or runs already."""

from __future__ import annotations

import logging
import math
import os
import signal
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from roadseg.archive.spec import AUTO_CLUSTER, LOCAL_CLUSTER, Cluster
from roadseg.core.errors import BackendError, first_line, os_reason
from roadseg.core.wording import option

_PROBE_S = 5.0
# Rows are names and results: no frame is ever in the object store. Ray takes no less than 75 MB.
_STORE_BYTES = 128 * 2**20


@contextmanager
def connected(cluster: Cluster, cpus: float) -> Iterator[None]:
    """Inside the block this process is connected to Ray.

    A program that is connected already stays so, wherever it is connected to.

    Args:
        cluster: which.
        cpus: of a cluster that is started here.

    Raises:
        BackendError: no cluster answers there.
    """
    is_local = cluster.address == LOCAL_CLUSTER
    if is_local:
        os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    # What goes wrong is said by exceptions as well.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    import ray

    if ray.is_initialized():
        yield
        return
    if cluster.address not in (LOCAL_CLUSTER, AUTO_CLUSTER):
        _probe(cluster.address)
    options: dict[str, Any] = {}
    if is_local:
        # More workers than cores are the user's decision, here as without Ray.
        options["num_cpus"] = max(math.ceil(cpus), 1)
        options["object_store_memory"] = _STORE_BYTES
        options["include_dashboard"] = False
    # Ray has a handler of its own for SIGTERM, which would keep the run's from its clips.
    before = signal.getsignal(signal.SIGTERM)
    try:
        ray.init(cluster.address, log_to_driver=False, logging_level=logging.ERROR, **options)
    # It ends the program where what answers is no Ray.
    except (Exception, SystemExit) as exc:
        raise _unreachable(cluster.address, first_line(exc)) from exc
    finally:
        _restore(before)
    try:
        yield
    finally:
        ray.shutdown()


def workers_that_fit(cpus: float, gpus: float) -> int:
    """How many workers have room on the cluster, at least 1.

    Args:
        cpus, gpus: of each worker.

    Raises:
        BackendError: it has no room for one.
    """
    import ray

    there = ray.cluster_resources()
    fits = min(
        (int(there.get(kind, 0.0) / each) for kind, each in (("CPU", cpus), ("GPU", gpus)) if each),
        default=1,
    )
    if fits < 1:
        raise BackendError(
            f"the Ray cluster has {there.get('CPU', 0):g} processors and {there.get('GPU', 0):g} "
            f"GPUs, and a worker takes {cpus:g} and {gpus:g}",
            fix=f"give less with {option('--worker-cpus', parameter='cpus')} and "
            f"{option('--worker-gpus', parameter='gpus')}",
        )
    return fits


def _probe(address: str) -> None:
    """Ask for a connection: Ray itself waits for two minutes.

    Raises:
        BackendError: nothing answers.
    """
    host, _, port = address.rpartition(":")
    try:
        socket.create_connection((host.strip("[]"), int(port)), _PROBE_S).close()
    except (OSError, OverflowError) as exc:
        reason = os_reason(exc) if isinstance(exc, OSError) else str(exc)
        raise _unreachable(address, reason) from exc


def _unreachable(address: str, reason: str) -> BackendError:
    if address == LOCAL_CLUSTER:
        return BackendError(f"Ray cannot be started here ({reason})")
    where = "on this machine" if address == AUTO_CLUSTER else f"at {address} ({reason})"
    return BackendError(
        f"no Ray cluster answers {where}",
        fix=f"start one with 'ray start --head', or use {option('--ray', LOCAL_CLUSTER)}",
    )


def _restore(handler: Any) -> None:
    try:
        signal.signal(signal.SIGTERM, handler)
    except (ValueError, TypeError):
        return  # another thread, where Ray sets none; or a handler that is not Python's
