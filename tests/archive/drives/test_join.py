"""`--join`: the clips of a drive are one clip of the archive."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from roadseg.archive.clip import Clip
from roadseg.archive.drives.join import join_clips
from roadseg.archive.identity import identity, joint_identity
from roadseg.archive.ledger import Ledger, ledger_path
from roadseg.archive.plan import Plan
from roadseg.archive.process import ClipWorker
from roadseg.archive.result import ClipResult
from roadseg.archive.spec import ClipSpec
from roadseg.cli import main
from roadseg.media.mask_video import MaskVideo
from roadseg.media.sources.opening import open_source
from roadseg.video.reading import ReadingOptions
from tests.support.clips import write_clip

SIZE_HW = (48, 64)
LENGTHS = (50, 50, 30)
NAMES = ("20250101_120000.mp4", "20250101_120002.mp4", "20250101_120004.mp4")


@pytest.fixture
def card(tmp_path: Path) -> Path:
    """A drive in three clips, which is white from 1.6 to 4.4 s, and one of the next day."""
    folder = tmp_path / "card"
    folder.mkdir()
    grey = [255 if 40 <= i < 110 else 0 for i in range(sum(LENGTHS))]
    first = 0
    for name, length in zip(NAMES, LENGTHS, strict=True):
        images = [np.full((*SIZE_HW, 3), each, np.uint8) for each in grey[first : first + length]]
        write_clip(folder / name, images=images)
        first += length
    write_clip(folder / "20250102_090000.mp4", frames=5)
    return folder


def clips_of(folder: Path) -> list[Clip]:
    return [Clip(str(path), path.stem, path.stat().st_size) for path in sorted(folder.iterdir())]


def test_a_drive_is_called_like_its_first_clip(card: Path) -> None:
    clips = clips_of(card)
    drive, other = join_clips(clips)
    assert other == clips[3]
    assert (drive.path, drive.name) == (clips[0].path, clips[0].name)
    assert drive.parts == tuple(clip.path for clip in clips[:3])
    assert drive.part_names == tuple(clip.name for clip in clips[:3])
    assert drive.bytes == sum(clip.bytes for clip in clips[:3])
    assert drive.notes == ()


def test_gaps_and_overlaps_are_noted(card: Path) -> None:
    later = [
        path.rename(card / f"20250101_12000{s}.mp4")
        for path, s in zip([card / NAMES[1], card / NAMES[2]], (6, 6 + 1), strict=True)
    ]
    (drive, _other) = join_clips(clips_of(card))[:2]
    assert drive.notes == (f"about 4 s are missing between {card / NAMES[0]} and {later[0]}",)


def test_a_clip_that_cannot_be_read_is_left_to_itself(card: Path) -> None:
    (card / NAMES[1]).write_bytes(b"no video")
    drive, broken, other = join_clips(clips_of(card))
    assert drive.parts == (str(card / NAMES[0]), str(card / NAMES[2]))
    assert drive.notes[0].startswith("about 2 s are missing")
    assert (broken.path, broken.parts, other.parts) == (str(card / NAMES[1]), (), ())


def test_a_drive_has_the_masks_and_rows_of_an_uncut_recording(card: Path, tmp_path: Path) -> None:
    spec = ClipSpec(
        tmp_path / "out",
        writes=("masks", "timeline", "events"),
        backend="fake",
        reading=ReadingOptions(rules=("e: bicyclist > 1% for 0.1s",)),
    )
    with ClipWorker(spec) as worker:
        result = worker(join_clips(clips_of(card))[0])
        assert (result.state, result.error) == ("done", "")
    identities = [identity(card / name) for name in NAMES]
    assert result.identity == joint_identity(identities)
    assert (result.frames_in, result.frames_out, result.frames_lost) == (130, 130, 0)
    assert result.duration_s == pytest.approx(130 / 25)
    folder = tmp_path / "out" / NAMES[0].removesuffix(".mp4")
    with MaskVideo(folder / "masks.mkv") as masks:
        np.testing.assert_allclose(masks.times_s, np.arange(130) / 25)
    # What the fake network makes of white: one event, over both cuts.
    events = [
        json.loads(line)
        for line in (folder / "events.jsonl").read_text(encoding="utf-8").splitlines()
    ]
    assert [(each["start_s"], each["end_s"]) for each in events] == [(1.6, pytest.approx(4.36))]


def run(card: Path, output: Path, *options: str) -> int:
    words = ["batch", str(card), "--output", str(output), "--write", "masks", "--workers", "1"]
    return main([*words, "--backend", "fake", "--no-report", *options])


def rows(output: Path) -> dict[str, ClipResult]:
    with Ledger(ledger_path(output), read_only=True) as ledger:
        return {row.name: row for row in ledger.rows()}


def test_batch_joins_and_accounts_for_each_file(
    card: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    assert run(card, output, "--join") == 0
    assert "2 of 4 clips done; 2 are parts of drives; 135 frames" in capsys.readouterr().out
    names = [name.removesuffix(".mp4") for name in NAMES]
    found = rows(output)
    assert {name: row.state for name, row in found.items()} == {
        names[0]: "done",
        names[1]: "skipped",
        names[2]: "skipped",
        "20250102_090000": "done",
    }
    assert [found[name].within for name in names[1:]] == [names[0]] * 2
    assert found[names[1]].identity == identity(card / NAMES[1])
    assert not (output / names[1]).exists()

    before = (output / names[0] / "masks.mkv").stat().st_mtime_ns
    assert run(card, output, "--join") == 0
    assert "0 in this run" not in capsys.readouterr().out
    assert (output / names[0] / "masks.mkv").stat().st_mtime_ns == before
    assert rows(output) == found


def test_joining_takes_the_place_of_single_results_and_the_other_way_round(
    card: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    names = [name.removesuffix(".mp4") for name in NAMES]
    assert run(card, output) == 0
    single = rows(output)
    assert {row.state for row in single.values()} == {"done"}

    assert run(card, output, "--join") == 0
    assert not (output / names[1]).exists()
    with MaskVideo(output / names[0] / "masks.mkv") as masks:
        assert len(masks) == sum(LENGTHS)

    assert run(card, output) == 0
    for name, length in zip(names, LENGTHS, strict=True):
        with MaskVideo(output / name / "masks.mkv") as masks:
            assert len(masks) == length
    assert {name: row.outputs for name, row in rows(output).items()} == {
        name: row.outputs for name, row in single.items()
    }


def test_a_drive_that_fails_leaves_the_results_of_its_clips(
    card: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    output = tmp_path / "out"
    assert run(card, output) == 0
    single = rows(output)
    drive = join_clips(clips_of(card))[0]
    with Ledger(ledger_path(output)) as ledger:
        work = single[drive.name].work
        asked = SimpleNamespace(clip=SimpleNamespace(output=output, full_hash=False))
        plan = Plan(asked, SimpleNamespace(key=work, options="", version=""), ledger)  # type: ignore[arg-type]
        failed = replace(single[drive.name], state="failed", parts=drive.parts, outputs=())
        plan.note_parts(drive, failed)
        assert {row.state for row in ledger.rows()} == {"done"}
        assert all((output / name / "masks.mkv").exists() for name in drive.part_names)
        plan.note_parts(drive, replace(failed, state="done"))
        assert [ledger.get(name).state for name in drive.part_names[1:]] == ["skipped"] * 2
        assert not any((output / name).exists() for name in drive.part_names[1:])


def test_a_clip_more_makes_a_drive_anew(card: Path, tmp_path: Path) -> None:
    output = tmp_path / "out"
    away = shutil.move(card / NAMES[2], tmp_path / "away.mp4")
    assert run(card, output, "--join") == 0
    shutil.move(away, card / NAMES[2])
    assert run(card, output, "--join") == 0
    row = rows(output)[NAMES[0].removesuffix(".mp4")]
    assert row.frames_out == sum(LENGTHS)
    assert row.parts == tuple(str(card / name) for name in NAMES)
    with open_source(row.parts[2]) as source:
        assert source.info.frame_count == LENGTHS[2]
