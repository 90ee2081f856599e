"""Times are kept for a machine, and only for that one."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from roadseg.core import processor
from roadseg.loading.ladder import kept as module
from roadseg.loading.ladder.kept import Kept, TimedOn, keep, read_kept, this_machine
from roadseg.loading.ladder.pace import Pace
from roadseg.loading.ladder.pick import Pick
from roadseg.loading.ladder.rungs import Rung
from roadseg.loading.ladder.settle import settle
from tests.loading.ladder.conftest import SOURCE_HW, FakeMachine

Rungs = tuple[Rung, ...]
Make = Callable[..., FakeMachine]

HERE = TimedOn("EPYC", "AVX2", "", "openvino 2026.4", 2)
SHA256 = {"segnet-lite": "a" * 64}


@pytest.fixture(autouse=True)
def cache(own_cache: Path) -> Path:
    return own_cache


def settled(
    fake: FakeMachine,
    rungs: Rungs,
    rate: float | None = 25,
    *,
    machine: TimedOn = HERE,
    sha256: dict[str, str] | None = None,
) -> Pick:
    asked = SHA256 if sha256 is None else sha256
    pace = Pace(SOURCE_HW, rate, 2)
    return settle(rungs, pace, machine, asked, fake.open, clocks=fake.clocks)


def test_a_machine_is_measured_once(lite: Rungs, machine: Make) -> None:
    fake = machine(0.8)
    first = settled(fake, lite)
    assert fake.opened
    again = machine(50.0)  # would come out differently
    assert settled(again, lite) == first
    assert again.opened == []


@pytest.mark.parametrize(
    "change",
    [
        {"processor": "Xeon"},
        {"instructions": "AVX2, VNNI"},
        {"limit": "AVX2"},
        {"runtime": "openvino 2027.0"},
        {"threads": 4},
        {"throughput": True},
        {"scores": True},
    ],
)
def test_what_times_depend_on(lite: Rungs, machine: Make, change: dict[str, object]) -> None:
    settled(machine(), lite)
    fake = machine()
    settled(fake, lite, machine=replace(HERE, **change))  # type: ignore[arg-type]
    assert fake.opened


def test_other_weights_and_other_sizes_are_measured(lite: Rungs, machine: Make) -> None:
    settled(machine(), lite)
    fake = machine()
    settled(fake, lite, sha256={"segnet-lite": "b" * 64})
    assert fake.opened
    assert {each.sha256 for each in read_kept(HERE).times} == {"b" * 64}, "the old ones are dropped"
    wide = machine()
    settle(lite, Pace((360, 640), 25, 2), HERE, SHA256, wide.open, clocks=wide.clocks)
    assert wide.opened


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff\xfe",
        b"[]",
        b"{}",
        b'{"version": 99}',
        b'{"version": 1, "machine": 5}',
        b'{"version": 1, "machine": {}, "times": []}',
    ],
)
def test_a_damaged_file_counts_as_none(lite: Rungs, machine: Make, content: bytes) -> None:
    path = HERE.path()
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    fake = machine()
    settled(fake, lite)
    assert fake.opened
    assert read_kept(HERE).times, "and is made again"


def test_times_that_cannot_be_are_not_believed(lite: Rungs, machine: Make) -> None:
    settled(machine(), lite)
    document = json.loads(HERE.path().read_text(encoding="utf-8"))
    document["times"][0]["ms"] = -1
    HERE.path().write_text(json.dumps(document))
    assert read_kept(HERE) == Kept(HERE)


def test_a_file_of_another_machine_counts_as_none(lite: Rungs, machine: Make) -> None:
    settled(machine(), lite)
    there = replace(HERE, processor="Xeon")
    there.path().write_bytes(HERE.path().read_bytes())  # copied along with a home folder
    assert read_kept(there) == Kept(there)


@pytest.mark.skipif(os.name == "nt" or os.geteuid() == 0, reason="root may write everywhere")
def test_a_cache_without_permission(lite: Rungs, machine: Make, cache: Path) -> None:
    cache.mkdir(mode=0o500)
    assert settled(machine(), lite).keeps_up


def test_a_cache_that_cannot_be_written(lite: Rungs, machine: Make, cache: Path) -> None:
    cache.write_text("a file, where a folder should be")
    first = settled(machine(), lite)
    fake = machine()
    assert settled(fake, lite).rung == first.rung
    assert fake.opened, "it is measured again"
    assert keep(Kept(HERE)) is False


def test_disturbed_times_count_once_and_are_not_kept(lite: Rungs, machine: Make) -> None:
    fake = machine(2.0)
    fake.waits = 0.5
    pick = settled(fake, lite)
    assert pick.disturbed
    assert read_kept(HERE).times == ()
    calm = machine(0.8)
    settled(calm, lite)
    assert calm.opened
    assert read_kept(HERE).times


def test_the_choice_is_stable_while_times_waver_about_the_limit(lite: Rungs, machine: Make) -> None:
    limit_ms = Pace(SOURCE_HW, 25, 2).network_ms
    slowness = limit_ms / lite[2].cost_ms
    first = settled(machine(slowness * 0.98), lite)
    assert first.rung == lite[2]
    for waver in (1.04, 0.97, 1.06, 0.95):
        # Times are lost each time, what was taken is not.
        kept = read_kept(HERE)
        keep(replace(kept, times=()))
        assert settled(machine(slowness * waver), lite).rung == lite[2]
    keep(replace(read_kept(HERE), times=()))
    assert settled(machine(slowness * 1.15), lite).rung == lite[3], "a clear difference counts"


def test_what_was_taken_beside_other_load_holds_no_longer_than_that(
    lite: Rungs, machine: Make
) -> None:
    slowness = Pace(SOURCE_HW, 25, 2).network_ms / lite[2].cost_ms * 0.97
    busy = machine(slowness * 1.2)
    busy.waits = 0.5
    busy_rung = settled(busy, lite).rung
    assert busy_rung.miou < lite[2].miou
    again = machine(slowness)
    again.waits = 0.5
    held = settled(again, lite)
    assert held.disturbed
    assert held.rung == busy_rung, "stable as long as there is other load"
    assert settled(machine(slowness), lite).rung == lite[2]
    # And what was taken on a free machine outlives a disturbed start.
    keep(replace(read_kept(HERE), times=()))
    busy = machine(slowness * 1.05)
    busy.waits = 0.5
    assert settled(busy, lite).rung == lite[2]
    assert settled(machine(slowness * 1.05), lite).rung == lite[2]


def test_what_was_taken_for_pictures_in_planes_is_not_held_for_others(
    lite: Rungs, machine: Make
) -> None:
    planes, bgr = Pace(SOURCE_HW, 25, 2, planar=True), Pace(SOURCE_HW, 25, 2)
    slowness = bgr.network_ms / lite[2].cost_ms * 1.01

    def taken(pace: Pace) -> Rung:
        fake = machine(slowness)
        return settle(lite, pace, HERE, SHA256, fake.open, clocks=fake.clocks).rung

    assert taken(planes) == lite[2]
    assert taken(bgr) == lite[3]
    assert taken(planes) == lite[2]


def test_what_was_taken_before_planes_were_told_apart_is_read(lite: Rungs, machine: Make) -> None:
    settled(machine(), lite)
    document = json.loads(HERE.path().read_text(encoding="utf-8"))
    for taken in document["taken"]:
        del taken["planar"]
    HERE.path().write_text(json.dumps(document))
    assert read_kept(HERE).before(lite, Pace(SOURCE_HW, 25, 2)) is not None


def test_a_file_of_the_form_before_scores_counts_for_labels_alone(
    lite: Rungs, machine: Make
) -> None:
    settled(machine(), lite)
    kept = read_kept(HERE)
    document = json.loads(HERE.path().read_text(encoding="utf-8"))
    del document["machine"]["scores"]
    with_scores = replace(HERE, scores=True)
    for there in (HERE, with_scores):
        there.path().write_text(json.dumps(document))
    assert read_kept(HERE) == kept
    assert read_kept(with_scores) == Kept(with_scores)
    settled(machine(), lite, machine=with_scores)
    assert read_kept(with_scores).times, "and is made again"
    # Where that form lay: nobody looks there any more.
    facts = json.dumps(document["machine"], sort_keys=True).encode()
    name = f"{hashlib.sha256(facts).hexdigest()[:16]}.json"
    assert name not in (HERE.path().name, with_scores.path().name)


def test_pictures_need_no_times(lite: Rungs, machine: Make, cache: Path) -> None:
    fake = machine()
    assert settled(fake, lite, rate=0).rung == lite[0]
    assert fake.opened == []
    assert not cache.exists()


def test_only_the_latest_sources_are_remembered(lite: Rungs) -> None:
    kept = Kept(HERE)
    for rate in range(1, 30):
        kept = kept.having_taken(lite[0], Pace(SOURCE_HW, rate, 2))
    assert len(kept.taken) == 16
    assert kept.before(lite, Pace(SOURCE_HW, 29, 2)) == lite[0]
    assert kept.before(lite, Pace(SOURCE_HW, 1, 2)) is None


# What this machine is.


def test_a_processor_that_names_no_features(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "instruction_sets", lambda: {})
    assert this_machine("openvino", None).instructions == "unknown"
    monkeypatch.setattr(module, "instruction_sets", lambda: {"AVX2": False, "VNNI": False})
    assert this_machine("openvino", None).instructions == "none"
    monkeypatch.setattr(module, "instruction_sets", lambda: {"AVX2": True, "VNNI": True})
    assert this_machine("openvino", 1).instructions == "AVX2, VNNI"


def test_this_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "avx2")
    here = this_machine("openvino", None)
    assert here.limit == "AVX2"
    assert here.processor == processor.processor_name()
    assert here.threads == processor.usable_cores()
    assert here.runtime.startswith("openvino 2")
    assert this_machine("openvino", 3).threads == 3
    monkeypatch.setattr(module, "_PACKAGES", {"openvino": "no-such-package"})
    assert this_machine("openvino", None).runtime == "openvino unknown"
    assert this_machine("tensorrt", None, "H100").processor == "H100"


def test_what_was_taken_with_reuse_is_remembered_apart(lite: Rungs, machine: Make) -> None:
    fake = machine()
    often = settled(fake, lite)
    assert often.rung == lite[2]
    pace = Pace(SOURCE_HW, 25, 2, 2)
    seldom = settle(lite, pace, HERE, SHA256, fake.open, clocks=fake.clocks)
    assert seldom.rung == lite[1]
    kept = read_kept(HERE)
    assert kept.before(lite, Pace(SOURCE_HW, 25, 2)) == often.rung
    assert kept.before(lite, Pace(SOURCE_HW, 25, 2, 2)) == seldom.rung
