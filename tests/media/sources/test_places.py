"""What `--source` names: files first, then cameras and URLs, then patterns."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.core.errors import SourceError
from roadseg.media.sources import places
from roadseg.media.sources.places import Camera, Images, Url, Video, find


def save(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    assert cv2.imwrite(str(path), np.zeros((4, 6, 3), dtype=np.uint8))
    return path


def images_of(spec: object) -> list[Path]:
    place = find(str(spec))
    assert isinstance(place, Images)
    return list(place.paths)


def refused(spec: object) -> str:
    with pytest.raises(SourceError) as caught:
        find(str(spec))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestCameras:
    @pytest.mark.parametrize(
        ("spec", "index"), [("0", 0), ("12", 12), ("2024", 2024), ("/dev/video3", 3)]
    )
    def test_numbers_and_devices(self, here: Path, spec: str, index: int) -> None:
        assert find(spec) == Camera(index)

    @pytest.fixture
    def devices(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        monkeypatch.setattr(places, "_DEVICES", str(tmp_path.resolve()))
        (tmp_path / "video2").touch()
        return tmp_path

    @pytest.mark.parametrize("folder", ["v4l/by-id", "v4l/by-path", "mine"])
    def test_links_are_followed(self, devices: Path, folder: str) -> None:
        (devices / folder).mkdir(parents=True)
        link = devices / folder / "usb-Logitech_C920-video-index0"
        link.symlink_to(Path("../" * len(Path(folder).parts)) / "video2")
        again = devices / "front"
        again.symlink_to(link)
        assert find(str(link)) == find(str(again)) == Camera(2)

    def test_links_to_a_camera_that_was_unplugged(self, devices: Path) -> None:
        (devices / "front").symlink_to("video7")
        assert find(str(devices / "front")) == Camera(7)

    def test_links_that_are_missing_name_those_that_there_are(self, devices: Path) -> None:
        (devices / "v4l" / "by-id").mkdir(parents=True)
        missing = devices / "v4l" / "by-id" / "none"
        assert refused(missing) == f"no such camera: {missing}: plug one in"
        link = devices / "v4l" / "by-id" / "usb"
        link.symlink_to("../../video2")
        assert refused(missing) == f"no such camera: {missing}: use one of {link}"

    def test_a_folder_or_file_wins_over_a_number(self, here: Path) -> None:
        save(here / "0" / "a.png")
        save(here / "2024" / "b.png")
        (here / "7").write_bytes(b"a video")
        note = 'reading the folder 0; for webcam 0, give spec="/dev/video0"'
        assert find("0") == Images((Path("0/a.png"),), "0", Path("0"), (note,))
        assert images_of("2024") == [Path("2024/b.png")]
        assert find("7") == Video(
            Path("7"), ('reading the file 7; for webcam 7, give spec="/dev/video7"',)
        )

    @pytest.mark.parametrize(
        ("spec", "message"),
        [
            ("00", 'no such file: 00: for webcam 0, spec="0"'),
            ("007", 'no such file: 007: for webcam 7, spec="7"'),
            ("20241126", "no such file: 20241126"),
        ],
    )
    def test_numbers_that_no_camera_has(self, here: Path, spec: str, message: str) -> None:
        assert refused(spec) == message


class TestUrls:
    @pytest.mark.parametrize("url", ["rtsp://h/a", "https://h/a.mp4", "udp://@239.0.0.1:1234"])
    def test_streams(self, url: str) -> None:
        assert find(url) == Url(url)

    def test_schemes_reach_ffmpeg_in_the_case_that_it_knows(self) -> None:
        assert find("RTSP://H/A?B=C://D") == Url("rtsp://H/A?B=C://D")

    def test_files(self, tmp_path: Path) -> None:
        path = save(tmp_path / "a b.png")
        for prefix in ("file://", "FILE://", "file://localhost"):
            assert images_of(f"{prefix}{tmp_path}/a%20b.png") == [path]

    @pytest.mark.parametrize(
        "url", ["ftp://u:hush@h/a.mp4", "u:hush@10.0.0.7/live", "rtsp:u:hush@h/"]
    )
    def test_refusals_show_no_password(self, here: Path, url: str) -> None:
        text = refused(url)
        assert "hush" not in text
        assert "***@" in text


class TestPatterns:
    @pytest.mark.parametrize(
        "name", ["drive[1].mp4", "photos [2024]/a.mp4", "[a]/what?.mp4", "a*b.mp4"]
    )
    def test_names_with_wildcards_are_files_first(self, tmp_path: Path, name: str) -> None:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        assert find(str(path)) == Video(path)

    def test_a_folder_called_like_a_pattern(self, tmp_path: Path) -> None:
        path = save(tmp_path / "[a]" / "1.png")
        assert images_of(tmp_path / "[a]") == [path]

    def test_brackets_choose(self, tmp_path: Path) -> None:
        paths = [save(tmp_path / f"frames{i}.png") for i in (1, 2, 10)]
        save(tmp_path / "framesx.png")
        assert images_of(tmp_path / "frames[0-9].png") == paths[:2]
        assert images_of(tmp_path / "frames[0-9]*.png") == paths

    def test_parts_that_exist_are_no_patterns(self, tmp_path: Path) -> None:
        paths = [save(tmp_path / "photos [2024]" / name) for name in ("1.png", "2.png")]
        save(tmp_path / "photos 2" / "3.png")
        assert images_of(tmp_path / "photos [2024]" / "*.png") == paths
        assert images_of(tmp_path / "photos [2024]" / "[12].png") == paths
        assert images_of(tmp_path / "*" / "[12].png") == paths
        assert images_of(tmp_path / "**" / "[12].png") == paths

    def test_brackets_beside_a_wildcard(self, tmp_path: Path) -> None:
        path = save(tmp_path / "drive [1] a.png")
        assert images_of(tmp_path / "drive [1]*.png") == [path]

    def test_all_folders_below(self, tmp_path: Path) -> None:
        paths = [save(tmp_path / name) for name in ("a.png", "x/b.png", "x/y/c.png")]
        assert images_of(tmp_path / "**" / "*.png") == paths
        assert images_of(tmp_path / "**") == paths

    def test_relative_and_home(self, here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        save(here / "x" / "a.png")
        monkeypatch.setenv("HOME", str(here))
        assert images_of("x/*.png") == [Path("x/a.png")]
        assert images_of("./x/*.png") == [Path("x/a.png")]
        assert images_of("x/../x/*.png") == [Path("x/../x/a.png")]
        assert images_of("~/x/*.png") == [here / "x/a.png"]

    def test_videos(self, tmp_path: Path) -> None:
        for name in ("b.mp4", "a.mp4"):
            (tmp_path / name).touch()
        spec = tmp_path / "*.mp4"
        assert refused(spec) == (
            f"{spec} matches 2 videos, and a pattern is for images: give one video, for example "
            f'spec="{tmp_path}/a.mp4"'
        )

    def test_no_images(self, tmp_path: Path) -> None:
        (tmp_path / "a.txt").touch()
        spec = tmp_path / "*"
        assert refused(spec) == (
            f"no image matches {spec}: it matches {tmp_path / 'a.txt'}: give a pattern of images, "
            'for example "drive/*.png"'
        )

    def test_nothing(self, tmp_path: Path) -> None:
        spec = tmp_path / "*.png"
        assert refused(spec) == (
            f"no such file: {spec}, and nothing in {tmp_path} matches it as a pattern: a pattern "
            'of images is for example "drive/*.png"'
        )
        spec = tmp_path / "none" / "x" / "*.png"
        assert refused(spec) == (
            f"nothing matches {spec}: there is no folder {tmp_path / 'none' / 'x'}: check the path"
        )

    def test_a_typing_error(self, here: Path) -> None:
        assert refused("typo.mp4").startswith("no such file: typo.mp4: spec takes a video file")

    def test_a_name_that_is_too_long(self, here: Path) -> None:
        assert refused("x" * 5000).startswith("cannot read xxx")
