"""A live run from the command line: opened, run, and reported."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from roadseg.cli.live.typed import Typed, typed_config

if TYPE_CHECKING:
    from roadseg.live.config import LiveConfig
    from roadseg.live.run import LiveReport
    from roadseg.video.display import Window

_LOG = logging.getLogger("roadseg.live")


def run_live(sources: Sequence[str], typed: Typed) -> None:
    """`roadseg run` with cameras, several sources or a page.

    Raises:
        RoadsegError: an option is wrong, or something that is named cannot be opened.
    """
    from roadseg.cli.endings import sigterm_calls
    from roadseg.cli.lines import print_json
    from roadseg.cli.progress_bar import progress_bar
    from roadseg.core.files import claimed_file, write_json
    from roadseg.live.assembling import seen_or_kept
    from roadseg.live.config import RecordConfig
    from roadseg.live.opening import open_live
    from roadseg.live.screen import HELP, Screen
    from roadseg.live.toml import config_text

    values = typed.values
    if values["log_json"]:
        print_json()
    config = typed_config(sources, typed)
    if values["print_config"]:
        typer.echo(config_text(config), nl=False)
        return
    _check_files(config, typed)
    with ExitStack() as stack:
        window = _window(config, values["show"])
        if window is not None:
            stack.callback(window.close)
        if window is not None and config.record is None:
            config = replace(config, record=RecordConfig(start=False))
        stats: Path | None = values["stats_json"]
        if window is None and stats is None:
            seen = seen_or_kept(config)
            if seen is not config:
                _page_instead(values["show"])
            config = seen
        # A camera that is typed and was never there is a mistake; a service waits for its cameras.
        patient = bool(typed.given & {"web", "config"}) or len(config.source) > 1
        with progress_bar() as progress:
            live = stack.enter_context(
                open_live(config, token=values["web_token"], patient=patient, progress=progress)
            )
        if live.hub is not None:
            _LOG.info("the page is at %s", live.hub.visit_url)
        attend = None
        if window is not None:
            attend = Screen(window, live.run.stations, config, live.segmenter, live.recorder).attend
            _LOG.info(HELP)
        if stats is not None:
            stack.enter_context(claimed_file(stats, "--stats-json"))
        try:
            with sigterm_calls(live.run.stop):
                live.run.run(attend)
        finally:
            report = live.run.report()
            _report(report)
            if stats is not None:
                write_json(stats, report.to_json())


def _check_files(config: LiveConfig, typed: Typed) -> None:
    """Refuse to replace what another option or key names.

    Raises:
        UsageError: a file has two of them.
    """
    from roadseg.cli.distinct import check_distinct, file_or_none

    def named(*keys: str) -> list[tuple[str, str | None]]:
        return [
            (
                f"--{key.replace('_', '-')}" if key in typed.given else f"{key} of {each.name}",
                getattr(each, key),
            )
            for each in config.source
            for key in keys
        ]

    check_distinct(
        read=[
            ("--config", typed.values["config"]),
            ("--model", file_or_none(config.model)),
            ("token_file", None if config.web is None else config.web.token_file),
            *named("ignore_mask"),
        ],
        sources=[("--source", each.url) for each in config.source if each.is_file],
        results=named("output", "raw_output", "save_masks", "event_clips"),
        reports=[
            ("--stats-json", typed.values["stats_json"]),
            *named("timeline", "events"),
        ],
    )


def _window(config: LiveConfig, show: bool | None) -> Window | None:
    """A window if one is asked for, or if nobody asked for anything else."""
    from roadseg.video.display import open_window

    if show is False or (show is None and config.web is not None):
        return None
    names = ", ".join(each.name for each in config.source)
    return open_window(f"roadseg: {names}", required=show is True)


def _page_instead(show: bool | None) -> None:
    """Say that a page is served where no window can be, and what else can be had.

    Raises:
        BackendError: what the page needs is not installed.
    """
    from roadseg.core.errors import BackendError
    from roadseg.live.web import check_installed
    from roadseg.video.display import display_available, without_window

    no_window = f"no window ({without_window() if show is False else display_available()})"
    try:
        check_installed("the page that takes its place")
    except BackendError as exc:
        fix = f"{exc.fix}, or record with --output FILE.mp4"
        raise BackendError(f"{no_window}, and {exc.what}", fix=fix) from exc
    _LOG.info(
        "%s: a page takes its place; --web 0.0.0.0:8080 shows it to other machines, "
        "--output FILE.mp4 records",
        no_window,
    )


def _report(report: LiveReport) -> None:
    if not any(each.read for each in report.sources):
        return
    for each in report.sources:
        dropped = ", ".join(f"{n} {cause}" for cause, n in each.dropped.items() if n)
        age = each.age
        ages = (
            ""
            if age.p50 is None or age.p95 is None
            else f", age {age.p50 * 1e3:.0f} ms median, {age.p95 * 1e3:.0f} ms p95"
        )
        connections = "1 connection" if each.connects == 1 else f"{each.connects} connections"
        typer.echo(
            f"{each.name}: {each.shown} of {each.read} frames shown{ages}; "
            f"dropped: {dropped or 'none'}; {connections}"
        )
