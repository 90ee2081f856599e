"""What an archive does, and does not do again. The workers here are no processes."""

from __future__ import annotations

import os
import shutil
import signal
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import pytest

from roadseg.archive import run as archive_run
from roadseg.archive.clip import Clip
from roadseg.archive.ledger import archive_rows, ledger_path
from roadseg.archive.process import ClipWorker
from roadseg.archive.result import ClipResult
from roadseg.archive.room import Room
from roadseg.archive.run import process_archive, shard_of
from roadseg.archive.spec import ArchiveSpec, ClipSpec
from roadseg.archive.state import ArchiveState
from roadseg.archive.workers import Answer, Died, Going
from roadseg.core.errors import BackendError, RoadsegError, SinkError, SourceError, UsageError
from roadseg.loading.choice import Choice
from tests.archive.conftest import BROKEN, GOOD
from tests.archive.test_process import digests


class InlineWorkers:
    """Takes two clips at once, and does one each time that it is asked for answers.

    `instead[name]` are answers that come in place of results, one for each attempt.
    """

    instead: ClassVar[dict[str, list[object]]]
    done: ClassVar[list[str]]
    closed: ClassVar[int]
    before: ClassVar[Callable[[str], None] | None]

    def __init__(self, spec: ClipSpec, count: int, choice: Choice) -> None:
        self._spec, self._count, self._choice = spec, count, choice
        self._taken: list[Clip] = []

    @property
    def is_free(self) -> bool:
        return len(self._taken) < self._count

    @property
    def clips(self) -> tuple[Clip, ...]:
        return tuple(self._taken)

    def take(self, clip: Clip) -> None:
        assert self.is_free
        self._taken.append(clip)

    def answers(self, timeout_s: float) -> list[Answer]:
        if not self._taken:
            return []
        clip = self._taken.pop(0)
        type(self).done.append(clip.name)
        if self.before is not None:
            self.before(clip.name)
        if self.instead.get(clip.name):
            answer = self.instead[clip.name].pop(0)
            return [answer(clip) if callable(answer) else answer]  # type: ignore[list-item]
        with ClipWorker(self._spec, self._choice) as worker:
            return [Going(clip, 1, 2), worker(clip)]

    def withdraw(self) -> tuple[Clip, ...]:
        return ()

    def close(self) -> None:
        type(self).closed += 1


@pytest.fixture
def workers(monkeypatch: pytest.MonkeyPatch) -> type[InlineWorkers]:
    class Workers(InlineWorkers):
        instead: ClassVar[dict[str, list[object]]] = {}
        done: ClassVar[list[str]] = []
        closed = 0
        before = None

    monkeypatch.setattr(archive_run, "Workers", Workers)
    return Workers


@pytest.fixture
def archive(clips: Path, spec: ClipSpec) -> ArchiveSpec:
    return ArchiveSpec((str(clips),), replace(spec, writes=("timeline",)), workers=2)


@pytest.fixture
def first(archive: ArchiveSpec, workers: type[InlineWorkers]) -> Iterator[ArchiveState]:
    """A run over all of it."""
    state = process_archive(archive)
    workers.done.clear()
    yield state
    assert not list(archive.clip.output.glob(".*"))


def rows(archive: ArchiveSpec) -> dict[str, ClipResult]:
    return {row.name: row for row in archive_rows(archive.clip.output)}


def stamps(folder: Path) -> dict[str, tuple[int, int]]:
    stats = {str(path): path.stat() for path in folder.rglob("*") if path.suffix != ".sqlite"}
    return {path: (stat.st_ino, stat.st_mtime_ns) for path, stat in stats.items() if stat.st_size}


def test_every_clip_gets_a_row(archive: ArchiveSpec, first: ArchiveState) -> None:
    assert (first.clips, first.done, first.failed, first.left) == (8, 6, 2, 0)
    assert first.processed == 8
    assert first.frames_in == first.frames_out == sum(range(5, 11))
    assert first.played_s == pytest.approx(sum(range(5, 11)) / 25)
    assert [each.name for each in first.failures] == [name[:-4] for name in BROKEN]
    assert first.exit_code == 3
    found = rows(archive)
    good, broken = [name.rpartition(".")[0] for name in GOOD], [name[:-4] for name in BROKEN]
    assert sorted(found) == sorted(good + broken)
    assert {name for name, row in found.items() if row.state == "done"} == set(good)
    assert all(row.attempts == 1 and row.seconds is not None for row in found.values())
    assert all((archive.clip.output / name / "timeline.parquet").is_file() for name in good)
    assert len({row.work for row in found.values()}) == 1


def test_the_same_again_touches_nothing(
    archive: ArchiveSpec, first: ArchiveState, workers: type[InlineWorkers]
) -> None:
    before, rows_before = stamps(archive.clip.output), rows(archive)
    again = process_archive(archive)
    assert workers.done == []
    assert (again.done, again.failed, again.processed) == (6, 2, 0)
    assert again.frames_out == first.frames_out
    assert again.exit_code == 3
    assert stamps(archive.clip.output) == before
    assert rows(archive) == rows_before


def test_what_has_changed_is_done_again_and_nothing_else(
    archive: ArchiveSpec, first: ArchiveState, workers: type[InlineWorkers], clips: Path
) -> None:
    before = stamps(archive.clip.output)
    os.utime(clips / "e.mp4")  # a time is no content
    shutil.copy(clips / "day1" / "b.mkv", clips / "day1" / "a.mp4")
    shutil.copy(clips / "day1" / "b.mkv", clips / "day2" / "empty.mp4")
    (archive.clip.output / "day2" / "a" / "timeline.parquet").unlink()
    with (archive.clip.output / "day2" / "d" / "timeline.parquet").open("ab") as file:
        file.write(b"x")
    (archive.clip.output / "day1" / "c" / "clip.json").unlink()
    shutil.rmtree(archive.clip.output / "day1" / "c")
    again = process_archive(archive)
    assert sorted(workers.done) == ["day1/a", "day1/c", "day2/a", "day2/d", "day2/empty"]
    assert (again.done, again.failed, again.processed) == (7, 1, 5)
    assert rows(archive)["day1/a"].frames_out == 6
    after = stamps(archive.clip.output)
    same = {path for path in before if after.get(path) == before[path]}
    assert {Path(path).parent.name for path in same if path.endswith("parquet")} == {"b", "e"}


def test_failed_clips_are_tried_again_where_that_is_asked_for(
    archive: ArchiveSpec, first: ArchiveState, workers: type[InlineWorkers]
) -> None:
    process_archive(replace(archive, retry_failed=True))
    assert sorted(workers.done) == ["day2/empty", "day2/no-index"]


def test_a_result_without_a_row_gets_one(
    archive: ArchiveSpec, first: ArchiveState, workers: type[InlineWorkers]
) -> None:
    """As a kill between the two leaves it; and a ledger that is lost, or damaged."""
    expected = {name: replace(row, seconds=None) for name, row in rows(archive).items()}
    ledger_path(archive.clip.output).write_bytes(b"junk" * 100)
    again = process_archive(archive)
    assert sorted(workers.done) == ["day2/empty", "day2/no-index"]
    assert (again.done, again.failed) == (6, 2)
    assert {name: replace(row, seconds=None) for name, row in rows(archive).items()} == expected
    assert (archive.clip.output / "ledger-backup-1.sqlite").read_bytes() == b"junk" * 100


@pytest.mark.parametrize(
    ("changes", "what"),
    [
        ({"writes": ("overlay",)}, r"with other options \(writes\)"),
        ({"size_hw": (64, 64), "reuse": 2}, r"with other options \(reuse, size_hw\)"),
        ({"full_hash": True}, r"with other options \(full_hash\)"),
    ],
)
def test_other_options_ask_for_another_output_or_to_redo(
    archive: ArchiveSpec,
    first: ArchiveState,
    workers: type[InlineWorkers],
    changes: dict[str, object],
    what: str,
) -> None:
    other = replace(archive, clip=replace(archive.clip, **changes))
    with pytest.raises(UsageError, match=f"holds results that were made otherwise: {what}") as no:
        process_archive(other)
    assert "redo=True" in no.value.fix
    assert workers.done == []
    process_archive(replace(other, redo=True, limit=3))
    assert len(workers.done) == 3
    # What was said once holds: what is left is done without saying it again.
    process_archive(other)
    assert len(workers.done) == 8
    assert len({row.work for row in rows(archive).values()}) == 1
    process_archive(replace(other, redo=True))
    assert len(workers.done) == 8


def test_other_threads_and_workers_are_the_same_work(
    archive: ArchiveSpec, first: ArchiveState, workers: type[InlineWorkers]
) -> None:
    process_archive(replace(archive, workers=1, clip=replace(archive.clip, threads=2)))
    assert workers.done == []


def test_another_version_is_other_work(
    archive: ArchiveSpec, first: ArchiveState, monkeypatch: pytest.MonkeyPatch
) -> None:
    from roadseg.archive import work

    monkeypatch.setattr(work, "__version__", "99")
    with pytest.raises(UsageError, match="by version 0.1.0 of roadseg, and this is 99"):
        process_archive(archive)


def test_a_mask_file_with_other_content_is_other_work(
    archive: ArchiveSpec, workers: type[InlineWorkers], tmp_path: Path
) -> None:
    mask = tmp_path / "mask.json"
    mask.write_text("[[[0, 1], [0.2, 0.9], [1, 1]]]")
    reading = replace(archive.clip.reading, ignore_mask=mask)
    archive = replace(archive, clip=replace(archive.clip, reading=reading))
    process_archive(archive)
    mask.write_text("[[[0, 1], [0.3, 0.9], [1, 1]]]")
    with pytest.raises(UsageError, match="ignore_mask_sha256"):
        process_archive(archive)


def test_a_lost_worker_costs_its_clip_an_attempt(
    archive: ArchiveSpec, workers: type[InlineWorkers], caplog: pytest.LogCaptureFixture
) -> None:
    def died(clip: Clip) -> Died:
        return Died(clip, "killed by SIGKILL")

    workers.instead = {"day1/b": [died], "day2/d": [died, died, died]}
    state = process_archive(archive)
    found = rows(archive)
    assert (found["day1/b"].state, found["day1/b"].attempts) == ("done", 2)
    lost = found["day2/d"]
    assert (lost.state, lost.attempts, lost.exit_code) == ("failed", 3, 1)
    assert lost.error == "its worker died 3 times (killed by SIGKILL)"
    assert lost.fix == "if memory was short, use workers=1 and retry_failed=True"
    assert lost.identity
    assert (state.done, state.failed) == (5, 3)
    assert workers.done.count("day2/d") == 3
    assert len(workers.done) == 8 + 1 + 2
    assert "a worker was lost at" in caplog.text
    workers.done.clear()
    process_archive(replace(archive, retry_failed=True))
    assert "day2/d" in workers.done
    assert rows(archive)["day2/d"].state == "done"


def test_a_worker_that_died_after_its_work_loses_nothing(
    archive: ArchiveSpec, workers: type[InlineWorkers]
) -> None:
    def after(clip: Clip) -> Died:
        with ClipWorker(archive.clip) as worker:
            worker(clip)
        return Died(clip, "killed by SIGKILL")

    workers.instead = {"day1/b": [after]}
    process_archive(archive)
    assert workers.done.count("day1/b") == 1
    assert rows(archive)["day1/b"].state == "done"


def test_a_network_that_does_not_open_ends_it_all(
    archive: ArchiveSpec, workers: type[InlineWorkers]
) -> None:
    workers.instead = {"e": [BackendError("no runtime", fix="install one")]}
    with pytest.raises(BackendError, match="no runtime"):
        process_archive(archive)
    assert workers.closed == 1
    assert rows(archive) == {}


def test_a_network_that_fails_clip_after_clip_ends_it(
    archive: ArchiveSpec, workers: type[InlineWorkers]
) -> None:
    def lost(clip: Clip) -> ClipResult:
        return ClipResult(
            clip.path, clip.name, "failed", exit_code=6, error="no GPU", fix="plug it"
        )

    names = ["day1/a", "day1/c", "day2/a", "day2/d"]
    workers.instead = {name: [lost] for name in names}
    # Two of them have neighbours that are done.
    state = process_archive(replace(archive, limit=4))
    assert state.failed == 2
    workers.instead = {name.rpartition(".")[0]: [lost] for name in GOOD}
    with pytest.raises(BackendError, match="no GPU: plug it; then retry_failed=True"):
        process_archive(replace(archive, retry_failed=True))
    assert 3 <= sum(row.error == "no GPU" for row in rows(archive).values()) <= 4


def test_a_full_disk_ends_it_and_says_how_much_is_needed(
    archive: ArchiveSpec, workers: type[InlineWorkers], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(clip: Clip) -> ClipResult:
        return ClipResult(clip.path, clip.name, "failed", exit_code=4, disk_full=True)

    workers.instead = {"day1/c": [full]}
    with pytest.raises(SinkError, match="the disk of .* is full: the .* clips that are left need"):
        process_archive(archive)
    assert "day1/c" not in rows(archive)
    assert rows(archive)["day1/b"].state == "done"
    # Before a clip is begun the disk is looked at.
    workers.done.clear()
    monkeypatch.setattr(Room, "_free", lambda self: 1000)
    with pytest.raises(SinkError, match="and 0 MB are free") as error:
        process_archive(archive)
    assert error.value.fix == "free some space and run the same again; what is done stays done"
    assert workers.done == []
    monkeypatch.undo()
    monkeypatch.setattr(archive_run, "Workers", workers)
    state = process_archive(archive)
    assert state.left == 0
    assert state.done == 6


def test_need_is_learnt_from_what_was_done() -> None:
    room = Room(Path())
    assert room.need(1000) == 0
    room.learn(100, 50)
    room.learn(100, 250)
    assert room.need(1000) == 1500


def test_so_many_clips_and_no_more(archive: ArchiveSpec, workers: type[InlineWorkers]) -> None:
    state = process_archive(replace(archive, limit=3))
    assert (len(workers.done), state.processed, state.left) == (3, 3, 5)
    process_archive(replace(archive, limit=3))
    process_archive(replace(archive, limit=3))
    assert sorted(workers.done) == sorted(set(workers.done))
    assert len(workers.done) == 8


def test_shards_do_all_clips_once(archive: ArchiveSpec, workers: type[InlineWorkers]) -> None:
    states = [process_archive(replace(archive, shard=(i, 3))) for i in (1, 2, 3)]
    assert sum(state.clips for state in states) == 8
    assert sorted(workers.done) == sorted(rows(archive))
    assert len(workers.done) == 8
    workers.done.clear()
    # A run over all finds what the shards have done.
    process_archive(archive)
    assert sorted(workers.done) == ["day2/empty", "day2/no-index"]


def test_a_shard_agrees_with_what_is_there_and_with_the_other_shards(
    archive: ArchiveSpec, first: ArchiveState, workers: type[InlineWorkers]
) -> None:
    before = stamps(archive.clip.output)
    other = replace(archive, clip=replace(archive.clip, writes=("png-masks",)))
    for shard in ((1, 1), (2, 3)):
        with pytest.raises(UsageError, match=r"made otherwise: with other options \(writes\)"):
            process_archive(replace(other, shard=shard))
    assert {path: before[path] for path in before} == stamps(archive.clip.output)
    process_archive(replace(other, shard=(1, 3), redo=True))
    count = len(workers.done)
    # What was said once holds for that shard, and for no other.
    process_archive(replace(other, shard=(1, 3)))
    assert len(workers.done) == count
    with pytest.raises(UsageError, match="made otherwise"):
        process_archive(replace(other, shard=(2, 3)))


def test_a_clip_stays_in_its_shard_and_shards_are_of_one_size() -> None:
    counts = [0] * 4
    for number in range(4000):
        counts[shard_of(Clip("x", f"day/{number}"), 4) - 1] += 1
    assert min(counts) > 900


def test_results_are_the_same_in_any_order(
    archive: ArchiveSpec, workers: type[InlineWorkers], tmp_path: Path
) -> None:
    process_archive(archive)
    other = replace(archive, workers=1, clip=replace(archive.clip, output=tmp_path / "other"))
    for _ in range(8):
        process_archive(replace(other, limit=1))
    one, two = digests(archive.clip.output), digests(other.clip.output)
    del one["ledger.sqlite"], two["ledger.sqlite"]
    assert one == two
    ours, theirs = ([replace(r, seconds=None) for r in rows(a).values()] for a in (archive, other))
    assert ours == theirs


def test_two_runs_do_not_write_to_one_archive(
    archive: ArchiveSpec, workers: type[InlineWorkers]
) -> None:
    def second(name: str) -> None:
        with pytest.raises(SinkError, match="is being written by another run"):
            process_archive(archive)

    workers.before = staticmethod(second)
    process_archive(replace(archive, limit=1))


def test_what_a_killed_run_left_is_removed(
    archive: ArchiveSpec, workers: type[InlineWorkers]
) -> None:
    left = archive.clip.output / ".unfinished" / "17-abc"
    left.mkdir(parents=True)
    (left / "overlay.mp4").write_bytes(b"half")
    process_archive(archive)
    assert not left.parent.exists()


@pytest.mark.skipif(os.name == "nt", reason="needs signals")
@pytest.mark.parametrize(("numbers", "more"), [([signal.SIGINT], 1), ([signal.SIGINT] * 2, 0)])
def test_ctrl_c_lets_clips_end_and_a_second_one_gives_them_up(
    archive: ArchiveSpec, workers: type[InlineWorkers], numbers: list[int], more: int
) -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)

    def stop(name: str) -> None:
        if len(workers.done) == 2:
            for number in numbers:
                os.kill(os.getpid(), number)

    workers.before = staticmethod(stop)
    try:
        with pytest.raises(KeyboardInterrupt):
            process_archive(archive)
    finally:
        signal.signal(signal.SIGINT, before)
    assert len(workers.done) == 2 + more
    assert len(rows(archive)) == 2 + more
    assert workers.closed == 1
    assert [path.name for path in archive.clip.output.glob(".*")] == []


@pytest.mark.parametrize(
    ("changes", "error", "text"),
    [
        ({"workers": 0}, UsageError, "workers=0 cannot be: give 1 or more"),
        ({"limit": 0}, UsageError, "limit=0"),
        ({"attempts": 0}, UsageError, "attempts=0"),
        ({"shard": (5, 4)}, UsageError, "there is no shard 5 of 4"),
        ({"sources": ("none",)}, SourceError, "no such file"),
        ({"sources": ()}, SourceError, "no clips"),
    ],
)
def test_what_cannot_be_is_refused(
    archive: ArchiveSpec, changes: dict[str, object], error: type[RoadsegError], text: str
) -> None:
    with pytest.raises(error, match=text):
        process_archive(replace(archive, **changes))
    assert not archive.clip.output.exists()


def test_states_and_results_are_shown(archive: ArchiveSpec, workers: type[InlineWorkers]) -> None:
    states: list[ArchiveState] = []
    results: list[ClipResult] = []
    last = process_archive(archive, on_state=states.append, on_result=results.append)
    assert len(results) == 8
    assert replace(states[-1], elapsed_s=0) == replace(last, elapsed_s=0)
    assert any(state.going and state.left_s for state in states)
    values = last.to_json()
    assert (values["done"], values["failed"], values["left"]) == (6, 2, 0)
    assert values["failures"][0]["exit_code"] == 3  # type: ignore[index]
