"""Which clips there are, and what their results are called."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from roadseg.archive.finding import find_clips, read_list
from roadseg.core.errors import RoadsegError, SourceError, UsageError
from roadseg.core.files import printable


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in (
        "cam/a.mp4",
        "cam/a.txt",
        "cam/a.jpg",
        "cam/clip10.MKV",
        "cam/clip2.mkv",
        "cam/.hidden/x.mp4",
        "cam/._a.mp4",
        "cam/sub/a.b.ts",
        "rear/a.mp4",
    ):
        path = tmp_path / "in" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"12345")
    return tmp_path / "in"


def names(*sources: object, output: Path = Path("elsewhere"), **more: list[str]) -> list[str]:
    return [clip.name for clip in find_clips(map(str, sources), output, **more).clips]


def test_a_folder_is_searched_with_all_below_and_mirrored(tree: Path) -> None:
    assert names(tree) == ["cam/a", "cam/clip2", "cam/clip10", "cam/sub/a.b", "rear/a"]
    assert [clip.bytes for clip in find_clips([str(tree)], Path("x")).clips] == [5] * 5


def test_a_file_is_a_clip_whatever_it_is_called(tree: Path) -> None:
    assert names(tree / "cam" / "a.txt") == ["a"]
    assert names((tree / "cam" / "a.mp4").as_uri()) == ["a"]


def test_a_pattern_keeps_the_folders_that_it_matches(tree: Path) -> None:
    assert names(f"{tree}/*/a.mp4") == ["cam/a", "rear/a"]
    assert names(f"{tree}/*") == names(tree)
    assert names(f"{tree}/**/*.mp4") == ["cam/a", "rear/a"]
    assert names(f"{tree}/**") == names(tree)


def test_a_clip_that_is_named_twice_is_one(tree: Path) -> None:
    assert names(tree, tree / "cam" / "a.mp4", tree) == names(tree)


def test_links_that_lead_in_a_circle_end(tree: Path) -> None:
    (tree / "cam" / "up").symlink_to(tree, target_is_directory=True)
    assert sorted(names(tree))[0] == "cam/a"
    assert len(names(tree)) == 5


def test_pictures_are_clips_where_there_is_no_video(tmp_path: Path) -> None:
    for folder in ("shots.1", "shots.1/more"):
        (tmp_path / "in" / folder).mkdir(parents=True, exist_ok=True)
        for number in range(3):
            image = np.zeros((4, 4, 3), np.uint8)
            cv2.imwrite(str(tmp_path / "in" / folder / f"{number}.png"), image)
    assert names(tmp_path / "in" / "shots.1" / "more") == ["more"]
    with pytest.raises(UsageError, match="lie among those of the first, shots.1"):
        names(tmp_path / "in")
    (tmp_path / "in" / "a.mp4").touch()
    assert names(tmp_path / "in") == ["a"]


def test_a_list_names_files_by_their_whole_path(tree: Path, tmp_path: Path, monkeypatch) -> None:
    listing = tmp_path / "list.txt"
    listing.write_text(f"# mine\n\n{tree / 'cam' / 'a.mp4'}\nin/rear/a.mp4\nin/gone.mp4\n")
    monkeypatch.chdir(tmp_path)
    whole = str(tree / "cam" / "a").lstrip("/")
    assert names(listed=read_list(listing)) == [whole, "in/rear/a", "in/gone"]


def test_a_list_that_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(SourceError, match="cannot read the list"):
        read_list(tmp_path / "none")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(SourceError, match="is not text"):
        read_list(tmp_path / "bytes")


@pytest.mark.parametrize(
    ("sources", "error", "text"),
    [
        (["in/none.mp4"], SourceError, "no such file: in/none.mp4"),
        (["in/*.mov"], SourceError, "nothing matches"),
        (["empty"], SourceError, "no clips in empty"),
        ([], SourceError, "no clips were named"),
        (["in/cam", "in/rear"], UsageError, "would both be written to a"),
        (["in"], UsageError, "is inside the source in"),
        (["in/*"], UsageError, r"is inside the source in/\*"),
    ],
)
def test_what_cannot_be_is_refused(
    tree: Path,
    tmp_path: Path,
    monkeypatch,
    sources: list[str],
    error: type[RoadsegError],
    text: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tree / "out").mkdir()
    (tree / "out" / "r.mp4").touch()
    output = tree / "out" if sources in (["in"], ["in/*"]) else tmp_path / "out"
    with pytest.raises(error, match=text) as raised:
        find_clips(sources, output)
    assert raised.value.fix


@pytest.mark.parametrize(
    ("pattern", "output", "refused"),
    [
        ("in/**/*.mp4", "in/out", True),
        ("in/**/*.mp4", "out", False),
        ("in/*", "in/out", True),
        ("in/*", "in/.out", False),
        ("in/c*", "in/out", False),
        ("in/*/a.mp4", "in/out", False),
        ("in/*/a.mp4", "in/cam/a.mp4", True),
        ("in/*/*", "in/out", True),
        ("in/*/**", "in/out", True),
        ("i*/*", "in", True),
        ("i*", "in/cam/out", True),
    ],
)
def test_a_pattern_that_will_match_results_is_refused_from_the_start(
    tree: Path, tmp_path: Path, monkeypatch, pattern: str, output: str, refused: bool
) -> None:
    """And not by the second run, when there are some."""
    monkeypatch.chdir(tmp_path)
    if refused:
        with pytest.raises(UsageError, match="--output|output=.* is inside the source"):
            names(pattern, output=tmp_path / output)
    else:
        found = names(pattern, output=tmp_path / output)
        for name in found:
            (tmp_path / output / name).mkdir(parents=True, exist_ok=True)
            (tmp_path / output / name / "overlay.mp4").touch()
        assert names(pattern, output=tmp_path / output) == found


def test_a_pattern_does_not_take_files_of_the_output(tree: Path) -> None:
    with pytest.raises(UsageError, match="matches files in"):
        names(f"{tree}/cam/*.mp4", output=tree)


def test_a_link_in_the_source_may_not_lead_to_the_output(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tree / "cam" / "results").symlink_to(tmp_path / "out", target_is_directory=True)
    with pytest.raises(UsageError, match="is inside the source .*cam/results"):
        names(tree, output=tmp_path / "out")


def test_the_output_may_hold_the_source(tree: Path) -> None:
    assert names(tree / "cam", output=tree.parent)[0] == "a"


def test_a_name_that_is_not_unicode_is_escaped(tmp_path: Path) -> None:
    try:
        (tmp_path / "caf\udce9.mp4").touch()
    except OSError:
        pytest.skip("the file system takes Unicode alone")
    (clip,) = find_clips([str(tmp_path)], Path("x")).clips
    assert Path(clip.path).exists()
    assert clip.name == "caf\\udce9"
    assert printable(clip.path).encode("utf-8")


def test_an_empty_source_is_not_the_current_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A variable of the shell that is not set."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.mp4").touch()
    with pytest.raises(UsageError, match="a source is empty"):
        find_clips(["a.mp4", ""], tmp_path / "out")
