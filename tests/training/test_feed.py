"""Batches cut on the host and on the device, against each other."""

from __future__ import annotations

import dataclasses
from itertools import pairwise
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from torch import Tensor

from roadseg.training import augment_batch
from roadseg.training import feed as feeds
from roadseg.training.augment import augment, draw_motion
from roadseg.training.augment_batch import CropPlan, crop_batch, draw_plan
from roadseg.training.feed import DeviceFeed, HostFeed, Share, build_feed
from roadseg.training.recipes import Augmentation, Recipe, load_recipe

CPU = torch.device("cpu")
PLAIN = load_recipe("paper").augmentation
HW = (48, 64)


def frames(count: int, hw: tuple[int, int] = HW) -> list[tuple[Any, Any]]:
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (count, *hw, 3), dtype=np.uint8)
    smooth = [cv2.GaussianBlur(p, (0, 0), 3) for p in pictures]
    return [(p, rng.integers(0, 12, hw, dtype=np.uint8)) for p in smooth]


def recipe(**changes: Any) -> Recipe:
    base = dataclasses.replace(load_recipe("lite"), crop_hw=HW, batch_size=4, augmentation=PLAIN)
    return dataclasses.replace(base, **changes)


def plan(count: int = 1, settings: Augmentation = PLAIN, **changes: Any) -> CropPlan:
    rng = np.random.default_rng(1)
    centres = np.full((count, 2), (24.0, 32.0))
    drawn = draw_plan(np.arange(count), centres, HW, HW, settings, rng)
    return dataclasses.replace(drawn, **changes)


def tensors(chosen: list[tuple[Any, Any]]) -> tuple[Tensor, Tensor]:
    images, labels = (np.stack([pair[k] for pair in chosen]) for k in (0, 1))
    return torch.from_numpy(images), torch.from_numpy(labels)


def test_the_plain_crop_of_a_whole_frame_is_the_frame() -> None:
    images, labels = tensors(frames(2))
    crops, ids = crop_batch(images, labels, plan(2), HW)
    torch.testing.assert_close(crops * 255, images.permute(0, 3, 1, 2).float(), atol=2e-3, rtol=0)
    assert torch.equal(ids, labels.long())
    assert crops.is_contiguous(memory_format=torch.channels_last)


def test_geometry_is_that_of_opencv() -> None:
    images, labels = tensors(frames(1))
    turn = np.array([[0.7, 0.1, 9.3], [-0.1, 0.8, 6.2]], np.float32)
    crops, ids = crop_batch(images, labels, plan(affine=turn[None]), HW)
    flags, border = cv2.WARP_INVERSE_MAP, cv2.BORDER_REFLECT
    expected = cv2.warpAffine(
        images[0].numpy(), turn, HW[::-1], flags=cv2.INTER_LINEAR | flags, borderMode=border
    )
    nearest = cv2.warpAffine(labels[0].numpy(), turn, HW[::-1], flags=cv2.INTER_NEAREST | flags)
    got = (crops[0].permute(1, 2, 0) * 255).numpy()
    # OpenCV interpolates with 5 bits, and rounds.
    assert np.abs(got - expected).max() < 3
    # Where a place falls half-way between two pixels, the two may round it differently.
    assert (ids[0].numpy() == nearest).mean() > 0.97


def test_outside_the_frame_is_mirrored_and_void() -> None:
    images, labels = tensors(frames(1))
    labels.fill_(3)
    left = np.array([[[1, 0, -10], [0, 1, 0]]], np.float32)
    crops, ids = crop_batch(images, labels, plan(affine=left), HW)
    assert (ids[0, :, :10] == 11).all()
    assert (ids[0, :, 10:] == 3).all()
    expected = images[0, :, :10].flip(1).permute(2, 0, 1).float() / 255
    torch.testing.assert_close(crops[0, :, :, :10], expected, atol=1e-3, rtol=0)


def test_colours_are_those_of_the_host() -> None:
    colourful = dataclasses.replace(PLAIN, colour=0.25)
    image, labels = frames(1)[0]
    expected, _ = augment(image, labels, HW, colourful, np.random.default_rng(3))
    # The host draws a centre, four numbers of geometry and then the colours.
    rng = np.random.default_rng(3)
    rng.random()
    centre = np.array([[rng.uniform(0, HW[0]), rng.uniform(0, HW[1])]])
    states = {}

    def record(settings: Augmentation, generator: np.random.Generator) -> Any:
        states["colour"] = colour_of(settings, generator)
        return states["colour"]

    from roadseg.training.augment import colour_of, inverse_affine

    affine = inverse_affine(centre[0], HW, HW, colourful, rng)
    matrix, gamma = record(colourful, rng)
    drawn = plan(
        affine=affine[None].astype(np.float32),
        colour=matrix[None].astype(np.float32),
        gamma=np.array([gamma], np.float32),
    )
    crops, _ = crop_batch(*tensors([(image, labels)]), drawn, HW)
    got = (crops[0].permute(1, 2, 0) * 255).numpy()
    # Eight bits between the matrix and the gamma on the host, none here.
    assert np.abs(got - expected).max() < 6
    assert np.abs(got - expected).mean() < 1.0


def test_blur_is_a_gaussian_of_the_given_width() -> None:
    images, labels = tensors(frames(2))
    crops, _ = crop_batch(images, labels, plan(2, blur=np.array([0.0, 1.2], np.float32)), HW)
    torch.testing.assert_close(
        crops[0] * 255, images[0].permute(2, 0, 1).float(), atol=2e-3, rtol=0
    )
    expected = cv2.GaussianBlur(images[1].numpy().astype(np.float32), (9, 9), 1.2)
    np.testing.assert_allclose(crops[1].permute(1, 2, 0).numpy() * 255, expected, atol=0.05)


def test_shadow_darkens_one_side_and_glare_lightens() -> None:
    images, labels = tensors(frames(1))
    images.fill_(100)
    shade = np.array([[1.0, 0.0, 0.0, 0.5]], np.float32)
    crops, _ = crop_batch(images, labels, plan(shade=shade), HW)
    assert crops[0, :, :, 5].mean().item() == pytest.approx(100 / 255, abs=1e-3)
    assert crops[0, :, :, -5].mean().item() == pytest.approx(50 / 255, abs=1e-3)
    glare = np.array([[0.0, -0.5, 0.3, 1.0]], np.float32)
    crops, _ = crop_batch(images, labels, plan(glare=glare), HW)
    assert crops[0, 0, HW[0] // 4, HW[1] // 2].item() > 0.98
    assert crops[0, 0, -1, 0].item() == pytest.approx(100 / 255, abs=1e-3)


DISTURBANCES = (
    *("shadow_share", "glare_share", "haze_share", "motion_share", "dark_share", "rain_share"),
    *("blur_share", "noise_share"),
)


@pytest.mark.parametrize("share", DISTURBANCES)
def test_every_disturbance_changes_the_crop_on_host_and_device(share: str) -> None:
    settings = dataclasses.replace(PLAIN, **{share: 1.0})
    image, labels = frames(1)[0]
    crop, ids = augment(image, labels, HW, settings, np.random.default_rng(0))
    assert np.abs(crop.astype(int) - image).mean() > 0.5
    np.testing.assert_array_equal(ids, labels)
    crops, _ = crop_batch(*tensors([(image, labels)]), plan(settings=settings), HW)
    assert np.abs((crops[0].permute(1, 2, 0) * 255).numpy() - image).mean() > 0.3


def test_a_veil_is_thicker_at_the_top_and_leaves_less_contrast() -> None:
    images, labels = tensors(frames(1))
    images.fill_(0)
    haze = np.array([[0.25, 0.75, 0.8]], np.float32)
    crops, _ = crop_batch(images, labels, plan(haze=haze), HW)
    assert crops[0, :, 0].mean().item() == pytest.approx(0.75 * 0.8, abs=1e-3)
    assert crops[0, :, -1].mean().item() == pytest.approx(0.25 * 0.8, abs=1e-3)


def test_rain_pales_a_scene_and_hides_what_is_behind_it() -> None:
    images, labels = tensors(frames(2))
    images.fill_(40)
    streaks = np.zeros((1, *HW), np.uint8)
    streaks[0, 10], streaks[0, 20] = 255, 51
    rain = np.array([[0, 0], [0.5, 0.8]], np.float32)
    drawn = plan(2, rain=rain, streaks=streaks, rainy=np.array([1]))
    crops, _ = crop_batch(images, labels, drawn, HW)
    dry, rainy = crops * 255
    torch.testing.assert_close(dry, torch.full_like(dry, 40), atol=2e-3, rtol=0)
    for row, clear in ((0, 0.5), (10, 0.0), (20, 0.5 * 0.8)):
        expected = 40 * clear + 0.8 * 255 * (1 - clear)
        assert rainy[:, row].mean().item() == pytest.approx(expected, abs=1e-2)


def test_grain_is_as_strong_as_asked_and_wider_than_a_pixel_on_host_and_device() -> None:
    grey = np.full((*HW, 3), 128, np.uint8)
    labels = np.zeros(HW, np.uint8)
    settings = dataclasses.replace(PLAIN, noise_share=1.0, noise_sigma=(20.0, 20.0))
    crops = [augment(grey, labels, HW, settings, np.random.default_rng(i))[0] for i in range(20)]
    drawn = plan(20, settings)
    images, ids = tensors([(grey, labels)] * 20)
    batch, _ = crop_batch(images, ids, drawn, HW)
    for noisy in (np.stack(crops), (batch * 255).permute(0, 2, 3, 1).numpy()):
        noise = noisy.astype(np.float32) - 128
        np.testing.assert_allclose(noise.std(axis=(1, 2, 3)), 20, rtol=0.05)
        beside = (noise[:, :, 1:] * noise[:, :, :-1]).mean() / noise.var()
        assert beside > 0.15  # white noise has 0


def test_motion_smears_a_point_along_a_line_and_loses_no_light() -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        kernel = draw_motion(rng)
        assert kernel.sum() == pytest.approx(1, abs=1e-5)
        y, x = np.mgrid[-7:8, -7:8]
        spread = np.cov(np.stack([y.ravel(), x.ravel()]), aweights=kernel.ravel())
        across, along = np.linalg.eigvalsh(spread)
        # A line is about a pixel wide, and its middle is the crop's own place.
        assert across < 0.5
        assert along > across
        assert abs((kernel * x).sum()) < 0.1
    images, labels = tensors(frames(1))
    smeared, _ = crop_batch(images, labels, plan(motion=kernel[None]), HW)
    sharp = (images[0].permute(2, 0, 1) / 255).numpy()
    for got, plane in zip(smeared[0].numpy(), sharp, strict=True):
        expected = cv2.filter2D(plane, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
        np.testing.assert_allclose(got, expected, atol=1e-3)


@pytest.mark.parametrize("feed_type", [HostFeed, DeviceFeed])
def test_an_epoch_shows_every_frame_once_and_again_the_same(feed_type: type[Any]) -> None:
    marked = [(np.full((*HW, 3), 10 * i, np.uint8), np.zeros(HW, np.uint8)) for i in range(8)]
    feed = feed_type(marked, [], recipe(), CPU)
    assert feed.steps_per_epoch == 2
    first, second = (list(feed.epoch(seed=5, epoch=1)) for _ in range(2))
    for (a, _), (b, _) in zip(first, second, strict=True):
        assert torch.equal(a, b)
    shown = torch.cat([images[:, 0, 0, 0] for images, _ in first]) * 255 / 10
    assert sorted(shown.round().int().tolist()) == list(range(8))
    other = torch.cat([images[:, 0, 0, 0] for images, _ in feed.epoch(seed=5, epoch=2)])
    assert not torch.equal(other * 255 / 10, shown)


@pytest.mark.parametrize("feed_type", [HostFeed, DeviceFeed])
def test_extra_frames_take_their_share_of_each_batch(feed_type: type[Any]) -> None:
    own = [(np.zeros((*HW, 3), np.uint8), np.zeros(HW, np.uint8))] * 6
    extra = [(np.full((*HW, 3), 255, np.uint8), np.zeros(HW, np.uint8))] * 2
    feed = feed_type(own, extra, recipe(extra_share=0.5), CPU)
    assert feed.steps_per_epoch == 3
    for images, labels in feed.epoch(0, 0):
        assert images.shape == (4, 3, *HW)
        assert labels.dtype == torch.int64
        assert sorted(images[:, 0, 0, 0].round().int().tolist()) == [0, 0, 1, 1]


@pytest.mark.parametrize("feed_type", [HostFeed, DeviceFeed])
def test_processes_share_each_batch(feed_type: type[Any]) -> None:
    marked = [(np.full((*HW, 3), 10 * i, np.uint8), np.zeros(HW, np.uint8)) for i in range(8)]

    def shown(share: Share) -> list[list[int]]:
        feed = feed_type(marked, [], recipe(), CPU, share)
        batches = [images[:, 0, 0, 0] * 25.5 for images, _ in feed.epoch(0, 0)]
        return [batch.round().int().tolist() for batch in batches]

    whole = shown(Share())
    halves = [shown(Share(rank, 2)) for rank in (0, 1)]
    for batch, first, second in zip(whole, *halves, strict=True):
        assert len(first) == len(second) == 2
        assert sorted(first + second) == sorted(batch)


def test_crops_are_centred_on_the_rare() -> None:
    labels = np.full((200, 300), 3, np.uint8)
    labels[20:24, 20:24] = 2  # a pole in a corner
    image = np.zeros((200, 300, 3), np.uint8)
    rare = dataclasses.replace(PLAIN, rare_share=1.0)
    feed = DeviceFeed(
        [(image, labels)] * 16,
        [],
        recipe(batch_size=16, crop_hw=(120, 160), augmentation=rare),
        CPU,
    )
    ((_, ids),) = feed.epoch(0, 0)
    assert all((one == 2).any() for one in ids)
    plain = DeviceFeed([(image, labels)] * 16, [], recipe(batch_size=16, crop_hw=(120, 160)), CPU)
    ((_, ids),) = plain.epoch(0, 0)
    assert not all((one == 2).any() for one in ids)


def test_frames_stay_on_a_gpu_if_they_are_of_one_size_and_leave_room(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in ("HostFeed", "DeviceFeed"):
        monkeypatch.setattr(feeds, name, lambda *_, name=name: name)
    one_size, gpu = frames(3), torch.device("cuda", 0)
    needed = 3 * 48 * 64 * (3 + 1)

    def chosen(device: torch.device, free: int, extra: list[tuple[Any, Any]]) -> Any:
        monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _: (free, 10 * free))
        return build_feed(one_size[:2], extra, recipe(), device)

    assert chosen(gpu, 2 * needed, one_size[2:]) == "DeviceFeed"
    assert chosen(gpu, 2 * needed - 2, one_size[2:]) == "HostFeed"
    assert chosen(gpu, 2 * needed, frames(1, (32, 32))) == "HostFeed"
    assert chosen(CPU, 2 * needed, one_size[2:]) == "HostFeed"


def test_what_is_drawn_arrives_on_the_device_as_it_was() -> None:
    drawn = plan(5, load_recipe("gpu").augmentation)
    sent = drawn.on_device(CPU)
    assert set(sent) == set(vars(drawn)) - {"frames", "streaks", "rainy", "noise_seed"}
    for name, tensor in sent.items():
        np.testing.assert_array_equal(tensor.numpy(), getattr(drawn, name))


def test_a_batch_is_sent_in_few_pieces_and_nothing_is_read_back(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sent: list[Any] = []
    send = augment_batch.on_its_way

    def counted(array: Any, device: torch.device) -> Tensor:
        sent.append(array)
        return send(array, device)

    monkeypatch.setattr(augment_batch, "on_its_way", counted)
    images, labels = tensors(frames(2))
    everything = dict.fromkeys((*DISTURBANCES, "rare_share"), 1.0)
    drawn = plan(2, dataclasses.replace(load_recipe("gpu").augmentation, **everything))
    crop_batch(images, labels, drawn, HW)
    # Which frames, and all numbers; where it rains, which crops, and their streaks.
    assert len(sent) == 4
    # On this device nothing has a value: to look at one, which makes a GPU wait, is an error.
    quiet = dataclasses.replace(drawn, noise=np.zeros(2, np.float32))
    crops, ids = crop_batch(images.to("meta"), labels.to("meta"), quiet, HW)
    assert crops.shape == (2, 3, *HW)
    assert ids.shape == (2, *HW)


def test_zooms_spread_over_the_whole_range() -> None:
    zooming = dataclasses.replace(PLAIN, scale=(0.5, 2.0))
    drawn = plan(200, zooming)
    zooms = np.sort(1 / drawn.affine[:, 0, 0])
    assert zooms[0] < 0.55
    assert zooms[-1] > 1.85
    assert max(b - a for a, b in pairwise(np.log(zooms))) < 0.1
