"""What a look at the machine found."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from enum import Enum
from typing import Any, NamedTuple, TypeAlias


class Level(str, Enum):
    """How much a finding matters."""

    OK = "ok"
    """As it should be."""
    NOTE = "note"
    """`roadseg run` works all the same, if slower or without a window."""
    PROBLEM = "problem"
    """`roadseg run` with the default backend would fail."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        check: what was looked at, the same in every version: `openvino`.
        title: the same for people: `OpenVINO`.
        level: how much it matters.
        text: what was found, one line.
        fix: the command or act that puts it right; None where nothing needs to be.
        facts: figures and names for programs.
    """

    check: str
    title: str
    level: Level
    text: str
    fix: str | None = None
    facts: Mapping[str, Any] = field(default_factory=dict)


Facts: TypeAlias = Mapping[str, Any]
_NONE: Facts = {}


class Verdict(NamedTuple):
    """What a check came to: a `Finding` that does not yet know which check it is of."""

    level: Level
    text: str
    fix: str | None = None
    facts: Facts = _NONE


def ok(text: str, facts: Facts = _NONE) -> Verdict:
    """All is well."""
    return Verdict(Level.OK, text, None, facts)


def note(text: str, fix: str | None = None, facts: Facts = _NONE) -> Verdict:
    """Something to know, which does not keep `roadseg run` from working."""
    return Verdict(Level.NOTE, text, fix, facts)


def problem(text: str, fix: str | None = None, facts: Facts = _NONE) -> Verdict:
    """Something that does."""
    return Verdict(Level.PROBLEM, text, fix, facts)


@dataclass(frozen=True, slots=True)
class Report:
    """All findings, in the order in which to read them.

    Attributes:
        version: of roadseg.
        system: Python and operating system.
        backend: what `--backend auto` takes here: `openvino`.
        findings: at least one for each check.
    """

    version: str
    system: str
    backend: str
    findings: tuple[Finding, ...]

    @property
    def problems(self) -> tuple[Finding, ...]:
        """What makes `roadseg run` fail."""
        return tuple(f for f in self.findings if f.level is Level.PROBLEM)

    @property
    def run_would_fail(self) -> bool:
        """Whether `roadseg run` with the default backend would fail."""
        return bool(self.problems)

    def to_json(self) -> dict[str, Any]:
        """As plain values; keys stay what they are in later versions."""
        return {
            "version": 1,
            "roadseg": self.version,
            "system": self.system,
            "backend": self.backend,
            "run_would_fail": self.run_would_fail,
            "findings": [
                asdict(finding) | {"level": finding.level.value} for finding in self.findings
            ],
        }
