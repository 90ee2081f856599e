"""Every error in the source says what is wrong and what to do about it in two fields."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

import pytest

from roadseg.core import errors
from tests.support import ROOT

FILES = sorted(
    path for room in ("roadseg", "tools", "benchmarks") for path in ROOT.glob(f"{room}/**/*.py")
)
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_text("utf-8")) for path in FILES}

_ORDERS = (
    "add|build|calibrate|check|choose|close|compare|convert|copy|correct|create|delete|download|empty|end|"
    "export|free|give|go|install|leave|lower|make|measure|name|pip|plug|put|raise|record|reinstall|"
    "remove|rename|replace|report|run|save|score|see|set|shorten|start|train|try|update|upgrade|"
    "use|wait|write"
)
ADVICE = re.compile(rf"[:;,] (please |so )?({_ORDERS})\b|^(give|install|leave|use)\b")


def error_classes() -> set[str]:
    """Names of all classes of the tree, those of other modules included."""
    names = {name for name in errors.__all__ if name.endswith("Error")}
    classes = [node for tree in TREES.values() for node in ast.walk(tree)]
    kinds = [node for node in classes if isinstance(node, ast.ClassDef)]
    before = 0
    while before != len(names):
        before = len(names)
        names |= {
            k.name for k in kinds if {n.id for n in k.bases if isinstance(n, ast.Name)} & names
        }
    return names


def calls() -> Iterator[tuple[str, ast.Call]]:
    """Where each error is made, and how."""
    names = error_classes()
    for file, tree in TREES.items():
        for node in ast.walk(tree):
            if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Name):
                continue
            if node.func.id in names:
                yield f"{file}:{node.lineno}", node


def written(node: ast.expr | None) -> str:
    """The text of a literal with {} in place of what is filled in; empty for other expressions."""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    if isinstance(node, ast.JoinedStr):
        return "".join(written(part) or "{}" for part in node.values)
    if isinstance(node, ast.BinOp):
        return (written(node.left) or "{}") + (written(node.right) or "{}")
    return ""


def argument(call: ast.Call, name: str, position: int) -> ast.expr | None:
    given = [keyword.value for keyword in call.keywords if keyword.arg == name]
    return given[0] if given else (call.args[position : position + 1] or [None])[0]


def faults(what: str, fix: str) -> list[str]:
    """What two texts have of each other."""
    found = []
    if ADVICE.search(what):
        found.append("what has advice")
    if what.endswith(".") or (fix.endswith(".") and not fix.endswith("...")):
        found.append("a full stop")
    if fix[:1].isupper():
        found.append("fix begins in upper case")
    return found


@pytest.mark.parametrize(
    ("what", "fix", "expected"),
    [
        ("no weights at {}", "train some with 'roadseg train'", []),
        ("no weights at {}: train some", "", ["what has advice"]),
        ("cannot write {}: it is a folder; give another", "", ["what has advice"]),
        ("no weights.", "train some", ["a full stop"]),
        ("no weights", "Train some.", ["a full stop", "fix begins in upper case"]),
        ("the processes cannot meet", "start them with torchrun ...", []),
    ],
)
def test_what_counts_as_a_fault(what: str, fix: str, expected: list[str]) -> None:
    assert faults(what, fix) == expected


def test_every_error_keeps_what_and_fix_apart() -> None:
    made = list(calls())
    assert len(made) > 350
    found = {
        where: wrong
        for where, call in made
        if (wrong := faults(written(argument(call, "what", 0)), written(argument(call, "fix", 1))))
    }
    assert found == {}


def test_what_must_be_is_advised() -> None:
    found = [
        where
        for where, call in calls()
        if argument(call, "fix", 1) is None and re.search(r"\bmust\b", written(call.args[0]))
    ]
    assert found == []


# Errors of several lines, each of which names its own fix.
WITHOUT_A_FIX = ("roadseg/live/toml.py",)


def test_every_error_advises_something() -> None:
    found = [
        where
        for where, call in calls()
        if not where.startswith(WITHOUT_A_FIX)
        and not any(isinstance(given, ast.Starred) for given in call.args)
        and (
            (fix := argument(call, "fix", 1)) is None
            or (isinstance(fix, ast.Constant) and not fix.value)
        )
    ]
    assert found == []


def test_no_message_is_taken_apart() -> None:
    """`exc.what` and `exc.fix` are there; the text of both is for people."""
    parsed = [
        f"{file}:{node.lineno}"
        for file, tree in TREES.items()
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and (
            (
                node.func.attr in ("partition", "rpartition", "split", "rsplit")
                and _is_str(node.func.value)
            )
            or (node.func.attr in ("split", "sub") and any(_is_str(a) for a in node.args))
        )
        and any(": " in written(a) or "; " in written(a) or ":;" in written(a) for a in node.args)
    ]
    assert parsed == []


def _is_str(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "str"
