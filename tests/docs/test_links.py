"""Every relative link of README and docs leads to a file and a heading that exist."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import ROOT

PAGES = [
    page.relative_to(ROOT).as_posix()
    for pattern in ("*.md", "docs/*.md", "*/README.md")
    for page in sorted(ROOT.glob(pattern))
]


def prose(text: str) -> str:
    """The text without blocks and spans of code."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    text = re.sub(r"^ {4}.*$", "", text, flags=re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


def links(text: str) -> Iterator[tuple[str, str]]:
    """Path and heading of each link that leads to the project itself; either may be empty."""
    for target in re.findall(r"\]\(\s*([^)\s]+)", prose(text)):
        if not re.match(r"[a-z]+:", target):
            path, _, heading = target.partition("#")
            yield path, heading


def headings(text: str) -> set[str]:
    """The anchors that GitHub gives to the headings of a page."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.DOTALL | re.MULTILINE)
    found: set[str] = set()
    for heading in re.findall(r"^#+ +(.+?) *$", text, re.MULTILINE):
        plain = re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", heading).lower()
        slug = anchor = re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")
        number = 0
        while anchor in found:
            number += 1
            anchor = f"{slug}-{number}"
        found.add(anchor)
    return found


def broken(page: Path, text: str) -> list[str]:
    """Links of a page that lead nowhere."""
    wrong = []
    for path, heading in links(text):
        target = page.parent / path if path else page
        there = target.exists()
        if there and heading and target.suffix == ".md":
            other = text if target == page else target.read_text("utf-8")
            there = heading in headings(other)
        if not there:
            wrong.append(f"{path}#{heading}" if heading else path)
    return wrong


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    path = ROOT / page
    assert broken(path, path.read_text("utf-8")) == []


def test_readme_leads_to_every_page() -> None:
    readme = {path for path, _ in links((ROOT / "README.md").read_text("utf-8"))}
    pages = {f"docs/{page.name}" for page in (ROOT / "docs").glob("*.md")}
    assert pages - readme == set()


def test_links_that_lead_nowhere_are_found(tmp_path: Path) -> None:
    (tmp_path / "other.md").write_text("# On a GPU: `run`\n\n## Twice\n\n## Twice\n")
    text = (
        "[a](other.md#on-a-gpu-run) [b](other.md#twice-1) [c](#here) [d](https://example.org/x)\n"
        "[e](gone.md) [f](other.md#twice-2) [g](#there) ![h](gone.png)\n"
        "`[i](not-a-link)`\n\n    [j](not-a-link)\n\n# Here\n"
    )
    page = tmp_path / "page.md"
    page.write_text(text)
    assert broken(page, text) == ["gone.md", "other.md#twice-2", "#there", "gone.png"]
