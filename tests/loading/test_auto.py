"""`auto` becomes a network and an input, for a source."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import roadseg
from roadseg.backends.fake import FakeBackend, FakePipelinedBackend, FakeScoringBackend
from roadseg.core.backend import Backend
from roadseg.core.size import SizeHW
from roadseg.core.wording import naming_options
from roadseg.loading import auto, choice
from roadseg.loading.auto import choose_below, choose_for, ladder
from roadseg.loading.choice import AUTO, Choice, choose
from roadseg.loading.ladder import settle
from roadseg.loading.ladder.load import Clocks
from roadseg.loading.ladder.pace import Pace
from roadseg.loading.ladder.rungs import Rung


class Networks:
    """Backends that take so many microseconds a pixel, on a clock that only they move."""

    def __init__(self, us_per_pixel: float) -> None:
        self.us_per_pixel = us_per_pixel
        self.now_s = 0.0
        self.opened: list[tuple[str, SizeHW]] = []

    def open(self, choice: Choice, network_hw: SizeHW, **_: Any) -> FakeBackend:
        self.opened.append((choice.model, network_hw))
        networks = self

        class Timed(FakeBackend):
            def infer(self, batch_bgr: np.ndarray) -> np.ndarray:
                height, width = self.network_hw
                networks.now_s += height * width * networks.us_per_pixel / 1e6
                return super().infer(batch_bgr)

        return Timed(network_hw)


@pytest.fixture
def networks(monkeypatch: pytest.MonkeyPatch, own_cache: Path) -> Callable[[float], Networks]:
    """Makes networks as fast as asked for, on two cores and without a GPU."""

    def make(us_per_pixel: float) -> Networks:
        made = Networks(us_per_pixel)
        monkeypatch.setattr(Choice, "open", lambda self, hw, **kw: made.open(self, hw, **kw))
        real = settle.settle
        clocks = Clocks(wall=lambda: made.now_s, cpu=lambda: made.now_s, waited=lambda: 0.0)
        monkeypatch.setattr(auto, "settle", lambda *args: real(*args, clocks=clocks))
        return made

    for module in (auto, choice):
        monkeypatch.setattr(module, "has_nvidia_driver", lambda: False)
    monkeypatch.setattr(auto, "usable_cores", lambda: 2)
    monkeypatch.setattr(auto, "instruction_sets", lambda: {"AVX2": True})
    return make


def test_the_rung_that_keeps_up_and_one_line_why(
    networks: Callable[[float], Networks], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "roadseg")
    networks(0.25)
    with naming_options():
        chosen = choose_for(choose(AUTO), (540, 960), 25)
    assert (chosen.backend, chosen.auto) == ("openvino", False)
    height, width = chosen.network_hw((540, 960))
    assert height * width * 0.25 / 1e3 < 1e3 / 25
    assert chosen.pick is not None
    assert chosen.pick.keeps_up
    assert caplog.messages == [
        f"{chosen.model} at {height}x{width}: the most accurate that keeps up with 25 frames a "
        f"second here ({chosen.pick.network_ms:.0f} ms of the {chosen.pick.pace.network_ms:.0f} "
        f"that the network has); --model {chosen.model} --size HxW takes another"
    ]


def test_every_second_frame_where_that_is_left_open_and_better(
    networks: Callable[[float], Networks], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO", "roadseg")
    networks(0.25)
    seeing_all = choose_for(choose(AUTO), (540, 960), 25)
    caplog.clear()
    with naming_options():
        chosen = choose_for(choose(AUTO), (540, 960), 25, every=None)
    assert seeing_all.pick is not None
    assert chosen.pick is not None
    assert chosen.pick.pace.every == 2
    assert chosen.pick.rung.miou > seeing_all.pick.rung.miou
    (line,) = caplog.messages
    height, width = chosen.network_hw((540, 960))
    assert line.startswith(f"{chosen.model} at {height}x{width} on every second frame: the most")
    assert line.endswith("--size HxW takes another, --reuse 1 shows it all frames")


@pytest.mark.parametrize(
    ("us_per_pixel", "rate", "every"),
    [
        (0.25, 10, None),  # too far from frame to frame
        (0.25, None, None),
        (0.01, 25, None),  # the network takes no longer than carrying labels does
        (0.25, 25, 1),
    ],
)
def test_all_frames_where_that_is_better_or_asked_for(
    networks: Callable[[float], Networks],
    us_per_pixel: float,
    rate: float | None,
    every: int | None,
) -> None:
    networks(us_per_pixel)
    chosen = choose_for(choose(AUTO), (540, 960), rate, every=every)
    plainly = choose_for(choose(AUTO), (540, 960), rate)
    assert chosen.pick is not None
    assert plainly.pick is not None
    assert chosen.pick.pace.every == 1
    assert chosen.pick.rung == plainly.pick.rung


def test_a_slower_machine_and_a_faster_source_get_less(
    networks: Callable[[float], Networks],
) -> None:
    def pixels(us_per_pixel: float, rate: float | None, source_hw: SizeHW = (360, 480)) -> int:
        networks(us_per_pixel)
        chosen = choose_for(choose(AUTO, threads=round(us_per_pixel * 100)), source_hw, rate)
        return chosen.pixels

    assert pixels(0.3, 15) > pixels(0.5, 15) > pixels(0.5, 24)
    assert pixels(0.3, None) == pixels(0.3, 30), "an unknown rate counts as 30"
    assert pixels(9.0, 30) == 192 * 256, "the fastest, where none keeps up"


def test_large_frames_get_larger_inputs_where_time_is_left(
    networks: Callable[[float], Networks],
) -> None:
    networks(0.001)
    chosen = choose_for(choose(AUTO), (720, 1280), 25)
    assert chosen.pixels > 352 * 480
    assert chosen.pick is not None
    assert chosen.pick.rung == ladder(choose(AUTO), (720, 1280))[0]


def test_what_is_asked_for_is_not_overruled(networks: Callable[[float], Networks]) -> None:
    made = networks(9.0)
    for asked in (
        choose("segnet-lite"),
        choose("segnet-basic"),
        choose("segnet-lite", size_hw=(352, 480)),
        choose(AUTO, size_hw=(352, 480)),
    ):
        assert choose_for(asked, (360, 480), 60) == asked
        assert asked.network_hw((360, 480)) == (352, 480)
    assert made.opened == []


def test_where_scores_count_one_network_takes_all_inputs(
    networks: Callable[[float], Networks],
) -> None:
    made = networks(0.1)
    models = {rung.model for rung in ladder(choose(AUTO), (360, 480))}
    assert len(models) > 1
    chosen = choose_for(choose(AUTO), (360, 480), 60, scores=True)
    assert chosen.pick is not None
    assert {rung.model for rung in chosen.pick.rungs} == {"segnet-lite"}
    assert len(chosen.pick.rungs) > 3, "also those that cost more than another network's"
    assert {model for model, _ in made.opened} == {"segnet-lite"}


@pytest.mark.parametrize("waits", [False, True])
def test_where_scores_count_what_is_timed_is_what_runs(
    networks: Callable[[float], Networks], monkeypatch: pytest.MonkeyPatch, waits: bool
) -> None:
    networks(0.1)
    asked: list[tuple[bool, bool]] = []

    def open_and_note(choice: Choice, network_hw: SizeHW, **options: Any) -> Backend:
        asked.append((choice.throughput, options["scores"]))
        return FakeScoringBackend(network_hw)

    monkeypatch.setattr(Choice, "open", open_and_note)
    with roadseg.Segmenter("auto", scores=True) as segmenter:
        segmenter.fit((540, 960), 25, waits=waits)
        timed = len(asked)
        assert timed
        segmenter(np.zeros((540, 960, 3), np.uint8))
        assert segmenter.depth == 1
    assert len(asked) == timed + 1
    assert set(asked) == {(False, True)}


@pytest.mark.parametrize("throughput", [False, True])
def test_what_was_taken_with_scores_keeps_no_better_rung_from_a_run_without(
    networks: Callable[[float], Networks], monkeypatch: pytest.MonkeyPatch, throughput: bool
) -> None:
    monkeypatch.setattr(auto, "instruction_sets", lambda: {"AVX2": True, "VNNI": True})
    better = next(r for r in ladder(choose(AUTO), (360, 480)) if r.model != "segnet-lite")
    height, width = better.network_hw((360, 480))
    # The limit is nearer to its time than a rung that was not taken before has to stay.
    networks(Pace((360, 480), 25, 2).network_ms * 0.97 * 1e3 / (height * width))

    def taken(machine: int, *, scores: bool = False) -> Rung:
        # Each number of threads is a machine of its own.
        choice = replace(choose(AUTO, threads=machine), throughput=throughput)
        pick = choose_for(choice, (360, 480), 25, scores=scores).pick
        assert pick is not None
        return pick.rung

    assert taken(2) == better
    with_scores = taken(3, scores=True)
    assert with_scores.model == "segnet-lite"
    assert with_scores.miou < better.miou
    assert taken(3) == better
    assert taken(3, scores=True) == with_scores, "each has its own"


@pytest.mark.parametrize(
    ("sets", "limit", "all_rungs"),
    [
        ({"AVX2": True, "VNNI": False}, "", False),
        ({"AVX2": True, "VNNI": True}, "AVX2", False),
        ({"AVX2": True, "VNNI": True}, "", True),
        ({"dot product": True}, "", True),
        ({}, "", True),
    ],
)
def test_costs_rule_a_network_out_where_they_were_measured_alone(
    networks: Callable[[float], Networks],
    monkeypatch: pytest.MonkeyPatch,
    sets: dict[str, bool],
    limit: str,
    all_rungs: bool,
) -> None:
    networks(0.1)
    monkeypatch.setattr(auto, "instruction_sets", lambda: sets)
    monkeypatch.setattr(auto, "isa_limit", lambda: limit)
    models = {rung.model for rung in ladder(choose(AUTO), (360, 480))}
    assert ("segnet-lite" in models) == all_rungs


def test_backends_without_a_ladder_take_the_default(networks: Callable[[float], Networks]) -> None:
    made = networks(0.5)
    for backend in ("fake", "torch"):
        chosen = choose_for(choose(AUTO, backend), (360, 480), 25)
        assert (chosen.model, chosen.pick) == ("segnet-lite", None)
        assert chosen.network_hw((360, 480)) == (352, 480)
    assert made.opened == []


def test_a_manifest_without_ladders_leaves_the_default(
    networks: Callable[[float], Networks], monkeypatch: pytest.MonkeyPatch
) -> None:
    networks(0.5)
    monkeypatch.setattr(auto, "load_manifest", dict)
    assert choose_for(choose(AUTO), (360, 480), 25).network_hw((360, 480)) == (352, 480)


def test_down_to_the_last_rung(networks: Callable[[float], Networks]) -> None:
    networks(0.3)
    chosen: Choice | None = choose_for(choose(AUTO), (360, 480), 15)
    rungs = []
    while chosen is not None:
        assert chosen.pick is not None
        rungs.append(chosen.pick.rung)
        chosen = choose_below(chosen)
    scores = [rung.miou for rung in rungs]
    assert scores == sorted(scores, reverse=True)
    assert len(rungs) > 2
    assert rungs[-1].pixels == 192 * 256
    assert choose_below(choose("segnet-lite")) is None


def test_on_a_gpu_networks_are_rungs(
    networks: Callable[[float], Networks], monkeypatch: pytest.MonkeyPatch
) -> None:
    made = networks(0.001)
    rungs = (Rung("segnet-basic", 168960, 0.8), Rung("segnet-lite", 168960, 0.7))
    monkeypatch.setattr(auto, "has_nvidia_driver", lambda: True)
    monkeypatch.setattr(auto, "gpu_rungs", lambda entries: rungs)
    device = SimpleNamespace(device=SimpleNamespace(name="H100"))
    monkeypatch.setattr("roadseg.backends.gpu.shared_cuda", lambda: device)
    chosen = choose_for(choose(AUTO, "torch"), (360, 480), 30, every=None)
    assert chosen.model == "segnet-basic"
    assert chosen.pick is not None
    assert chosen.pick.pace.every == 1, "it is quicker than labels are carried"
    assert made.opened == [("segnet-basic", (352, 480))]
    # A GPU as slow as that one.
    made.us_per_pixel = 1.0
    monkeypatch.setattr(device.device, "name", "GT 710")
    assert choose_for(choose(AUTO, "torch"), (360, 480), 30).model == "segnet-basic"
    # TensorRT: only what is built.
    built = {"segnet-lite"}
    monkeypatch.setattr(
        "roadseg.loading.tensorrt.has_engine", lambda model, file, network_hw: model in built
    )
    assert ladder(choose(AUTO, "tensorrt"), (360, 480)) == rungs[1:]
    built.clear()
    chosen = choose_for(choose(AUTO, "tensorrt"), (360, 480), 30)
    assert (chosen.model, chosen.pick) == ("segnet-lite", None), "which is then built"


# The segmenter.


def test_a_segmenter_chooses_at_its_first_frame(networks: Callable[[float], Networks]) -> None:
    networks(0.5)
    frame_bgr = np.zeros((360, 480, 3), np.uint8)
    with roadseg.Segmenter("auto") as segmenter:
        assert segmenter.how_chosen() is None
        assert segmenter(frame_bgr).ids.shape == (360, 480)
        how = segmenter.how_chosen()
        assert how is not None
        assert (how["rate"], how["rate_assumed"]) == (30.0, True)
        assert segmenter.network_hw == tuple(how["size_hw"])  # type: ignore[arg-type]
        # Another source does not change it.
        segmenter.fit((360, 480), 1)
        assert segmenter.how_chosen() == how


def test_a_segmenter_steps_down_between_frames(networks: Callable[[float], Networks]) -> None:
    networks(0.3)
    frame_bgr = np.zeros((360, 480, 3), np.uint8)
    with roadseg.Segmenter("auto") as segmenter:
        segmenter.fit((360, 480), 15)
        segmenter(frame_bgr)
        before = segmenter.network_hw
        network_bgr, _ = segmenter.preprocess(frame_bgr)
        segmenter.submit(network_bgr)
        text = segmenter.step_down()
        assert segmenter.collect().shape == before, "it was in flight"
        segmenter(frame_bgr)
        assert segmenter.network_hw is not None
        assert before is not None
        assert segmenter.network_hw < before
        assert text == "segnet-edge at {}x{}".format(*segmenter.network_hw)
        how = segmenter.how_chosen()
        assert how is not None
        assert how["steps_down"] == 1


def test_frames_in_flight_keep_their_order_when_a_segmenter_steps_down(
    networks: Callable[[float], Networks], monkeypatch: pytest.MonkeyPatch
) -> None:
    networks(0.3)
    monkeypatch.setattr(Choice, "open", lambda self, hw, **_: FakePipelinedBackend(hw, depth=3))
    with roadseg.Segmenter("auto") as segmenter:
        segmenter.fit((360, 480), 15, waits=True)

        def submit(level: int) -> None:
            frame_bgr = np.full((360, 480, 3), level, np.uint8)
            segmenter.submit(segmenter.preprocess(frame_bgr)[0])

        submit(0)
        submit(128)
        # The first rung below is another network at the same input.
        assert segmenter.step_down() is not None
        assert segmenter.step_down() is not None
        submit(255)  # to the other network
        labels = [segmenter.collect() for _ in range(3)]
    assert [int(ids[0, 0]) for ids in labels] == [0, 5, 10]
    assert labels[0].shape == labels[1].shape > labels[2].shape


def test_sources_that_wait_run_and_are_timed_with_several_frames_in_flight(
    networks: Callable[[float], Networks], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[bool] = []
    networks(0.25)
    plainly = Choice.open

    def open_and_note(choice: Choice, network_hw: SizeHW, **options: Any) -> Backend:
        asked.append(choice.throughput)
        return plainly(choice, network_hw, **options)

    monkeypatch.setattr(Choice, "open", open_and_note)
    for waits in (True, False):
        with roadseg.Segmenter("auto") as segmenter:
            segmenter.fit((540, 960), 25, waits=waits)
            assert segmenter.choice.throughput == waits
            segmenter(np.zeros((540, 960, 3), np.uint8))
        assert set(asked) == {waits}, "both are timed: one's times say nothing about the other"
        asked.clear()


def test_a_segmenter_of_a_named_model_has_nothing_to_choose() -> None:
    with roadseg.Segmenter(backend="fake") as segmenter:
        assert segmenter.fit((360, 480), 1000) == 1
        assert segmenter.fit((360, 480), 1000, every=None) == 1
        assert segmenter.fit((360, 480), 1000, every=3) == 3
        assert segmenter.step_down() is None
        assert segmenter.how_chosen() is None
        segmenter(np.zeros((360, 480, 3), np.uint8))
        assert segmenter.network_hw == (352, 480)
