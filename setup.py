"""Copies of what commands need from the checkout's top-level folders, for wheels.

Everything else about the package stands in `pyproject.toml`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

ROOT = Path(__file__).resolve().parent
TARGET = Path("roadseg") / "shipped_files"  # see roadseg/core/shipped.py
PATTERNS = {
    "calibration": ("*.json", "*.txt", "*.md"),
    "docs": ("*.md",),
    "samples": ("*.mp4", "*.npz", "*.md"),
}


class BuildPy(build_py):
    """Puts them into the package; an editable install finds them where they are."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for source, target in self._copies():
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, target)

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        copies = [] if self.editable_mode else [str(target) for _, target in self._copies()]
        return [*super().get_outputs(include_bytecode), *copies]

    def _copies(self) -> list[tuple[Path, Path]]:
        return [
            (path, Path(self.build_lib) / TARGET / folder / path.name)
            for folder, patterns in PATTERNS.items()
            for pattern in patterns
            for path in sorted((ROOT / folder).glob(pattern))
        ]


setup(cmdclass={"build_py": BuildPy})
