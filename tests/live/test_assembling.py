"""A configuration from sources and options, as Python users and `roadseg run` make it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from roadseg.core.errors import SourceError, UsageError
from roadseg.live.assembling import assemble, seen_or_kept
from roadseg.live.config import EventConfig, LiveConfig, RecordConfig, SourceConfig, WebConfig

TWO = ("front", "rear")


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in TWO:
        Path(name).mkdir()
        Path(name, "0.png").write_bytes(b"not looked into")


def test_sources_get_names_and_share_the_options() -> None:
    config = assemble(("3", *TWO), {"stride": 2, "view": "mask", "group": ["a=road"]})
    assert [(each.name, each.url) for each in config.source] == [
        ("camera-3", "3"),
        ("front", "front"),
        ("rear", "rear"),
    ]
    assert {each.stride for each in config.source} == {2}
    assert (config.view, config.group, config.web) == ("mask", ("a=road",), None)


def test_what_is_given_goes_on_from_a_configuration_and_wins() -> None:
    base = LiveConfig(
        source=(SourceConfig("one", "front", stride=3),),
        view="mask",
        web=WebConfig("0.0.0.0", 9000),
        event=(EventConfig("wet", "road > 1%"),),
    )
    options = {"stride": 2, "web": 8080, "event": ["close: person ahead < 5 m"], "pre_roll": 1.0}
    config = assemble(["rear"], options, base=base)
    assert [(each.name, each.stride) for each in config.source] == [("one", 2), ("rear", 2)]
    assert (config.view, config.web) == ("mask", WebConfig("0.0.0.0", 8080))
    assert config.event == (
        EventConfig("wet", "road > 1%"),
        EventConfig("close", "person ahead < 5 m", pre_s=1.0),
    )
    assert base.source[0].stride == 3


def test_one_source_writes_the_files_that_are_named() -> None:
    config = assemble(["front"], {"output": Path("a.mp4"), "timeline": Path("a.csv")})
    assert (config.source[0].output, config.source[0].timeline) == ("a.mp4", "a.csv")
    assert config.record is None


def test_several_sources_write_into_folders_and_are_recorded() -> None:
    config = assemble(TWO, {"output": Path("out"), "timeline": Path("rows"), "keep_gb": 3.0})
    assert [each.timeline for each in config.source] == ["rows/front.csv", "rows/rear.csv"]
    assert {each.output for each in config.source} == {None}
    assert config.record == RecordConfig("out", start=True, keep_gb=3.0)


def test_what_is_written_beside_a_configuration_that_records() -> None:
    base = LiveConfig(source=(SourceConfig("one", "front"),), record=RecordConfig("kept"))
    file = assemble((), {"output": Path("a.mp4")}, base=base)
    assert (file.source[0].output, file.record) == ("a.mp4", base.record)
    raw = assemble((), {"output": Path("a.mp4"), "record_raw": True}, base=base)
    assert (raw.source[0].output, raw.source[0].raw_output) == ("a.mp4", "a-raw.mp4")
    folder = assemble((), {"output": Path("elsewhere")}, base=base)
    assert folder.source[0].output is None
    assert folder.record == RecordConfig("elsewhere", start=True)
    with pytest.raises(UsageError, match="2 sources cannot share"):
        assemble(["rear"], {"output": Path("a.mp4")}, base=base)


def test_raw_pictures_lie_beside_the_others() -> None:
    one = assemble(["front"], {"output": Path("a.mp4"), "record_raw": True})
    assert (one.source[0].output, one.source[0].raw_output) == ("a.mp4", "a-raw.mp4")
    many = assemble(TWO, {"output": Path("out"), "record_raw": True})
    assert many.record is not None
    assert many.record.raw


@pytest.mark.parametrize(
    ("options", "policy"),
    [({"web": 0}, "latest"), ({}, "auto"), ({"web": 0, "policy": "every"}, "every")],
)
def test_files_play_at_their_own_rate_for_people_who_look_on(
    options: dict[str, Any], policy: str
) -> None:
    assert assemble(["front"], options).source[0].policy == policy


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"colour": 1}, "a live run has no option 'colour': leave it out"),
        ({"stride": 0}, "stride=0 is out of range: give 1 or more"),
        ({"web": 99999}, "port=99999 is out of range: give 0 to 65535"),
        ({"policy": "newest"}, 'unknown policy \'newest\': use policy="latest"|"every"'),
        (
            {"output": Path("a.mp4")},
            '2 sources cannot share output="a.mp4": give a folder, such as a',
        ),
        ({"keep_gb": 5.0}, 'keep_gb says how to record, not where: add output="FOLDER"'),
    ],
)
def test_mistakes(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError) as caught:
        assemble(TWO, options)
    assert str(caught.value) == message


def test_one_file_is_not_many() -> None:
    with pytest.raises(UsageError) as caught:
        assemble(["front"], {"output": Path("a.mp4"), "segment_minutes": 5.0})
    assert str(caught.value) == (
        'output="a.mp4" is one file, and segment_minutes is for many: give a folder, output="a"'
    )


def test_sources_must_be_there() -> None:
    with pytest.raises(UsageError, match="no source is given"):
        assemble([])
    with pytest.raises(SourceError, match="no such file: missing.mp4"):
        assemble(["missing.mp4"])


def test_the_page_shows_what_nothing_else_would() -> None:
    config = assemble(TWO)
    assert seen_or_kept(config).web == WebConfig()
    kept = assemble(TWO, {"save_masks": Path("masks")})
    assert seen_or_kept(kept) is kept
    recorded = assemble(TWO, {"output": Path("out")})
    assert seen_or_kept(recorded) is recorded
