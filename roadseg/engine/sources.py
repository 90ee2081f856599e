"""The code that decides what graph a network becomes, as a checksum."""

from __future__ import annotations

import ast
import hashlib
from functools import cache

from roadseg.core.shipped import PACKAGE

SOURCES = (
    "export/builder.py",
    "export/convert.py",
    "export/lowering.py",
    "export/onnx.py",
    "export/operators.py",
    "export/qdq.py",
    "export/quantizable.py",
    "export/trace.py",
    "models/*.py",
)
"""What decides what graph a network becomes, beside its weights: the networks and their export."""

_NO_NETWORKS = ("files.py", "transfer.py")


def export_sha256() -> str:
    """Checksum of the code that writes graphs: if it is the same, so are they.

    Of what the code does: comments, docstrings and formatting do not count.
    """
    digest = hashlib.sha256()
    for pattern in SOURCES:
        for path in sorted(PACKAGE.glob(pattern)):
            if path.name in _NO_NETWORKS:
                continue
            digest.update(f"{path.relative_to(PACKAGE).as_posix()}\n".encode())
            digest.update(_meaning(path.read_bytes()))
    return digest.hexdigest()


@cache
def _meaning(source: bytes) -> bytes:
    """A module without what does not matter to the interpreter."""
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and node.body:
            first = node.body[0]
            if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant):
                node.body = node.body[1:] or [ast.Pass()]
    return repr(_form(tree)).encode()


def _form(part: object) -> object:
    """A syntax tree in words that stay the same from one version of Python to the next, which an
    engine outlives. `dump` shows fields that are new, and `unparse` writes quotes and brackets
    otherwise."""
    if isinstance(part, ast.AST):
        fields = ((name, value) for name, value in ast.iter_fields(part))
        return (
            type(part).__name__,
            *((name, _form(value)) for name, value in fields if value is not None and value != []),
        )
    return tuple(map(_form, part)) if isinstance(part, list) else part
