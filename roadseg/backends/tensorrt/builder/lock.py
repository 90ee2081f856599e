"""One build of an engine at a time: a second process waits, and takes what the first one built."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from roadseg.core.errors import EngineError, ModelError, QualityGateError, SinkError, os_reason
from roadseg.core.file_lock import FileLock
from roadseg.core.wording import option
from roadseg.engine.manifest import EngineManifest
from roadseg.engine.runtime import Runtime
from roadseg.engine.spec import EngineSpec
from roadseg.engine.store import EngineFile, checksum_problem, read_engine, stale_reasons
from roadseg.weights.calibration import find_calibration, read_calibration
from roadseg.weights.gate import check_gate
from roadseg.weights.manifest import sha256_of

_POLL_S = 0.2


@contextmanager
def build_lock(
    engine: Path,
    waiting: Callable[[int | None], None],
    *,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[bool]:
    """Hold the lock of an engine inside a `with` block; wait while another process has it.

    The system takes a lock back when its process ends, however that happens, so none is ever
    stale; the file that is left then is used again.

    Args:
        engine: where the engine is to lie; the lock is a hidden file beside it.
        waiting: called once if it has to wait, with the other's process id if that is known.
        sleep: waits so many seconds between two attempts.

    Yields:
        Whether it had to wait.

    Raises:
        SinkError: the folder takes no lock files.
    """
    lock = FileLock(engine.with_name(f".{engine.name}.lock"))
    waited = False
    while not _take(lock):
        if not waited:
            waiting(lock.owner())
            waited = True
        sleep(_POLL_S)
    try:
        yield waited
    finally:
        lock.release()


def _take(lock: FileLock) -> bool:
    try:
        return lock.take()
    except OSError as exc:
        raise SinkError(
            f"cannot lock {lock.path} ({os_reason(exc)})",
            fix=f"give another folder with {option('--output')}",
        ) from exc


def already_built(
    path: Path, spec: EngineSpec, *, since: str, runtime: Runtime, weights_sha256: str
) -> EngineFile | None:
    """What another process built while this one waited, if it is what is wanted.

    Args:
        path: the engine's file.
        spec: what is to be built.
        since: when the waiting began, in ISO 8601; older engines do not count.
        runtime: what builds.
        weights_sha256: checksum of the weights.
    """
    try:
        engine = read_engine(path)
    except EngineError:
        return None
    manifest = engine.manifest
    if manifest.created < since or manifest.spec != replace(spec, model=manifest.source):
        return None
    if stale_reasons(manifest, runtime=runtime, weights_sha256=weights_sha256):
        return None
    if manifest.calibration is not None and not _is_calibrated_so(manifest, spec):
        return None
    return engine if checksum_problem(engine) is None else None


def _is_calibrated_so(manifest: EngineManifest, spec: EngineSpec) -> bool:
    """Whether an INT8 engine is of the calibration that is wanted, and costs no more than it may.

    If not, building finds out what is wrong, and says so.
    """
    assert manifest.calibration is not None
    path = spec.calibration or find_calibration(manifest.architecture, manifest.weights_sha256)
    with contextlib.suppress(ModelError, OSError, QualityGateError):
        calibration = read_calibration(path)
        check_gate(calibration, max_drop_points=spec.max_drop_points, force=spec.force)
        return sha256_of(path) == manifest.calibration.sha256
    return False
