"""The page of `roadseg eval --report`: its figures by hand, and the page itself."""

from __future__ import annotations

import math
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg import __version__
from roadseg.backends.fake import FakeBackend
from roadseg.core.backend import ScoringBackend
from roadseg.core.errors import ModelError, SinkError
from roadseg.core.labels import SUNRGBD, palette_bgr
from roadseg.core.types import Image, Labels
from roadseg.evaluation.evaluate import FrameResult, Scores, evaluate_backend
from roadseg.evaluation.flicker import Flicker
from roadseg.evaluation.reliability import BINS, Reliability, confidence
from roadseg.evaluation.report import html
from roadseg.evaluation.report.borders import FARTHEST_PX, BorderErrors, border_distance
from roadseg.evaluation.report.frames import (
    BORDER_ERROR_RGB,
    INNER_ERROR_RGB,
    Extremes,
    frame_miou,
    paint,
)
from roadseg.evaluation.report.report import Report
from roadseg.loading.choice import choose
from roadseg.metrics.boundary import BoundaryF1

VOID_TAGS = {"meta", "img", "br", "path", "rect", "circle", "polyline"}


class Page(HTMLParser):
    """Checks that tags are closed in order, and collects what the page refers to."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.files: list[str] = []
        self.links: list[str] = []
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        assert tag not in ("script", "link", "iframe"), "nothing from elsewhere"
        self.files += [v for k, v in values.items() if k == "src" and v]
        self.links += [v for k, v in values.items() if k == "href" and v]
        if tag not in VOID_TAGS:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in VOID_TAGS

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data


def read_page(path: Path) -> Page:
    page = Page()
    page.feed(path.read_text(encoding="utf-8"))
    page.close()
    assert page.open == []
    return page


def frame(
    index: int, predicted: Labels, true: Labels, scores: np.ndarray | None = None
) -> FrameResult:
    image = np.full((*true.shape, 3), 100, np.uint8)
    return FrameResult(index, image, true, predicted, scores)


def half(left: int, right: int, hw: tuple[int, int] = (60, 80)) -> Labels:
    ids = np.full(hw, left, np.uint8)
    ids[:, hw[1] // 2 :] = right
    return ids


# -- reliability ---------------------------------------------------------------------------


def test_confidence_is_the_largest_softmax() -> None:
    scores = np.random.default_rng(0).normal(0, 3, (11, 4, 5)).astype(np.float32)
    exponentials = np.exp(scores.astype(np.float64))
    expected = (exponentials / exponentials.sum(axis=0)).max(axis=0)
    np.testing.assert_allclose(confidence(scores), expected, rtol=1e-6)
    assert confidence(np.array([[[1e4]], [[-1e4]]], np.float32)) == 1.0


def scores_of(sure: list[float]) -> np.ndarray:
    """Two classes, the first of them with the given softmax, above one half."""
    odds = np.log(np.array([sure]) / (1 - np.array([sure])))
    return np.stack([odds, np.zeros_like(odds)]).astype(np.float32)


def test_reliability_by_hand() -> None:
    reliability = Reliability()
    true = np.array([[0, 1, 0, 0, 11]], np.uint8)
    predicted = np.zeros((1, 5), np.uint8)
    reliability.update(scores_of([0.9, 0.9, 0.6, 0.7, 0.99]), predicted, true)
    # Bins of 1/15: 0.9 is in the 14th, 0.7 in the 11th, 0.6 just above the edge of the 9th.
    assert reliability.pixels.sum() == 4
    assert (reliability.pixels[13], reliability.right[13]) == (2, 1)
    assert reliability.accuracy[13] == 0.5
    assert reliability.mean_confidence[13] == pytest.approx(0.9)
    assert math.isnan(reliability.accuracy[0])
    expected = (2 * abs(0.5 - 0.9) + abs(1 - 0.6) + abs(1 - 0.7)) / 4
    assert reliability.expected_calibration_error == pytest.approx(expected, abs=1e-6)


def test_calibration_error_agrees_with_numpy_over_several_frames() -> None:
    rng = np.random.default_rng(1)
    reliability = Reliability()
    everything = []
    for _ in range(3):
        scores = rng.normal(0, 2, (11, 16, 24)).astype(np.float32)
        true = rng.integers(0, 12, (16, 24), dtype=np.uint8)
        predicted = scores.argmax(axis=0).astype(np.uint8)
        reliability.update(scores, predicted, true)
        known = true < 11
        everything.append((confidence(scores)[known], (predicted == true)[known]))
    sure, right = (np.concatenate(parts) for parts in zip(*everything, strict=True))
    gap = 0.0
    for b in range(BINS):
        inside = (sure > b / BINS) & (sure <= (b + 1) / BINS)
        if inside.any():
            gap += inside.mean() * abs(right[inside].mean() - sure[inside].mean())
    assert reliability.expected_calibration_error == pytest.approx(gap, abs=1e-6)
    assert reliability.pixels.sum() == len(sure)


def test_scores_of_another_size_are_sampled_as_the_labels_are() -> None:
    reliability = Reliability()
    reliability.update(
        scores_of([0.9, 0.6]), np.zeros((2, 4), np.uint8), np.zeros((2, 4), np.uint8)
    )
    assert reliability.pixels[13] == 4
    assert reliability.confidence_sum.sum() == pytest.approx(4 * 0.9 + 4 * 0.6, abs=1e-5)


def test_no_pixels_no_calibration_error() -> None:
    assert math.isnan(Reliability().expected_calibration_error)


# -- borders -------------------------------------------------------------------------------


def test_border_errors_by_hand() -> None:
    true = np.array([[0, 0, 0, 0, 1, 1, 11]], np.uint8)
    assert border_distance(true).tolist() == [[4, 3, 2, 1, 1, 2, 3]]
    borders = BorderErrors()
    borders.update(np.array([[1, 0, 0, 1, 1, 0, 5]], np.uint8), true)
    assert borders.pixels[:5].tolist() == [2, 2, 1, 1, 0]
    assert borders.errors[:5].tolist() == [1, 1, 0, 1, 0]
    np.testing.assert_allclose(borders.share_of_errors[:4], [1 / 3, 2 / 3, 2 / 3, 1])
    np.testing.assert_allclose(borders.share_of_pixels[:4], [2 / 6, 4 / 6, 5 / 6, 1])


def test_a_frame_without_borders_is_far_from_all() -> None:
    borders = BorderErrors()
    borders.update(np.ones((4, 4), np.uint8), np.zeros((4, 4), np.uint8))
    assert borders.errors[FARTHEST_PX] == borders.pixels[FARTHEST_PX] == 16
    assert borders.share_of_errors.max() == 0


def test_no_errors_no_share() -> None:
    borders = BorderErrors()
    borders.update(half(0, 1), half(0, 1))
    assert np.isnan(borders.share_of_errors).all()


def test_boundary_f1_by_class_averages_the_images_that_have_it() -> None:
    boundary = BoundaryF1()
    boundary.update(half(0, 1), half(0, 1))
    boundary.update(half(0, 2), half(0, 1))  # building's border is called pole's
    boundary.update(half(0, 3), half(0, 3))
    np.testing.assert_array_equal(boundary.per_class[:4], [1, 0.5, np.nan, 1])


# -- frames --------------------------------------------------------------------------------


def test_frame_miou_counts_the_classes_of_the_truth() -> None:
    predicted, true = half(0, 2), half(0, 1)
    assert frame_miou(predicted, true) == 0.5
    assert math.isnan(frame_miou(predicted, np.full_like(true, 11)))


def with_errors(index: int, wrong_columns: int) -> FrameResult:
    predicted = half(0, 1)
    predicted[:, :wrong_columns] = 5
    return frame(index, predicted, half(0, 1))


def number(result: FrameResult) -> dict[str, bytes]:
    return {"number": b"%d" % result.index}


def test_extremes_keep_their_distance() -> None:
    extremes = Extremes(number, count=2, gap=3)
    for index, wrong in enumerate([4, 9, 8, 1, 0, 7, 2, 3]):
        extremes.update(with_errors(index, wrong))
    # Frame 2 is worse than frame 5 and too near to frame 1.
    assert [f.index for f in extremes.worst()] == [1, 5]
    assert [f.index for f in extremes.best()] == [4, 7]
    assert extremes.best()[0].miou == 1.0
    assert extremes.worst()[1].pictures == {"number": b"5"}


def test_the_next_worst_behind_a_chain_of_ever_worse_frames() -> None:
    extremes = Extremes(number, gap=4)
    for index in range(12):
        extremes.update(with_errors(index, index + 1))
    assert [f.index for f in extremes.worst()] == [11, 7, 3]
    assert [f.index for f in extremes.best()] == [0, 4, 8]


def test_of_many_frames_few_are_drawn() -> None:
    drawn: list[int] = []

    def draw(result: FrameResult) -> dict[str, bytes]:
        drawn.append(result.index)
        return {}

    extremes = Extremes(draw, gap=16)
    rng = np.random.default_rng(0)
    wrong = rng.integers(1, 80, 200)
    wrong[[70, 75, 140]] = 80
    for index, columns in enumerate(wrong):
        extremes.update(with_errors(index, columns))
    worst = [f.index for f in extremes.worst()]
    assert worst[:2] == [70, 140]
    assert all(abs(a - b) >= 16 for a in worst for b in worst if a != b)
    # Those of each quarter of a gap: of 50 parts, at most two each.
    assert 50 <= len(drawn) == len(set(drawn)) <= 100
    assert len(extremes.best()) == 3


def test_extremes_of_fewer_frames_than_wanted() -> None:
    extremes = Extremes(number, count=3)
    extremes.update(with_errors(0, 4))
    assert [f.index for f in extremes.worst() + extremes.best()] == [0, 0]


def test_pictures_show_what_is_wrong_and_where() -> None:
    true = half(0, 1)
    predicted = true.copy()
    predicted[10:20, 30:45] = 7  # the border is between columns 39 and 40
    true[50:] = 11
    pictures = paint(frame(0, predicted, true), tolerance_px=4)
    assert list(pictures) == ["frame", "truth", "prediction", "errors"]
    errors = pictures["errors"][..., ::-1]
    near = (errors == BORDER_ERROR_RGB).all(axis=2)
    inner = (errors == INNER_ERROR_RGB).all(axis=2)
    assert near[10:20, 36:44].all()
    assert near.sum() == 10 * 8
    assert inner[10:20, 30:36].all()
    assert inner.sum() == 10 * 7
    assert errors[55, 5].max() < errors[5, 5].max()
    np.testing.assert_array_equal(pictures["frame"], np.full((60, 80, 3), 100))


# -- the page ------------------------------------------------------------------------------


class Frames:
    """Three frames that the fake backend labels right but for a square that grows."""

    def __init__(self, count: int = 3) -> None:
        self.count = count

    def __len__(self) -> int:
        return self.count

    def __iter__(self):  # type: ignore[no-untyped-def]
        for i in range(self.count):
            true = half(0, 3, (64, 96))
            seen = true.copy()
            seen[4 : 8 + 6 * i, 4:20] = 1
            green = (seen.astype(np.uint16) * 256 + 128) // 11
            yield np.repeat(green[..., None], 3, 2).astype(np.uint8), true


def write(
    folder: Path,
    *,
    frames: int = 3,
    names: list[str] | None = None,
    flicker: Flicker | None = None,
) -> Page:
    report = Report(frames, names, flicker)
    observers = [report] if flicker is None else [flicker, report]
    scores = evaluate_backend(FakeBackend((64, 96)), Frames(frames), observers=observers)
    origin = {"weights": "a<b.bin, SHA-256 0123abcd", "data": "/data/camvid, split val"}
    page = report.write(folder, "fake <&> 1.0", ["camvid", "CPU"], scores, origin)
    assert page == folder / "index.html"
    return read_page(page)


def test_the_page_is_whole_and_its_pictures_exist(tmp_path: Path) -> None:
    page = write(tmp_path / "a" / "report", names=["one.png", "two.png", "three<.png"])
    assert len(page.files) == len(set(page.files)) == 3 * 4
    assert page.links == page.files  # a picture leads to itself, at its own size
    for file in page.files:
        picture = cv2.imread(str(tmp_path / "a/report" / file))
        assert picture is not None
        assert picture.shape == (64, 96, 3)
    assert sorted(p.name for p in (tmp_path / "a/report").iterdir()) == ["frames", "index.html"]
    text = re.sub(r"\s+", " ", page.text.replace("\u2009", " "))
    assert "fake <&> 1.0" in text
    assert "three<.png" in text
    assert "a<b.bin, SHA-256 0123abcd" in text
    assert "/data/camvid, split val" in text
    # The square's share of the sky's pixels, over three frames: 4, 10 and 16 rows of 16 columns.
    share = 100 * 30 * 16 / (3 * 64 * 48)
    assert f"{share:.0f} % of sky is labelled building" in text
    assert "This curve needs class scores" in text
    assert "on the backend openvino or torch" in text
    assert "Flicker" not in text


@pytest.mark.parametrize(("frames", "worst", "best"), [(1, 1, 0), (4, 3, 1), (7, 3, 3)])
def test_no_frame_is_among_the_worst_and_the_best(
    tmp_path: Path, frames: int, worst: int, best: int
) -> None:
    page = write(tmp_path, frames=frames)
    shown = [file.split("/")[1].split("-")[0] for file in page.files]
    assert (shown.count("worst"), shown.count("best")) == (4 * worst, 4 * best)
    assert ("Best frames" in page.text) == (best > 0)
    assert f"{frames}{'frame' if frames == 1 else 'frames'}\n" in page.text


def test_the_page_says_which_roadseg_wrote_it_and_when(tmp_path: Path) -> None:
    page = write(tmp_path)
    assert re.search(
        rf"Written by roadseg {re.escape(__version__)} eval --report, \d{{4}}-\d\d-\d\d "
        r"\d\d:\d\d UTC\. Void is not counted anywhere\.$",
        page.text.strip(),
    )


def test_the_page_of_a_video_shows_its_flicker(tmp_path: Path) -> None:
    page = write(tmp_path, flicker=Flicker())
    # Each frame after the first changes six rows of the square more.
    share = 100 * 2 * 6 * 16 / (2 * 64 * 96)
    assert f"{share:.2f}\u2009% of the pixels whose true class did not change" in page.text
    assert "frame 2" in page.text


def test_an_observer_with_scores_draws_the_curve(tmp_path: Path) -> None:
    report = Report(2)
    scores = np.zeros((11, 60, 80), np.float32)
    scores[0] = 2.0
    for index in range(2):
        report(frame(index, half(0, 0), half(0, 1), scores))
    figures = evaluate_backend(FakeBackend((64, 96)), Frames())
    page = read_page(report.write(tmp_path, "x", [], figures))
    sure = np.exp(2) / (np.exp(2) + 10)
    assert f"Expected calibration error over 15 bins: {100 * (0.5 - sure):.2f}" in page.text
    assert "too modest" in page.text


def test_frames_that_are_all_right_or_all_void_make_a_page(tmp_path: Path) -> None:
    report = Report(2)
    report(frame(0, half(0, 1), half(0, 1)))
    report(frame(1, half(0, 1), half(11, 11)))
    scores = evaluate_backend(FakeBackend((64, 96)), Frames())
    page = read_page(report.write(tmp_path, "x", [], scores))
    assert len(page.files) == 4
    assert "nan" not in page.text.lower()
    assert "No pixel is wrong." in page.text


def test_large_frames_are_shown_smaller(tmp_path: Path) -> None:
    report = Report(1)
    true = half(0, 1, (600, 1200))
    report(frame(0, true, true))
    scores = evaluate_backend(FakeBackend((64, 96)), Frames())
    report.write(tmp_path, "x", [], scores)
    picture: Image | None = cv2.imread(str(tmp_path / "frames/worst-1-errors.jpg"))
    assert picture is not None
    assert picture.shape == (480, 960, 3)


def test_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    report = Report(1)
    report(frame(0, half(0, 1), half(0, 1)))
    scores = evaluate_backend(FakeBackend((64, 96)), Frames())
    with pytest.raises(SinkError) as error:
        report.write(tmp_path / "file", "x", [], scores)
    assert str(error.value) == (
        f"cannot write {tmp_path}/file (Not a directory): free some space, or choose another folder"
    )


# -- scores --------------------------------------------------------------------------------


@pytest.mark.parametrize("backend", ["openvino", "torch"])
def test_scores_make_the_labels_that_the_backend_gives(backend: str) -> None:
    batch = np.random.default_rng(0).integers(0, 256, (2, 64, 96, 3), dtype=np.uint8)
    batch = np.stack([cv2.GaussianBlur(frame, (0, 0), 6) for frame in batch])
    scoring = choose("segnet-lite", backend, threads=1).open((64, 96), scores=True)
    plain = choose("segnet-lite", backend, threads=1).open((64, 96))
    assert isinstance(scoring, ScoringBackend)
    assert not isinstance(plain, ScoringBackend)
    assert scoring.info == plain.info
    scores = scoring.infer_scores(batch)
    assert (scores.shape, scores.dtype) == ((2, 11, 64, 96), np.float32)
    labels = scoring.infer(batch)
    np.testing.assert_array_equal(labels, scores.argmax(axis=1))
    assert (labels == plain.infer(batch)).mean() >= 0.999
    assert len(np.unique(labels)) > 2
    scoring.close()
    plain.close()


def test_scores_of_an_exported_network(tmp_path: Path) -> None:
    import torch

    from roadseg.export.onnx import build_onnx, save_onnx
    from roadseg.models import build_model

    torch.manual_seed(0)
    model = build_model("segnet-lite").eval()
    save_onnx(build_onnx(model, "segnet-lite"), tmp_path / "net.onnx")
    scoring = choose(str(tmp_path / "net.onnx"), threads=1).open((32, 64), scores=True)
    assert isinstance(scoring, ScoringBackend)
    batch = np.random.default_rng(0).integers(0, 256, (1, 32, 64, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = model(torch.from_numpy(batch).permute(0, 3, 1, 2).float() / 255).numpy()
    np.testing.assert_allclose(scoring.infer_scores(batch), expected, atol=1e-3, rtol=1e-3)


def test_a_network_that_hides_its_scores(tmp_path: Path) -> None:
    import onnx
    from onnx import TensorProto, helper

    nodes = [
        helper.make_node("Slice", ["frame_bgr", "zero", "one", "axis"], ["blue"]),
        helper.make_node("Squeeze", ["blue", "axis"], ["labels"]),
    ]
    constants = [
        helper.make_tensor(name, TensorProto.INT64, [1], [value])
        for name, value in (("zero", 0), ("one", 1), ("axis", 3))
    ]
    shape = ["n", "h", "w", 3]
    graph = helper.make_graph(
        nodes,
        "blue",
        [helper.make_tensor_value_info("frame_bgr", TensorProto.UINT8, shape)],
        [helper.make_tensor_value_info("labels", TensorProto.UINT8, shape[:3])],
        constants,
    )
    path = tmp_path / "blue.onnx"
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)]), str(path))
    with pytest.raises(ModelError) as error:
        choose(str(path), "openvino").open((32, 64), scores=True)
    assert str(error.value) == (
        f"{path} picks its classes in a way that shows no scores: write it again with "
        "'roadseg export', or use backend=\"torch\""
    )


def test_backends_that_hold_labels_only() -> None:
    assert not isinstance(choose("x", "fake").open((32, 32)), ScoringBackend)


def test_classes_of_another_data_set(tmp_path: Path) -> None:
    from roadseg.core.labels import ClassSet

    classes = ClassSet("farm", ("wheat", "hay & straw"), ((255, 255, 0), (90, 60, 30)))
    report = Report(2, classes=classes)
    true = half(0, 1)
    true[50:] = 2
    report(frame(0, half(0, 0), true))
    report(frame(1, half(0, 1), half(2, 2)))
    nan = float("nan")
    scores = Scores(2, 0.5, 0.5, 0.25, 0.5, 0.5, (0.5, 0.0), (1.0, 0.0), (0.7, nan))
    page = read_page(report.write(tmp_path, "farm", [], scores))
    assert "100\u2009% of hay & straw is labelled wheat" in page.text
    assert "rgb(90 60 30)" in (tmp_path / "index.html").read_text()


def test_many_classes_have_the_width_of_the_page(tmp_path: Path) -> None:
    report = Report(1, classes=SUNRGBD)
    true = half(0, 36, (40, 400))
    predicted = true.copy()
    predicted[0, :40] = 5  # one pixel in two hundred: half a percent, which is no number here
    predicted[:2, 200:] = 6
    report(frame(0, predicted, true))
    nan = (float("nan"),) * 37
    scores = Scores(1, 0.9, 0.9, 0.9, 0.9, 0.9, nan, nan, nan, SUNRGBD.names)
    report.write(tmp_path, "x", [], scores)
    text = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert '<div class="one"><section><h2>Classes</h2>' in text
    assert 'title="wall labelled sofa: 0.50 %"></td>' in text
    assert 'title="bag labelled table: 5.00 %">5</td>' in text


def test_pictures_and_swatches_have_the_colours_that_people_see(tmp_path: Path) -> None:
    true = half(9, 3, (8, 12))
    result = FrameResult(0, np.zeros((8, 12, 3), np.uint8), true, true, None)
    shown = paint(result, 1)["truth"]
    assert (shown[0, 0] == np.rint(0.7 * palette_bgr()[9])).all()
    write(tmp_path)
    blue, green, red = palette_bgr()[9]
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert f"background:rgb({red} {green} {blue})" in html


def colours_of(rule: str) -> dict[str, tuple[int, int, int]]:
    """Custom properties of a CSS rule that are colours in hexadecimal."""
    found = {}
    for name, digits in re.findall(r"--(\w+): #([0-9a-f]{3,6})\b", rule):
        digits = digits if len(digits) == 6 else "".join(2 * d for d in digits)
        found[name] = (int(digits[:2], 16), int(digits[2:4], 16), int(digits[4:], 16))
    return found


def contrast(one: tuple[int, int, int], other: tuple[int, int, int]) -> float:
    """As the Web Content Accessibility Guidelines define it."""
    light = []
    for colour in (one, other):
        srgb = np.array(colour) / 255
        linear = np.where(srgb <= 0.04045, srgb / 12.92, ((srgb + 0.055) / 1.055) ** 2.4)
        light.append(float(linear @ (0.2126, 0.7152, 0.0722)) + 0.05)
    return max(light) / min(light)


def test_text_is_readable_by_day_and_by_night() -> None:
    css = (Path(html.__file__).parent / "templates/report.css").read_text()
    day, _, rest = css.partition("@media (prefers-color-scheme: dark)")
    dark = {**colours_of(day), **colours_of(rest.partition("* {")[0])}
    light = colours_of(day)
    assert sum(dark["paper"]) < 120 < 700 < sum(light["paper"])
    for colours in (light, dark):
        for ground in ("paper", "wash"):
            assert contrast(colours["ink"], colours[ground]) > 7
            assert contrast(colours["soft"], colours[ground]) > 4.5
    # Whatever is drawn follows the scheme: no colour of its own outside the two lists.
    rules = rest.partition("* {")[2].partition("@media print")[0]
    assert re.findall(r"#[0-9a-f]{3,6}\b", rules) == ["#fff"] * rules.count("color: #fff")
