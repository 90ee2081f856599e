"""The kernels on the CPU: how they are compiled, kept, and what is said when they cannot be."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from roadseg.core.errors import BackendError
from roadseg.kernels.kernels import variants
from roadseg.testing import host_kernels as host_module
from roadseg.testing.host_kernels import compile_host, host_kernels

TINY = 'extern "C" int answer() { return 42; }\n'

needs_compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="g++ is not installed")


@pytest.fixture(autouse=True)
def cache_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A cache of its own for each test."""
    monkeypatch.setenv("ROADSEG_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache" / "kernels"


@needs_compiler
def test_there_is_a_function_for_every_kernel() -> None:
    assert set(host_kernels()) == {variant.symbol for variant in variants()}


@needs_compiler
def test_compiled_once_and_kept(cache_folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compile_host.__wrapped__(TINY)
    (library,) = cache_folder.iterdir()
    monkeypatch.setattr(host_module, "_compile", lambda *_: pytest.fail("compiled again"))
    assert compile_host.__wrapped__(TINY)._name == str(library)


@needs_compiler
def test_a_kept_library_that_does_not_load_is_replaced(cache_folder: Path) -> None:
    compile_host.__wrapped__(TINY)
    (library,) = cache_folder.iterdir()
    # Another file of that name, as the one that is loaded must not change under the process.
    library.unlink()
    library.write_bytes(b"not a library")
    compile_host.__wrapped__(TINY)
    assert library.read_bytes().startswith(b"\x7fELF")
    assert list(cache_folder.iterdir()) == [library]


@needs_compiler
def test_a_cache_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("ROADSEG_CACHE", str(blocked))
    assert compile_host.__wrapped__(TINY).answer() == 42


@needs_compiler
def test_the_compilers_first_error_is_told() -> None:
    with pytest.raises(BackendError) as caught:
        compile_host.__wrapped__("int f() { return undeclared; }\n")
    message = str(caught.value)
    assert message.startswith("g++ cannot compile the kernels (<stdin>:1:18: error: ")
    assert "undeclared" in message
    assert "\n" not in message


def test_no_compiler(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host_module.shutil, "which", lambda _: None)
    with pytest.raises(BackendError) as caught:
        compile_host.__wrapped__(TINY)
    assert str(caught.value) == (
        "the kernels need a compiler to run on the CPU: install g++ (apt install g++)"
    )


def test_a_compiler_that_cannot_be_run(monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(host_module.shutil, "which", lambda _: "/usr/bin/g++")
    monkeypatch.setattr(subprocess, "run", denied)
    with pytest.raises(BackendError) as caught:
        compile_host.__wrapped__(TINY)
    assert str(caught.value) == (
        "cannot run /usr/bin/g++ (Permission denied): install another release of g++"
    )
