"""Archives on a Ray cluster: two workers on this machine, which may be killed."""

from __future__ import annotations

import logging
import os
import re
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from roadseg.archive.cluster.connection import connected
from roadseg.archive.ledger import archive_rows
from roadseg.archive.result import ClipResult
from roadseg.archive.run import process_archive
from roadseg.archive.spec import UNFINISHED, ArchiveSpec, ClipSpec, Cluster
from roadseg.archive.state import ArchiveState
from roadseg.core.errors import BackendError, RoadsegError, SinkError, UsageError
from tests.archive.test_process import digests
from tests.support.clips import write_clip

try:
    import ray
except ImportError:
    ray = None

needs_ray = pytest.mark.skipif(ray is None, reason="needs Ray: pip install 'roadseg[ray]'")
needs_kill = pytest.mark.skipif(sys.platform == "win32", reason="needs SIGKILL")

# Ray leaves files and processes to be collected, and warns of its own future.
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="session")
def two_cores(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """A Ray of two cores on this machine, for all tests: it takes seconds to start."""
    place = Path(tempfile.mkdtemp(prefix="ray", dir="/tmp" if os.name == "posix" else None))
    os.environ["RAY_BACKEND_LOG_LEVEL"] = "fatal"
    ray.init(
        "local",
        num_cpus=2,
        object_store_memory=80 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=str(place),  # sockets need short paths
    )
    yield
    ray.shutdown()
    shutil.rmtree(place, ignore_errors=True)


@pytest.fixture
def archive(clips: Path, spec: ClipSpec, two_cores: None) -> ArchiveSpec:
    return ArchiveSpec((str(clips),), spec, workers=2, cluster=Cluster())


def rows(output: Path) -> dict[str, ClipResult]:
    """What a ledger holds, but for what each run has of its own."""
    return {row.name: replace(row, seconds=None, attempts=1) for row in archive_rows(output)}


def files(output: Path) -> dict[str, str]:
    return {k: v for k, v in digests(output).items() if not k.startswith("ledger")}


@needs_ray
def test_results_and_ledger_are_the_same_as_without_it(
    archive: ArchiveSpec, tmp_path: Path
) -> None:
    told: list[ClipResult] = []
    state = process_archive(archive, on_result=told.append)
    output = archive.clip.output
    near = replace(archive.clip, output=tmp_path / "near")
    other = process_archive(replace(archive, clip=near, cluster=None))
    assert (state.done, state.failed, state.exit_code) == (other.done, other.failed, 3)
    assert state.frames_out == other.frames_out > 0
    assert files(output) == files(near.output)
    expected = {
        name: replace(row, error=row.error.replace(str(near.output), str(output)))
        for name, row in rows(near.output).items()
    }
    assert rows(output) == expected
    assert len(told) == state.clips
    assert not (output / UNFINISHED).exists()
    # What is there is not done again, here as there.
    assert process_archive(archive).processed == 0
    assert process_archive(replace(archive, cluster=None)).processed == 0


@needs_ray
def test_urls_are_fetched_where_the_work_is(archive: ArchiveSpec, clips: Path) -> None:
    # Paths for roadseg; and the same by fsspec, which knows no difference to a bucket.
    near, far = (clips / "day1" / "a.mp4").as_uri(), f"local://{clips}/day2/a.mp4"
    archive = replace(archive, sources=(), listed=(near, far))
    state = process_archive(archive)
    assert (state.done, state.failed) == (2, 0)
    assert sorted(row.clip for row in archive_rows(archive.clip.output)) == sorted(
        [str(clips / "day1" / "a.mp4"), far]
    )
    scratch = Path(tempfile.gettempdir())
    assert list(scratch.glob("roadseg-clips-*/*")) == []


class Killer:
    """Kills the worker that writes the long clip, once it is alone.

    Args:
        output: the archive's folder.
        times: how often.
    """

    def __init__(self, output: Path, times: int) -> None:
        self._unfinished = output / UNFINISHED
        self._times = times
        self.killed: list[int] = []

    def __call__(self, state: ArchiveState) -> None:
        if len(self.killed) >= self._times or [g.clip.name for g in state.going] != ["long"]:
            return
        writing = [p for p in self._unfinished.glob("[0-9]*-*") if any(p.rglob("*.png"))]
        pids = {int(p.name.partition("-")[0]) for p in writing} - set(self.killed)
        for pid in pids:
            self.killed.append(pid)
            os.kill(pid, signal.SIGKILL)


@needs_ray
@needs_kill
@pytest.mark.parametrize(("kills", "state"), [(1, "done"), (2, "failed")])
def test_a_worker_that_is_killed_costs_its_clip_an_attempt(
    archive: ArchiveSpec, clips: Path, kills: int, state: str
) -> None:
    shutil.rmtree(clips / "day2")
    write_clip(clips / "long.mp4", frames=2500)
    spec = replace(archive.clip, writes=("png-masks",))
    killer = Killer(spec.output, kills)
    process_archive(replace(archive, clip=spec, attempts=2), on_state=killer)
    assert len(killer.killed) == kills
    found = {row.name: row for row in archive_rows(spec.output)}
    long = found.pop("long")
    assert (long.state, long.attempts) == (state, 2)
    assert {(row.state, row.attempts) for row in found.values()} == {("done", 1)}
    if state == "done":
        assert long.frames_out == 2500
    else:
        assert re.match(r"its worker died 2 times \(Ray lost process \d+ on \S+\)", long.error)
        assert long.identity
    assert not (spec.output / UNFINISHED).exists()


@needs_ray
@needs_kill
@pytest.mark.parametrize("signals", [1, 2])
def test_ctrl_c_ends_clips_or_gives_them_up(
    archive: ArchiveSpec, clips: Path, signals: int
) -> None:
    for number in range(6):
        shutil.copy(clips / "e.mp4", clips / f"e{number}.mp4")
    write_clip(clips / "day0.mp4", frames=2500)
    spec = replace(archive.clip, writes=("png-masks",))

    def interrupt(result: ClipResult) -> None:
        if result.name != "day0":
            for _ in range(signals):
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        process_archive(replace(archive, clip=spec), on_result=interrupt)
    found = {row.name: row for row in archive_rows(spec.output)}
    assert ("day0" in found) is (signals == 1)
    assert 0 < len(found) < 8
    assert not (spec.output / UNFINISHED).exists()
    assert {path.name for path in spec.output.iterdir() if path.is_dir()} >= {
        name for name in found if "/" not in name
    }
    state = process_archive(replace(archive, clip=spec))
    assert state.left == 0
    assert state.processed == state.clips - len(found)


@needs_ray
def test_a_limit_and_an_error_that_all_workers_have(
    archive: ArchiveSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = process_archive(replace(archive, limit=1))
    assert (state.processed, state.left) == (1, state.clips - 1)
    # Workers elsewhere see another folder of that name.
    monkeypatch.setattr(
        "roadseg.archive.cluster.workers.secrets.token_hex", lambda _count: "elsewhere/"
    )
    monkeypatch.setattr(Path, "touch", lambda _path: None)
    with pytest.raises(SinkError, match=f"{socket.gethostname()} is another folder .* share"):
        process_archive(archive)


@needs_ray
def test_more_than_the_cluster_has_is_refused(archive: ArchiveSpec) -> None:
    with pytest.raises(BackendError, match="has 2 processors and 0 GPUs, and a worker takes 1"):
        process_archive(replace(archive, cluster=Cluster(gpus=1)))


@needs_ray
@pytest.mark.parametrize(
    ("cluster", "error", "message"),
    [
        (Cluster("ray://host:10001"), UsageError, "not the address of a Ray cluster: use HOST"),
        (Cluster("host"), UsageError, "not the address of a Ray cluster: use HOST"),
        (Cluster(cpus=-1), UsageError, "cpus=-1 is not 0 or more"),
        (Cluster(gpus=float("nan")), UsageError, "gpus=nan is not 0 or more"),
    ],
)
def test_bad_clusters_are_refused(
    cluster: Cluster, error: type[RoadsegError], message: str, spec: ClipSpec
) -> None:
    with pytest.raises(error, match=message):
        ArchiveSpec(("a.mp4",), spec, cluster=cluster).check()


@needs_ray
def test_a_cluster_that_is_not_there_is_an_error_at_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    refusal = pytest.raises(BackendError, match=f"no Ray cluster answers at {address} .*ray start")
    with refusal, connected(Cluster(address), 1.0):
        raise AssertionError("it is there")


def test_without_ray_its_extra_is_named(spec: ClipSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BackendError, match=r"needs ray.*: pip install 'roadseg\[ray\]'"):
        ArchiveSpec(("a.mp4",), spec, cluster=Cluster()).check()
