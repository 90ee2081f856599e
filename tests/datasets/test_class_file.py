"""The class file of a data set of one's own."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roadseg.core.errors import DataError
from roadseg.core.labels import CAMVID, distinct_colours
from roadseg.datasets.class_file import read_class_file


def written(tmp_path: Path, text: str, name: str = "classes.txt") -> Path:
    folder = tmp_path / "farm"
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text, encoding="utf-8")
    return folder / name


def test_names_colours_and_comments(tmp_path: Path) -> None:
    text = (
        "\ufeff# what the tractor sees\n\ntrack 90 60 30\n  field\t# of any crop\r\nsky 0 0 255\n"
    )
    classes = read_class_file(written(tmp_path, text))
    assert classes.name == "farm"
    assert classes.names == ("track", "field", "sky")
    assert classes.colours_rgb[0] == (90, 60, 30)
    assert classes.colours_rgb[2] == (0, 0, 255)
    assert classes.colours_rgb[1] in distinct_colours(5)
    assert len(set(classes.colours_rgb)) == 3


def test_a_generated_colour_is_not_one_that_was_given(tmp_path: Path) -> None:
    first = " ".join(map(str, distinct_colours(1)[0]))
    classes = read_class_file(written(tmp_path, f"a\nb {first}\n"))
    assert classes.colours_rgb == (distinct_colours(2)[1], distinct_colours(1)[0])


COLOURED: dict[str, list[list[int]] | None] = {"palette_rgb": [[1, 2, 3], [4, 5, 6]]}


@pytest.mark.parametrize("palette", [{}, {"palette_rgb": None}, COLOURED])
def test_json_says_the_same(tmp_path: Path, palette: dict[str, list[list[int]] | None]) -> None:
    content = {"classes": ["stop sign", "car"]} | palette
    classes = read_class_file(written(tmp_path, json.dumps(content), "classes.json"))
    assert classes.names == ("stop sign", "car")
    expected = ((1, 2, 3), (4, 5, 6)) if palette is COLOURED else distinct_colours(2)
    assert classes.colours_rgb == expected


def test_camvid_written_out_is_camvid(tmp_path: Path) -> None:
    assert read_class_file(written(tmp_path, "\n".join(CAMVID.names))).same_classes(CAMVID)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "{path} names no classes: write one per line, such as 'road 128 64 128'"),
        (
            "# nothing\n",
            "{path} names no classes: write one per line, such as 'road 128 64 128'",
        ),
        ("car\nroad\ncar 1 2 3", "{path} names 'car' twice: give every class one line"),
        (
            "car\nstop sign",
            "{path} line 2 does not name a class: 'stop sign': write 'name' or 'name red green "
            "blue' (0..255, no spaces in the name)",
        ),
        (
            "car 1 2 256",
            "{path} line 1 does not name a class: 'car 1 2 256': write 'name' or 'name red green "
            "blue' (0..255, no spaces in the name)",
        ),
        (
            "car 1 -2 3",
            "{path} line 1 does not name a class: 'car 1 -2 3': write 'name' or 'name red green "
            "blue' (0..255, no spaces in the name)",
        ),
        (
            "\n".join(f"c{i}" for i in range(255)),
            "{path} names 255 classes: leave 254, which is what fits into the 8 bits of a label",
        ),
    ],
)
def test_unusable_text(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text)
    with pytest.raises(DataError) as error:
        read_class_file(path)
    assert str(error.value) == message.format(path=path)


FORM = '{"classes": ["road", ...], "palette_rgb": [[128, 64, 128], ...]}'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", f"is not a class file: write {FORM}"),
        ("[]", f"is not a class file: write {FORM}"),
        ("{}", f"is not a class file: write {FORM}"),
        ('{"classes": {"0": "road", "1": "verge"}}', f"is not a class file: write {FORM}"),
        ('{"classes": "road"}', f"is not a class file: write {FORM}"),
        ('{"classes": [1]}', f"has 1 with the colour None: write {FORM}"),
        (
            '{"classes": ["a"], "palette_rgb": [[1, 2]]}',
            f"has 'a' with the colour [1, 2]: write {FORM}",
        ),
        (
            '{"classes": ["a", "b"], "palette_rgb": [[1, 2, 3]]}',
            "has 2 classes and 1 colours: give as many",
        ),
    ],
)
def test_unusable_json(tmp_path: Path, text: str, message: str) -> None:
    path = written(tmp_path, text, "classes.json")
    with pytest.raises(DataError) as error:
        read_class_file(path)
    assert str(error.value) == f"{path} {message}"


def test_missing_or_binary(tmp_path: Path) -> None:
    with pytest.raises(
        DataError,
        match=r"^cannot read .*classes\.txt \(No such file or directory\): check the path$",
    ):
        read_class_file(tmp_path / "classes.txt")
    (tmp_path / "classes.txt").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(
        DataError,
        match=r"^cannot read .*classes\.txt \(it is not text\): save it as text in UTF-8$",
    ):
        read_class_file(tmp_path / "classes.txt")
