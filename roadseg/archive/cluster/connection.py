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
# How every connection of gRPC begins (RFC 9113, 3.4): a greeting, and a frame of settings without
# any. The answer is a frame of settings, too.
_GREETING = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + bytes([0, 0, 0, 4, 0, 0, 0, 0, 0])
_FRAME_HEADER_BYTES = 9
_SETTINGS = 4
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
    """Ask for a connection, and what answers for its protocol: Ray itself waits for two minutes.

    Raises:
        BackendError: nothing answers, or something that cannot be Ray.
    """
    host, _, port = address.rpartition(":")
    try:
        with socket.create_connection((host.strip("[]"), int(port)), _PROBE_S) as connection:
            # With TLS the first words are others.
            if os.environ.get("RAY_USE_TLS", "0").lower() in ("0", "false"):
                _greet(connection)
    except (OSError, OverflowError) as exc:
        reason = os_reason(exc) if isinstance(exc, OSError) else str(exc)
        raise _unreachable(address, reason) from exc


def _greet(connection: socket.socket) -> None:
    """Make sure that the other side speaks the protocol that Ray speaks.

    Raises:
        OSError: it does not.
    """
    connection.sendall(_GREETING)
    answer = b""
    while len(answer) < _FRAME_HEADER_BYTES:
        try:
            more = connection.recv(_FRAME_HEADER_BYTES - len(answer))
        except TimeoutError as exc:
            raise OSError("what listens there does not answer") from exc
        if not more:
            break
        answer += more
    if answer[3:4] != bytes([_SETTINGS]):
        raise OSError("what answers there is not Ray")


def _unreachable(address: str, reason: str) -> BackendError:
    if address == LOCAL_CLUSTER:
        return BackendError(
            f"Ray cannot be started here ({reason})",
            fix=f"leave {option('--ray')} out: the workers of one machine do not need it",
        )
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
