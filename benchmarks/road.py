"""Costs of the road's read-outs, and how right they are: the figures of docs/road.md.

    python -m benchmarks.road --data CamVid

Costs are CPU time of one core at 352x480. The drive in samples/ has exact labels; without a data
set in CamVid's layout, whose frames show how often doubt is right, that part is left out.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path

import cv2
import numpy as np

from roadseg.core.backend import ScoringBackend
from roadseg.core.geometry import Geometry, to_source
from roadseg.core.labels import CLASS_NAMES, class_id
from roadseg.core.types import Image, Labels
from roadseg.datasets.camvid import CamVid
from roadseg.datasets.clip import LabelledClip
from roadseg.evaluation.flicker import Flicker
from roadseg.loading.choice import choose
from roadseg.metrics.confusion import ConfusionMatrix
from roadseg.road import (
    Corridor,
    Doubt,
    EventWatch,
    FlatRoad,
    PrivacyMask,
    Steady,
    SteadyProfile,
    Trust,
    Vocabulary,
    free_space,
    hide,
    picture_doubt,
    shares,
)
from roadseg.synth import Drive

_SIZE_HW = (352, 480)
_SAMPLES = Path(__file__).resolve().parent.parent / "samples"
_SEED = 53
_FPS = 15.0
_WATCHED = ("pole", "sign", "pedestrian", "bicyclist")

Corrupt = Callable[[Image, np.random.Generator], Image]


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", default="segnet-lite", help="a model that gives scores")
    parser.add_argument("--data", type=Path, help="a folder in CamVid's layout")
    options = parser.parse_args(arguments)
    cv2.setNumThreads(1)
    choice = choose(options.model, threads=1)
    backend = choice.open(_SIZE_HW, scores=True)
    if not isinstance(backend, ScoringBackend):
        parser.error(f"{options.model} gives no scores on this machine: use segnet-lite")
    clip = LabelledClip(_SAMPLES / "drive.mp4", _SAMPLES / "drive_labels.npz")
    frames: list[Image] = []
    scores: list[np.ndarray] = []
    predicted: list[Labels] = []
    true: list[Labels] = []
    for frame_bgr, labels in clip:
        frame_bgr = cv2.resize(frame_bgr, _SIZE_HW[::-1])
        each = backend.infer_scores(frame_bgr[np.newaxis])[0]
        frames.append(frame_bgr)
        predicted.append(each.argmax(axis=0).astype(np.uint8))
        true.append(to_source(labels, Geometry(_SIZE_HW, (labels.shape[0], labels.shape[1]))))
        scores = [*scores[-15:], each]
    _costs(frames, scores, predicted)
    _free_space(predicted, true)
    _steady(frames, predicted, true)
    _privacy(predicted, true)
    if options.data is not None:
        _doubt(backend, choice.temperature, options.data, frames)
    backend.close()


def _costs(frames: list[Image], scores: list[np.ndarray], predicted: list[Labels]) -> None:
    words = Vocabulary()
    corridor, profile = Corridor(), SteadyProfile()
    mask, steady = PrivacyMask(["people", "car"], words), Steady(words)
    masks = [mask.update(i / _FPS, labels) for i, labels in enumerate(predicted)]
    rules = ["walker: pedestrian in corridor > 0.5% for 0.3s hold-off 1s"]
    rules += ["near: distance to traffic in corridor < 10m", "crowd: count of people > 4"]
    watch = EventWatch(rules, words)
    small = scores * (len(frames) // len(scores) + 1)
    steps: dict[str, Callable[[int], object]] = {
        "shares": lambda i: shares(predicted[i], words),
        "free space, metres, smoothed": lambda i: profile.update(
            i / _FPS, free_space(predicted[i], words)
        ).metres(FlatRoad()),
        "corridor": lambda i: corridor.read(predicted[i], words),
        "three event rules": lambda i: watch.update(i / _FPS, predicted[i]),
        "privacy mask": lambda i: mask.update(i / _FPS, predicted[i]),
        "hide, blur": lambda i: hide(frames[i].copy(), masks[i]),
        "doubt of the picture": lambda i: picture_doubt(small[i]),
    }
    total = 0.0
    print("cost, ms of CPU time a frame (median)")
    for name, step in steps.items():
        spent_ms = _median_ms(step, len(frames))
        total += spent_ms
        print(f"  {name:30} {spent_ms:6.2f}")
    print(f"  {'all of these':30} {total:6.2f}")
    last = mask.update(len(frames) / _FPS, predicted[-1])
    print(f"  {'steady':30} {_median_ms(lambda i: steady.push(frames[i], predicted[i]), 150):6.2f}")
    for style in ("blur", "pixelate", "fill"):
        spent_ms = _median_ms(lambda i, how=style: hide(frames[i].copy(), last, how), 150)  # type: ignore[misc]
        print(f"  {'hide, ' + style:30} {spent_ms:6.2f}")


def _median_ms(step: Callable[[int], object], count: int) -> float:
    spent = []
    for i in range(count):
        begun = time.thread_time()
        step(i)
        spent.append(time.thread_time() - begun)
    return float(np.median(spent)) * 1000


def _free_space(predicted: list[Labels], true: list[Labels]) -> None:
    """Against where the renderer's camera sees the first true pixel that is no road."""
    drive = Drive(_SEED)
    start = drive.camera(0.0)
    height, width = start.size_hw
    camera = FlatRoad.of_picture(
        start.size_hw,
        float(start.position[1]),
        start.centre_y + 0.5,
        2 * np.degrees(np.arctan(width / 2 / start.focal_px)),
    )
    errors: dict[str, list[np.ndarray]] = {"true labels": [], "network": [], "smoothed": []}
    steady = SteadyProfile()
    for index in range(len(true)):
        view = drive.camera(index / drive.fps)
        edge = _SIZE_HW[0] - free_space(true[index], Vocabulary()).pixels
        rows = edge * (height / _SIZE_HW[0]) - 0.5
        columns = (np.arange(_SIZE_HW[1]) + 0.5) * width / _SIZE_HW[1] - 0.5
        pixels = np.stack([columns, rows, np.ones_like(rows)], axis=1)
        rays = pixels @ np.linalg.inv(view.projection).T
        down = np.minimum(rays[:, 1], -1e-9)
        ahead = np.array([np.sin(view.yaw), 0.0, np.cos(view.yaw)])
        true_m = view.position[1] / -down * (rays @ ahead)
        near = (true_m <= 30) & (edge < _SIZE_HW[0])
        seen = free_space(predicted[index], Vocabulary())
        read = {
            "true labels": free_space(true[index], Vocabulary()),
            "network": seen,
            "smoothed": steady.update(index / drive.fps, seen),
        }
        for name, profile in read.items():
            errors[name].append(np.abs(profile.metres(camera)[near] / true_m[near] - 1))
    print("free space up to 30 m, median error")
    for name, each in errors.items():
        print(f"  {name:30} {np.median(np.concatenate(each)):6.1%}")


def _steady(frames: list[Image], predicted: list[Labels], true: list[Labels]) -> None:
    steady = Steady(Vocabulary())
    pushed = [steady.push(*each) for each in zip(frames, predicted, strict=True)]
    steadied = [each for each in [*pushed[1:], steady.flush()] if each is not None]
    print("steady                        flicker   mIoU", *(f"{n:>10}" for n in _WATCHED))
    for name, maps in {"as the network says": predicted, "steadied": steadied}.items():
        flicker, matrix = Flicker(), ConfusionMatrix()
        for ids, true_ids in zip(maps, true, strict=True):
            flicker.update(ids, true_ids)
            matrix.update(ids, true_ids)
        ious = [matrix.per_class_iou[class_id(each)] for each in _WATCHED]
        figures = "".join(f" {iou:10.1%}" for iou in ious)
        print(f"  {name:26} {flicker.score:8.2%} {matrix.miou:6.1%}{figures}")


def _privacy(predicted: list[Labels], true: list[Labels]) -> None:
    print("privacy, share of true pixels that is covered (and of all others)")
    for margin, hold_s in ((0.0, 0.0), (0.02, 0.0), (0.02, 0.5), (0.04, 0.5)):
        for name in ("pedestrian", "bicyclist"):
            mask = PrivacyMask(["people"], Vocabulary(), margin=margin, hold_s=hold_s)
            covered = of = others = of_others = 0
            for index, true_ids in enumerate(true):
                hidden = mask.update(index / _FPS, predicted[index]) > 0
                there = true_ids == CLASS_NAMES.index(name)
                nobody = ~np.isin(true_ids, (9, 10))
                covered, of = covered + int((hidden & there).sum()), of + int(there.sum())
                others += int((hidden & nobody).sum())
                of_others += int(nobody.sum())
            print(
                f"  {name:10} margin {margin:.2f} hold {hold_s:.1f} s {covered / of:8.1%} "
                f"({others / of_others:.1%})"
            )


def _noisy(image_bgr: Image, rng: np.random.Generator) -> Image:
    return np.clip(image_bgr + rng.normal(0, 97, image_bgr.shape), 0, 255).astype(np.uint8)


def _blurred(image_bgr: Image, _: np.random.Generator) -> Image:
    return np.asarray(cv2.GaussianBlur(image_bgr, (0, 0), image_bgr.shape[0] / 50))


def _dark(image_bgr: Image, rng: np.random.Generator) -> Image:
    night = (image_bgr / 255.0) ** 1.5 * 20 + rng.normal(0, 6, image_bgr.shape)
    return np.clip(night, 0, 255).astype(np.uint8)


def _foggy(image_bgr: Image, rng: np.random.Generator) -> Image:
    banks = cv2.resize(rng.random((5, 6)), image_bgr.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    fog = np.clip(0.75 + 0.2 * banks, 0, 1)[..., np.newaxis]
    return np.asarray(np.clip(image_bgr * (1 - fog) + 205 * fog, 0, 255), np.uint8)


def _shaken(image_bgr: Image, rng: np.random.Generator) -> Image:
    trail = np.zeros((41, 41), np.uint8)
    angle = rng.uniform(0, np.pi)
    reach = 20 * np.array([np.cos(angle), np.sin(angle)])
    first, last = (np.round(20 + sign * reach).astype(int).tolist() for sign in (-1, 1))
    cv2.line(trail, first, last, (1,))
    return np.asarray(cv2.filter2D(image_bgr, -1, trail / trail.sum()))


def _raindrops(image_bgr: Image, rng: np.random.Generator) -> Image:
    height, width = image_bgr.shape[:2]
    drops = np.zeros((height, width), np.uint8)
    for _ in range(70):
        place = int(rng.integers(width)), int(rng.integers(height))
        cv2.circle(drops, place, int(rng.integers(12, 34)), (255,), -1)
    upside_down = cv2.GaussianBlur(cv2.flip(image_bgr, -1), (0, 0), 12)
    share = cv2.GaussianBlur(drops, (0, 0), 3)[..., np.newaxis] / 255
    return np.asarray(image_bgr * (1 - share) + upside_down * share).astype(np.uint8)


def _covered(image_bgr: Image, rng: np.random.Generator) -> Image:
    grey = rng.normal(rng.uniform(20, 120), 4, image_bgr.shape)
    return np.clip(grey, 0, 255).astype(np.uint8)


_CORRUPTIONS: dict[str, Corrupt] = {
    "noise": _noisy,
    "blur": _blurred,
    "dark": _dark,
    "fog": _foggy,
    "shake": _shaken,
    "drops": _raindrops,
    "covered lens": _covered,
}


def _doubt(backend: ScoringBackend, temperature: float, data: Path, drive: list[Image]) -> None:
    def doubt(network_bgr: Image) -> Doubt:
        return picture_doubt(backend.infer_scores(network_bgr[np.newaxis])[0], temperature)

    def doubts(split: str, step: int, corrupt: Corrupt | None) -> Iterator[Doubt]:
        pairs = islice(CamVid(data, split), None, None, step)
        for index, (frame_bgr, _) in enumerate(pairs):
            if corrupt is not None:
                frame_bgr = corrupt(frame_bgr, np.random.default_rng(index))
            yield doubt(cv2.resize(frame_bgr, _SIZE_HW[::-1]))

    def of_drive(corrupt: Corrupt | None) -> Iterator[Doubt]:
        for index, frame_bgr in enumerate(drive[::3]):
            if corrupt is not None:
                frame_bgr = corrupt(frame_bgr, np.random.default_rng(index))
            yield doubt(frame_bgr)

    fitted = Trust.fitted(
        list(doubts("train", 3, None)),
        [each for corrupt in _CORRUPTIONS.values() for each in doubts("train", 6, corrupt)],
    )
    print(f"doubt, limits of the training frames: {fitted}")
    print("doubt, share of the validation frames, and of every third frame of the drive, that")
    print("are flagged by the default limits; and the least and the most entropy of each")
    kinds: dict[str, Corrupt | None] = {"clean": None, **_CORRUPTIONS}
    for name, corrupt in kinds.items():
        found = list(doubts("val", 1, corrupt)), list(of_drive(corrupt))
        columns = []
        for each in found:
            entropies = [one.entropy for one in each]
            share = np.mean([Trust().is_doubtful(one) for one in each])
            columns.append(f"{share:6.1%}  {min(entropies):.3f} {max(entropies):.3f}")
        print(f"  {name:30} {'   '.join(columns)}")


if __name__ == "__main__":
    main()
