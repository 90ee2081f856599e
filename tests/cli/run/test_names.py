"""`roadseg run`: what pictures, masks and folders are called."""

from __future__ import annotations

import json
import os

import cv2
import numpy as np
import pytest

from tests.support.cli_run import FRAMES, SIZE_HW, run

pytestmark = pytest.mark.usefixtures("no_thread_left", "no_display")


class TestNames:
    def photos(self, tmp_path, *names):
        for name in names:
            path = tmp_path / "photos" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            cv2.imwrite(str(path), np.full((*SIZE_HW, 3), 90, np.uint8))
        return tmp_path / "photos"

    def test_pictures_and_masks_are_called_like_their_pictures(self, tmp_path):
        photos = self.photos(tmp_path, "Cam1.jpg", "a.jpg", "a.png", "A.bmp")
        out, masks, stats = tmp_path / "out", tmp_path / "masks", tmp_path / "run.json"
        options = ("--output", out, "--save-masks", masks, "--stats-json", stats)
        assert run(photos, *options) == 0
        names = {
            "A.bmp": "A.png",
            "a.jpg": "a-2.png",
            "a.png": "a-3.png",
            "Cam1.jpg": "Cam1.png",
        }
        assert sorted(os.listdir(out)) == sorted(os.listdir(masks)) == sorted(names.values())
        told = json.loads(stats.read_text(encoding="utf-8"))["names"]
        assert {n["source"]: n["picture"] for n in told} == {
            str(photos / source): picture for source, picture in names.items()
        }

    def test_one_name_in_two_folders(self, tmp_path):
        photos = self.photos(tmp_path, "x/1.png", "y/1.png")
        assert run(photos / "*" / "*.png", "--output", tmp_path / "out") == 0
        assert sorted(os.listdir(tmp_path / "out")) == ["1-2.png", "1.png"]

    def test_a_loop_numbers_its_results(self, tmp_path):
        photos = self.photos(tmp_path, "a.png", "b.png")
        stats = tmp_path / "run.json"
        options = ("--loop", "--max-frames", 3, "--stats-json", stats)
        assert run(photos, "--output", tmp_path / "out", *options) == 0
        assert sorted(os.listdir(tmp_path / "out")) == [f"{i:06d}.png" for i in range(3)]
        assert json.loads(stats.read_text(encoding="utf-8"))["names"] == []

    def test_one_picture_into_one_file(self, tmp_path, capsys):
        photo = self.photos(tmp_path, "photo.jpg") / "photo.jpg"
        out, stats = tmp_path / "new" / "out.PNG", tmp_path / "run.json"
        assert run(photo, "--output", out, "--stats-json", stats) == 0
        assert cv2.imread(str(out)).shape == (*SIZE_HW, 3)
        assert os.listdir(out.parent) == ["out.PNG"]
        assert capsys.readouterr().out.endswith(f"written to {out}\n")
        told = json.loads(stats.read_text(encoding="utf-8"))["names"]
        assert told == [{"source": str(photo), "picture": "out.PNG"}]

    def test_one_picture_over_itself(self, tmp_path, capsys):
        photo = self.photos(tmp_path, "photo.png") / "photo.png"
        before = photo.read_bytes()
        for source in (photo, photo.parent, photo.parent / "*.png"):
            assert run(source, "--output", photo) == 4
            assert "is the source itself" in capsys.readouterr().err
        assert photo.read_bytes() == before

    def test_one_frame_of_a_clip(self, clip, tmp_path):
        assert run(clip, "--output", tmp_path / "first.png", "--max-frames", 1) == 0
        assert cv2.imread(str(tmp_path / "first.png")).shape == (*SIZE_HW, 3)

    def test_several_frames_into_one_picture(self, images, tmp_path, capsys):
        assert run(images, "--output", tmp_path / "out.png") == 2
        assert capsys.readouterr().err == (
            "error: cannot write several frames into a single image: give a folder, "
            f"--output {tmp_path / 'out'}\n"
        )

    @pytest.mark.parametrize("name", ["a.mp4x", "a.mpeg4", "a.txt", "out.jpg"])
    def test_outputs_of_another_kind(self, images, tmp_path, capsys, name):
        assert run(images / "0.png", "--output", tmp_path / name) == 2
        err = capsys.readouterr().err
        assert err.startswith(f"error: cannot write {name[name.index('.') :]} files: use --output ")
        assert not (tmp_path / name).exists()

    @pytest.mark.parametrize("name", ["run", "run.2", "2024.11.26"])
    def test_names_of_folders(self, images, tmp_path, name):
        assert run(images, "--output", tmp_path / name) == 0
        assert len(os.listdir(tmp_path / name)) == FRAMES

    def test_a_folder_that_exists_may_be_called_anything(self, images, tmp_path):
        (tmp_path / "a.mp4x").mkdir()
        assert run(images, "--output", tmp_path / "a.mp4x") == 0
        assert len(os.listdir(tmp_path / "a.mp4x")) == FRAMES
