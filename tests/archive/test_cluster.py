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
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from roadseg.archive.cluster import connection as ray_connection
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
    os.environ["RAY_worker_niceness"] = "0"  # noqa: SIM112  (they would wait for other tests)
    before = signal.getsignal(signal.SIGTERM)  # Ray sets one of its own
    ray.init(
        "local",
        num_cpus=2,
        object_store_memory=80 * 2**20,
        include_dashboard=False,
        log_to_driver=False,
        logging_level=logging.ERROR,
        _temp_dir=str(place),  # sockets need short paths
    )
    signal.signal(signal.SIGTERM, before)
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
    archive: ArchiveSpec, clips: Path, tmp_path: Path
) -> None:
    archive = replace(archive, sources=(clips.as_uri(),))
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


class Killer:
    """Kills workers that write masks of a width, whenever they begin, up to so many times.

    Args:
        unfinished: where workers write.
        times: by the width.
    """

    def __init__(self, unfinished: Path, times: dict[int, int]) -> None:
        self._unfinished, self._times = unfinished, times
        self.killed: list[int] = []

    def __call__(self, _state: ArchiveState) -> None:
        for folder in self._unfinished.glob("[0-9]*-*"):
            pid = int(folder.name.partition("-")[0])
            mask = next(folder.rglob("*.png"), None)
            width = 0 if mask is None else int.from_bytes(mask.read_bytes()[16:20], "big")
            if pid not in self.killed and self._times.get(width, 0) > 0:
                self._times[width] -= 1
                self.killed.append(pid)
                os.kill(pid, signal.SIGKILL)


@needs_ray
@needs_kill
def test_a_worker_that_is_killed_costs_its_clip_an_attempt(
    archive: ArchiveSpec, clips: Path
) -> None:
    shutil.rmtree(clips / "day2")
    write_clip(clips / "once.mp4", frames=2500, size_hw=(32, 32))
    write_clip(clips / "again.mp4", frames=2500, size_hw=(32, 48))
    spec = replace(archive.clip, writes=("png-masks",))
    killer = Killer(spec.output / UNFINISHED, {32: 1, 48: 2})
    process_archive(replace(archive, clip=spec, attempts=2), on_state=killer)
    assert len(killer.killed) == 3
    found = {row.name: row for row in archive_rows(spec.output)}
    once, again = found.pop("once"), found.pop("again")
    assert (once.state, once.attempts, once.frames_out) == ("done", 2, 2500)
    assert (again.state, again.attempts, again.exit_code) == ("failed", 2, 1)
    assert re.match(r"its worker died 2 times \(Ray lost process \d+ on \S+\)", again.error)
    assert again.identity
    assert {(row.state, row.attempts) for row in found.values()} == {("done", 1)}
    assert len(found) == 4
    assert not (spec.output / UNFINISHED).exists()


@needs_ray
@needs_kill
@pytest.mark.parametrize("signals", [1, 2])
def test_ctrl_c_ends_clips_or_gives_them_up(
    archive: ArchiveSpec, clips: Path, signals: int
) -> None:
    # Before it in order: the others have been done or begun by then, or not, as it happens.
    write_clip(clips / "day0.mp4", frames=4000)
    spec = replace(archive.clip, writes=("png-masks",))
    sent = 0

    def interrupt(state: ArchiveState) -> None:
        nonlocal sent
        if any(going.clip.name == "day0" and going.frames_out for going in state.going):
            while sent < signals:
                sent += 1
                signal.raise_signal(signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        process_archive(replace(archive, clip=spec), on_state=interrupt)
    found = {row.name for row in archive_rows(spec.output)}
    assert ("day0" in found) is (signals == 1)
    assert not (spec.output / UNFINISHED).exists()
    state = process_archive(replace(archive, clip=spec, limit=1))
    assert state.processed == (1 if len(found) < state.clips else 0)


@needs_ray
def test_urls_are_fetched_where_the_work_is_and_folders_must_be_shared(
    archive: ArchiveSpec, clips: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Local files, but by fsspec, to which a bucket would be no different.
    archive = replace(archive, sources=(f"local://{clips}/day1",), limit=1)
    state = process_archive(archive)
    assert (state.processed, state.done, state.left) == (1, 1, 2)
    (row,) = archive_rows(archive.clip.output)
    assert row.clip.endswith("/day1/a.mp4")
    assert "://" in row.clip
    assert list(Path(tempfile.gettempdir()).glob("roadseg-clips-*/*")) == []
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
        (Cluster(cpus=-1), UsageError, "cpus=-1 cannot be: give 0 or more"),
        (Cluster(gpus=float("nan")), UsageError, "gpus=nan cannot be: give 0 or more"),
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


@needs_ray
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what answers there is not Ray"),
        (b"\0\0", "what answers there is not Ray"),
        (b"", "what answers there is not Ray"),
        (None, "what listens there does not answer"),
    ],
)
def test_what_is_not_ray_is_an_error_within_seconds(
    monkeypatch: pytest.MonkeyPatch, answer: bytes | None, reason: str
) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", None)
    monkeypatch.setattr("roadseg.archive.cluster.connection._PROBE_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = f"127.0.0.1:{server.getsockname()[1]}"

        def serve() -> None:
            connection, _ = server.accept()
            with connection:
                connection.recv(100)
                if answer is None:
                    connection.recv(100)  # until the other side goes
                else:
                    connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        refusal = pytest.raises(
            BackendError, match=rf"no Ray cluster answers at {address} \({reason}\): start one"
        )
        with refusal, connected(Cluster(address), 1.0):
            raise AssertionError("it is there")
        thread.join()


@needs_ray
def test_ray_itself_is_known_as_such(two_cores: None) -> None:
    ray_connection._probe(ray.get_runtime_context().gcs_address)


def test_without_ray_its_extra_is_named(spec: ClipSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    with pytest.raises(BackendError, match=r"needs ray.*: pip install 'roadseg\[ray\]'"):
        ArchiveSpec(("a.mp4",), spec, cluster=Cluster()).check()
