"""The Python API: labels at the frame's size, for frames of any size, and clear refusals."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import roadseg
from roadseg.backends.fake import FakeBackend, FakePipelinedBackend
from roadseg.core.errors import BackendError, UsageError
from roadseg.core.geometry import network_size
from roadseg.loading.choice import choose
from roadseg.loading.segmenter import Segmenter


def gradient(height: int, width: int) -> np.ndarray:
    frame = np.zeros((height, width, 3), np.uint8)
    frame[..., 1] = np.linspace(0, 255, width).astype(np.uint8)
    return frame


def test_labels_have_the_size_of_the_frame():
    with Segmenter(backend="fake") as segmenter:
        label_map = segmenter(gradient(360, 480))
    assert label_map.ids.shape == (360, 480)
    assert label_map.ids.dtype == np.uint8
    assert label_map.network_ids.shape == (352, 480)
    # Left to right the green channel runs from class 0 to class 10.
    assert (np.diff(label_map.ids[100].astype(int)) >= 0).all()
    assert label_map.ids[100, 0] == 0
    assert label_map.ids[100, -1] == 10


def test_a_frame_of_the_network_size_is_labelled_exactly():
    frame = np.random.default_rng(0).integers(0, 256, (64, 96, 3), dtype=np.uint8)
    label_map = Segmenter(backend="fake", size_hw=(64, 96))(frame)
    np.testing.assert_array_equal(label_map.ids, frame[..., 1].astype(int) * 11 // 256)


def test_the_package_offers_it():
    assert roadseg.Segmenter is Segmenter
    assert roadseg.core.errors.UsageError is UsageError
    assert len(roadseg.core.labels.CLASS_NAMES) == 11


def test_the_package_shows_what_it_offers_and_loads_none_of_it():
    code = (
        "import sys, roadseg\n"
        "shown = [name for name in dir(roadseg) if not name.startswith('_')]\n"
        "assert '__version__' in dir(roadseg)\n"
        "heavy = {'numpy', 'cv2', 'openvino', 'torch', 'av'} & set(sys.modules)\n"
        "print(*shown, *heavy)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [
        "ArchiveSpec",
        "ClipResult",
        "ClipSpec",
        "ComparisonPlan",
        "EngineSpec",
        "Frame",
        "LabelMap",
        "MaskVideo",
        "RunSpec",
        "Segmenter",
        "build_engine",
        "calibrate_model",
        "compare",
        "cross_validate",
        "errors",
        "evaluate_model",
        "export_network",
        "labels",
        "process_archive",
        "process_clip",
        "quantize_model",
        "train",
    ]
    assert sorted(roadseg.__all__) == sorted([*done.stdout.split(), "__version__"])
    assert all(hasattr(roadseg, name) for name in roadseg.__all__)


def test_what_is_decided_already_is_not_looked_up_again(monkeypatch):
    choice = choose("segnet-lite", "fake", size_hw=(96, 64))
    monkeypatch.setattr("roadseg.loading.segmenter.choose", None)
    with Segmenter.of(choice, keep=1) as segmenter:
        segmenter(gradient(48, 64))
        assert segmenter.choice is choice
        assert segmenter.network_hw == segmenter.size_hw == (96, 64)


def test_size_is_obeyed():
    segmenter = Segmenter(backend="fake", size_hw=(96, 64))
    assert segmenter.network_hw is None
    assert segmenter.backend_info is None
    assert segmenter(gradient(50, 200)).network_ids.shape == (96, 64)
    assert segmenter.network_hw == (96, 64)
    assert segmenter.backend_info is not None
    assert segmenter.backend_info.name == "fake"


def test_results_are_not_overwritten_by_the_next_frame():
    segmenter = Segmenter(backend="fake", size_hw=(32, 32))
    black = segmenter(np.zeros((40, 40, 3), np.uint8))
    white = segmenter(np.full((40, 40, 3), 255, np.uint8))
    assert (black.ids == 0).all()
    assert (white.ids == 10).all()


def test_the_frame_is_not_written_to():
    frame = gradient(50, 70)
    before = frame.copy()
    Segmenter(backend="fake")(frame)
    np.testing.assert_array_equal(frame, before)


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 3000), (3000, 1), (33, 47), (1080, 1920)])
def test_any_size_of_frame(size_hw):
    assert Segmenter(backend="fake")(np.zeros((*size_hw, 3), np.uint8)).ids.shape == size_hw


def test_views_that_are_not_contiguous():
    frame = gradient(64, 96)[::2, ::-3]
    assert Segmenter(backend="fake", size_hw=(32, 32))(frame).ids.shape == (32, 32)


@pytest.fixture
def created(monkeypatch):
    """Every backend that is created, with a note when it is closed."""
    backends = []

    class Noted(FakeBackend):
        def __init__(self, network_hw) -> None:
            super().__init__(network_hw)
            self.closed = False
            backends.append(self)

        def close(self) -> None:
            self.closed = True

    monkeypatch.setattr(
        "roadseg.loading.choice.Choice.open", lambda choice, hw, **_options: Noted(hw)
    )
    return backends


def test_networks_are_compiled_once_per_aspect_ratio(created):
    segmenter = Segmenter(backend="fake")
    segmenter.prepare((540, 960))
    for height, width in ((540, 960), (1080, 1920), (960, 540), (540, 960)):
        segmenter(np.zeros((height, width, 3), np.uint8))
    assert [backend.network_hw for backend in created] == [
        network_size((540, 960)),
        network_size((960, 540)),
    ]
    segmenter.close()
    assert all(backend.closed for backend in created)
    segmenter.close()


def test_the_network_unused_for_longest_is_given_back(created):
    segmenter = Segmenter(backend="fake")
    for width in (100, 200, 100, 300, 400):
        segmenter(np.zeros((100, width, 3), np.uint8))
    assert [backend.closed for backend in created] == [False, True, False, False]


# Several frames in flight.


@pytest.fixture
def pipelined(monkeypatch):
    monkeypatch.setattr(
        "roadseg.loading.choice.Choice.open",
        lambda choice, hw, **_options: FakePipelinedBackend(hw),
    )


def plain(level: int, size_hw: tuple[int, int] = (32, 32)) -> np.ndarray:
    return np.full((*size_hw, 3), level, np.uint8)


def test_frames_in_flight_come_back_in_order(pipelined):
    with Segmenter(backend="fake") as segmenter:
        assert segmenter.depth == 1, "nothing is known before the first frame"
        frame = plain(0)
        segmenter.submit(frame)
        frame[:] = 255  # it may be overwritten once it has been submitted
        assert segmenter.depth == 2
        segmenter.submit(frame)
        assert (segmenter.collect() == 0).all()
        segmenter.submit(plain(128))
        assert (segmenter.collect() == 10).all()
        assert (segmenter.collect() == 5).all()
        assert (segmenter.infer(plain(255)) == 10).all()


def test_a_backend_that_is_not_pipelined_takes_the_same_calls():
    with Segmenter(backend="fake") as segmenter:
        for level, label in ((0, 0), (128, 5)):
            segmenter.submit(plain(level))
            assert segmenter.depth == 1
            with pytest.raises(RuntimeError, match="^1 frames are in flight: collect them first$"):
                segmenter.submit(plain(level))
            assert (segmenter.collect() == label).all()


def test_calls_out_of_turn_are_refused(pipelined):
    segmenter = Segmenter(backend="fake")
    with pytest.raises(RuntimeError, match="^no frame is in flight: submit one first$"):
        segmenter.collect()
    segmenter.submit(plain(0))
    with pytest.raises(RuntimeError, match="^1 frames are in flight: collect them first$"):
        segmenter.submit(plain(0, (32, 64)))
    segmenter.submit(plain(255))
    with pytest.raises(RuntimeError, match="^2 frames are in flight: collect them first$"):
        segmenter.submit(plain(0))
    with pytest.raises(RuntimeError, match="^2 batches are in flight: collect them first$"):
        segmenter.infer(plain(0))
    segmenter.discard()
    assert (segmenter.infer(plain(128)) == 5).all()


def test_discarding_takes_errors_with_it(pipelined, monkeypatch):
    def fail(self):
        self._in_flight.popleft()
        raise BackendError("lost")

    segmenter = Segmenter(backend="fake")
    segmenter.submit(plain(0))
    segmenter.submit(plain(0))
    monkeypatch.setattr(FakePipelinedBackend, "collect", fail)
    segmenter.discard()
    monkeypatch.undo()
    assert segmenter._in_flight == type(segmenter._in_flight)()


def test_closing_forgets_what_is_in_flight_and_a_closed_segmenter_starts_anew(pipelined):
    segmenter = Segmenter(backend="fake")
    segmenter.submit(plain(0))
    segmenter.close()
    assert segmenter.depth == 1
    segmenter.submit(plain(255))
    assert segmenter.depth == 2
    assert (segmenter.collect() == 10).all()


# Several pictures in one call.


def test_a_batch_of_pictures_of_different_sizes():
    frames = [gradient(360, 480), gradient(720, 960)[:, ::-1], gradient(352, 480)]
    with Segmenter(backend="fake") as segmenter:
        label_maps = segmenter.segment_batch(frames)
        assert [label_map.ids.shape for label_map in label_maps] == [f.shape[:2] for f in frames]
        for frame, label_map in zip(frames, label_maps, strict=True):
            np.testing.assert_array_equal(label_map.ids, segmenter(frame).ids)
        assert segmenter.segment_batch([]) == []


def test_batches_do_not_overwrite_each_other():
    segmenter = Segmenter(backend="fake", size_hw=(32, 32))
    black = segmenter.segment_batch([plain(0), plain(0, (50, 20))])
    white = segmenter.segment_batch([plain(255), plain(255)])
    assert all((label_map.ids == 0).all() for label_map in black)
    assert all((label_map.ids == 10).all() for label_map in white)


def test_a_batch_needs_one_network():
    segmenter = Segmenter(backend="fake")
    with pytest.raises(ValueError) as caught:
        segmenter.segment_batch([gradient(360, 480), gradient(360, 480), gradient(540, 960)])
    assert str(caught.value) == (
        "frame 0 needs a 352x480 network and frame 2 a 320x576 one: "
        "give Segmenter a size_hw for all"
    )
    with pytest.raises(ValueError, match=r"^expected a \(H, W, 3\) uint8 BGR frame, got \(4, 5\)"):
        segmenter.segment_batch([gradient(360, 480), np.zeros((4, 5), np.uint8)])


@pytest.mark.parametrize(
    ("frame", "message"),
    [
        (
            np.zeros((4, 5), np.uint8),
            "expected a (H, W, 3) uint8 BGR frame, got (4, 5) uint8: "
            "convert grey pictures with cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)",
        ),
        (
            np.zeros((4, 5, 1), np.uint8),
            "expected a (H, W, 3) uint8 BGR frame, got (4, 5, 1) uint8: "
            "convert grey pictures with cv2.cvtColor(frame, cv2.COLOR_GRAY2BGR)",
        ),
        (
            np.zeros((4, 5, 4), np.uint8),
            "expected a (H, W, 3) uint8 BGR frame, got (4, 5, 4) uint8: "
            "convert BGRA pictures with cv2.cvtColor(frame, cv2.COLOR_BGRA2BGR)",
        ),
        (
            np.zeros((4, 5, 3), np.float32),
            "expected a (H, W, 3) uint8 BGR frame, got (4, 5, 3) float32: "
            "scale it to 0..255 and convert with .astype(np.uint8)",
        ),
        (
            np.zeros((0, 5, 3), np.uint8),
            "expected a (H, W, 3) uint8 BGR frame, got (0, 5, 3) uint8",
        ),
        (
            np.zeros((2, 4, 5, 3), np.uint8),
            "expected a (H, W, 3) uint8 BGR frame, got (2, 4, 5, 3) uint8",
        ),
        (
            np.zeros((3, 40, 50), np.uint8),
            "expected a (H, W, 3) uint8 BGR frame, got (3, 40, 50) uint8: "
            "put the channels last with .transpose(1, 2, 0)",
        ),
    ],
)
def test_other_arrays_are_refused(frame, message):
    segmenter = Segmenter(backend="fake")
    for refuse in (
        segmenter,
        segmenter.preprocess,
        segmenter.infer,
        segmenter.submit,
        lambda frame: segmenter.segment_batch([frame]),
    ):
        with pytest.raises(ValueError) as caught:
            refuse(frame)
        assert str(caught.value) == message


class Picture:
    """As PIL has it."""

    def __array__(self):
        raise AssertionError("it is not converted behind the user's back")


@pytest.mark.parametrize(
    ("frame", "got"),
    [
        (None, "None: cv2.imread gives None where it cannot read a file"),
        ("a.jpg", "str: read it with cv2.imread('a.jpg')"),
        (Path("a.jpg"), f"{type(Path()).__name__}: read it with cv2.imread('a.jpg')"),
        ([[[0, 0, 0]]], "list: for several frames there is segment_batch; "),
        (Picture(), "Picture: make it a NumPy array with numpy.asarray, with its channels as "),
        (7, "int"),
    ],
)
def test_what_is_no_array_is_refused(frame, got):
    segmenter = Segmenter(backend="fake")
    for refuse in (
        segmenter,
        segmenter.preprocess,
        segmenter.infer,
        segmenter.submit,
        lambda frame: segmenter.segment_batch([frame]),
    ):
        with pytest.raises(TypeError) as caught:
            refuse(frame)
        expected = f"expected a (H, W, 3) uint8 BGR frame, as a NumPy array, got {got}"
        assert str(caught.value).startswith(expected)


@pytest.mark.parametrize(("frames", "got"), [(None, "None"), ("a.jpg", "str"), (3, "int")])
def test_what_is_no_batch_is_refused(frames, got):
    with pytest.raises(TypeError) as caught:
        Segmenter(backend="fake").segment_batch(frames)
    assert str(caught.value) == (
        f"expected a list of frames, a (H, W, 3) uint8 BGR frame each, got {got}"
    )


def test_one_array_of_several_frames_is_a_batch():
    frames = np.stack([plain(0), plain(255)])
    black, white = Segmenter(backend="fake").segment_batch(frames)
    assert (black.ids == 0).all()
    assert (white.ids == 10).all()


@pytest.mark.parametrize("size_hw", ["352x480", (352,), (352.5, 480), 352, (1, 2, 3), ("1", "2")])
def test_sizes_of_another_kind_are_refused(size_hw):
    with pytest.raises(TypeError) as caught:
        Segmenter(backend="fake", size_hw=size_hw)
    assert str(caught.value) == (
        f"size_hw is (height, width) in pixels, such as (352, 480), got {size_hw!r}"
    )


def test_models_of_another_kind_are_refused():
    with pytest.raises(TypeError, match='^model is a name such as "segnet-lite" or a path, got '):
        Segmenter(None)


# Several threads.

IN_USE = (
    "this Segmenter is in use by another thread: give each thread one of its own, or let them take "
    "turns with a lock"
)


@pytest.fixture
def busy(monkeypatch):
    """A segmenter that another thread is inside of, until the test is over."""
    inside, go = threading.Event(), threading.Event()
    infer = FakeBackend.infer

    def wait(self, batch_bgr):
        inside.set()
        assert go.wait(60)
        return infer(self, batch_bgr)

    monkeypatch.setattr(FakeBackend, "infer", wait)
    segmenter = Segmenter(backend="fake")
    results = []
    other = threading.Thread(target=lambda: results.append(segmenter(plain(255))))
    other.start()
    assert inside.wait(60)
    yield segmenter
    go.set()
    other.join()
    assert (results[0].ids == 10).all(), "the first one is not disturbed"
    monkeypatch.undo()
    assert (segmenter(plain(0)).ids == 0).all()
    segmenter.close()
    assert (segmenter(plain(0)).ids == 0).all(), "a closed one starts anew"


@pytest.mark.parametrize(
    "use",
    [
        lambda segmenter: segmenter(plain(0)),
        lambda segmenter: segmenter.infer(plain(0)),
        lambda segmenter: segmenter.submit(plain(0)),
        lambda segmenter: segmenter.collect(),
        lambda segmenter: segmenter.discard(),
        lambda segmenter: segmenter.segment_batch([plain(0)]),
        lambda segmenter: segmenter.prepare((32, 32)),
        lambda segmenter: segmenter.close(),
    ],
)
def test_a_second_thread_is_refused(busy, use):
    with pytest.raises(RuntimeError) as caught:
        use(busy)
    assert str(caught.value) == IN_USE


def test_threads_that_take_turns_share_one():
    segmenter = Segmenter(backend="fake")
    found = []
    for level, label in ((0, 0), (255, 10), (128, 5)):

        def use(level=level, label=label):
            found.append((segmenter(plain(level, (40, 60))).ids == label).all())
            segmenter.submit(plain(level))

        thread = threading.Thread(target=use)
        thread.start()
        thread.join()
        assert (segmenter.collect() == label).all()
    assert found == [True] * 3


def test_what_one_thread_has_resized_no_other_one_overwrites():
    segmenter = Segmenter(backend="fake", size_hw=(32, 32))
    mine, _ = segmenter.preprocess(plain(0, (50, 50)))
    thread = threading.Thread(target=segmenter.preprocess, args=(plain(255, (50, 50)),))
    thread.start()
    thread.join()
    assert (segmenter.infer(mine) == 0).all()


def test_frames_of_two_threads_are_not_in_flight_together(pipelined):
    segmenter = Segmenter(backend="fake")
    thread = threading.Thread(target=segmenter.submit, args=(plain(0),))
    thread.start()
    thread.join()
    with pytest.raises(RuntimeError, match="^frames of another thread are in flight: give each "):
        segmenter.submit(plain(255))
    assert (segmenter.collect() == 0).all()
    segmenter.submit(plain(255))
    assert (segmenter.collect() == 10).all()


def test_an_error_leaves_it_free():
    segmenter = Segmenter(backend="fake")
    with pytest.raises(ValueError):
        segmenter(np.zeros((3, 3), np.uint8))
    with pytest.raises(RuntimeError, match="^no frame is in flight"):
        segmenter.collect()
    assert segmenter(plain(0)).ids.shape == (32, 32)


@pytest.mark.parametrize(
    ("size_hw", "nearest"),
    [
        ((350, 480), "size_hw=(320, 480) or size_hw=(352, 480)"),
        ((352, 481), "size_hw=(352, 480) or size_hw=(352, 512)"),
        ((0, 0), "size_hw=(32, 32)"),
        ((-32, 480), "size_hw=(32, 480)"),
        ((1, 1), "size_hw=(32, 32)"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(size_hw, nearest):
    with pytest.raises(UsageError) as caught:
        Segmenter(backend="fake", size_hw=size_hw)
    assert str(caught.value) == (
        f"size {size_hw[0]}x{size_hw[1]} does not fit the network, whose sides are multiples "
        f"of 32: use {nearest}"
    )


def test_threads_below_one_are_refused():
    with pytest.raises(UsageError, match="^cannot use 0 threads: use threads=1 or more$"):
        Segmenter(backend="fake", threads=0)


def test_unknown_backends_are_refused_at_once():
    with pytest.raises(UsageError, match=r"^unknown backend 'cuda': use backend=\"auto\"\|"):
        Segmenter(backend="cuda")


def test_unknown_models_are_refused_at_once():
    with pytest.raises(UsageError, match="^unknown model 'segnet-huge'"):
        Segmenter("segnet-huge")
