"""Every command that README and docs show: the command line takes it, and it does its work.

Commands are lines of code blocks that call `roadseg`, `make` or a benchmark. Each is parsed. Those
that need no GPU, camera, network or minutes (`why_only_parsed`) are run, too: page by page, in
their order and in a new folder, so that one may read what another wrote. The files that they read
are small stand-ins, and what would take long is made short (`SHORTER`).
"""

from __future__ import annotations

import importlib
import re
import shlex
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import typer

from roadseg import cli
from roadseg.training import loop
from tests.support import ROOT

PAGES = [
    page.relative_to(ROOT).as_posix()
    for page in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
]

# Options whose value is read; `--model` names what ships or what an earlier command wrote.
READ = ("--source", "--data", "--labels", "--extra")
DATA_SETS = ("CamVid", "CAMVID", "farm")

# Added to a command that would take minutes; of an option that is given twice the last one counts.
SHORTER = {
    "bench": ["--frames", "8"],
    "eval": ["--size", "64x96"],
    "train": ["--recipe", "tiny.toml", "--time-budget", "0.01"],
    "render-sample": ["--count", "2"],
}

# Long options of other programs in the text of our pages.
OTHERS_OPTIONS = {
    "--nproc-per-node",  # torchrun
    "--exportOutput",  # trtexec, as are the others
    "--loadEngine",
    "--loadInputs",
    "--shapes",
    "--useCudaGraph",
    "--useSpinWait",
    "--gpus",  # docker
    "--rm",
    "--system-site-packages",  # python -m venv
    "--model-repository",  # tritonserver
    "--now",  # systemctl
}


@dataclass(frozen=True)
class Command:
    """A command line of a page, up to the shell's `|` or `>`.

    Attributes:
        arguments: what roadseg gets; empty for other programs.
    """

    page: str
    line: int
    words: tuple[str, ...]
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}:{self.line} {' '.join(self.words)}"

    @property
    def name(self) -> str:
        """`run`, `train`, ..."""
        return next((word for word in self.arguments if not word.startswith("-")), "")

    @property
    def first(self) -> str | None:
        """What stands behind the name without an option before it."""
        behind = self.arguments[self.arguments.index(self.name) + 1 :]
        return behind[0] if behind and not behind[0].startswith("-") else None

    def value(self, option: str) -> str | None:
        """What is given for an option, None if nothing is."""
        given = option in self.arguments
        return self.arguments[self.arguments.index(option) + 1] if given else None


# Fenced blocks that hold no commands.
PROSE = ("```text", "```python")


def code_lines(text: str) -> Iterator[tuple[int, str]]:
    """Lines of indented and fenced blocks with their numbers; one that ends in a backslash goes on
    in the next."""
    fence, begun = "", ""
    for number, line in enumerate(text.splitlines(), 1):
        if line.lstrip().startswith("```"):
            fence = "" if fence else line.strip()
        elif fence in PROSE:
            continue
        elif fence or line.startswith("    "):
            begun += line.strip()
            if begun.endswith("\\"):
                begun = begun[:-1]
                continue
            yield number, begun
            begun = ""


def commands(page: str, text: str) -> Iterator[Command]:
    """The commands of a page that call roadseg, make or python."""
    for number, line in code_lines(text):
        if not re.search(r"\broadseg |^(make|python) ", line):
            continue
        words = shlex.split(re.sub(r"\s#.*", "", line.removeprefix("$ ")))
        part: list[str] = []
        for word in [*words, ";"]:
            if word not in ("&&", ";", "&"):
                part.append(word)
                continue
            ends = [part.index(sign) for sign in ("|", ">", "2>") if sign in part]
            part = part[: min(ends, default=len(part))]
            at = next((i for i, w in enumerate(part) if w.rpartition("/")[2] == "roadseg"), None)
            arguments = () if at is None else tuple(part[at + 1 :])
            # `import roadseg` and `pip install roadseg` are no commands of ours.
            program = part[0].rpartition("/")[2] if part else ""
            if program in ("roadseg", "timeout", "torchrun", "nohup", "make", "python"):
                yield Command(page, number, tuple(part), arguments)
            part = []


ALL = [each for page in PAGES for each in commands(page, (ROOT / page).read_text("utf-8"))]
OURS = [each for each in ALL if each.arguments]


def why_only_parsed(command: Command) -> str | None:
    """What it takes to run a command that a test has not got; None if nothing."""
    name, model = command.name, command.value("--model") or "segnet-lite"
    source = command.value("--source") or (command.first if name in ("run", "bench") else None)
    if source is not None and re.fullmatch("[0-9]+|/dev/.*", source):
        return "a camera"
    if source is not None and "://" in source:
        return "a network"
    if "--ray" in command.arguments:
        return "a Ray cluster: tests/archive/test_cluster.py"
    if "--config" in command.arguments:
        return "cameras: tests/cli/live"
    if "--web" in command.arguments and "--loop" in command.arguments:
        return "an end"
    if "--show" in command.arguments:
        return "a display"
    if name == "build-engine" or model.endswith(".engine"):
        return "TensorRT"
    if command.words[0] in ("timeout", "torchrun", "nohup"):
        return "a program that not every system has"
    if name == "compare" or (name == "train" and model != "segnet-lite"):
        return "minutes: other networks"
    if "--compile" in command.arguments:
        return "minutes: torch.compile"
    if name == "find-bonnet" or "--ignore-mask" in command.arguments:
        return "a clip with a bonnet: tests/cli/test_find_bonnet.py"
    if name == "crossval":
        return "frames of several drives: tests/training/test_crossval.py"
    if name in ("calibrate", "quantize"):
        return "minutes: their own tests have small networks for them"
    if "sun" in (command.value("--data") or ""):
        return "SUN RGB-D: tests/datasets/test_sunrgbd.py"
    return None


RUN = [each for each in OURS if why_only_parsed(each) is None]


@cache
def group() -> Any:
    """The command line with its commands, as click knows it."""
    return typer.main.get_command(cli.app)


def parse(arguments: Sequence[str]) -> None:
    """Take arguments apart as roadseg does, and do nothing.

    Raises what ends roadseg there: no such command or option, a missing one, a wrong value.
    """
    whole = group()
    whole.make_context("roadseg", list(arguments)).close()
    at = next(i for i, word in enumerate(arguments) if not word.startswith("-"))
    assert arguments[at] in whole.commands, f"no such command: {arguments[at]}"
    command = whole.commands[arguments[at]]
    command.make_context(arguments[at], list(arguments[at + 1 :])).close()


def tool_commands() -> dict[str, Any]:
    """The programs under `tools` that have options, by their modules."""
    modules = [
        f"tools.{path.stem}"
        for path in sorted((ROOT / "tools").glob("*.py"))
        if "typer.Typer(" in path.read_text("utf-8")
    ]
    return {name: typer.main.get_command(importlib.import_module(name).program) for name in modules}


def known_options() -> set[str]:
    """Those of roadseg, of the tools and of the benchmarks."""
    known = {"--help"}
    for command in (group(), *group().commands.values(), *tool_commands().values()):
        for parameter in command.params:
            known |= {*parameter.opts, *parameter.secondary_opts}
    for program in (ROOT / "benchmarks").rglob("*.py"):
        known |= set(re.findall(r'add_argument\(\s*"(--[a-z-]+)"', program.read_text("utf-8")))
    return known


def test_pages_have_commands() -> None:
    assert {each.name for each in OURS} >= {"run", "bench", "eval", "train", "export", "doctor"}
    assert len(RUN) >= 15
    assert len({each.page for each in RUN}) >= 5


@pytest.mark.parametrize("command", OURS, ids=str)
def test_command_line_takes(command: Command) -> None:
    parse(command.arguments)


@pytest.mark.parametrize(
    "text",
    [
        "    roadseg run --source a.mp4 --overlay",
        "    roadseg runs --source a.mp4",
        "    roadseg export --size 64x96",
        "    timeout -s INT 5 roadseg train --data CamVid --recipes lite",
        "```\nroadseg run \\\n  --source a.mp4 --outputs b.mp4\n```",
        "    .venv/bin/roadseg bench --source a.mp4 --frames many  # it's a comment",
    ],
)
def test_command_that_is_wrong_is_found(text: str) -> None:
    (command,) = commands("page.md", text)
    with pytest.raises(Exception, match=r"(?i)no such|missing|valid integer"):
        parse(command.arguments)


@pytest.mark.parametrize("page", PAGES)
def test_options_and_commands_in_the_text_exist(page: str) -> None:
    text = (ROOT / page).read_text("utf-8")
    code = [*re.findall(r"`([^`\n]+)`", text), *(line for _, line in code_lines(text))]
    code = [each for each in code if not re.match(r"(pip|apt) ", each)]
    options = {name for each in code for name in re.findall(r"(?<!\S)--[a-zA-Z][\w-]+", each)}
    assert options - known_options() - OTHERS_OPTIONS == set()
    called = {name for each in code for name in re.findall(r"^roadseg ([a-z][a-z-]*)", each)}
    assert called - set(group().commands) == set()


@pytest.mark.parametrize("page", PAGES)
def test_tools_take_what_the_text_gives_them(page: str) -> None:
    tools = tool_commands()
    text = (ROOT / page).read_text("utf-8")
    for line in re.findall(r"`(python -m tools\.[^`\n]+)`", text):
        module, *arguments = shlex.split(line)[2:]
        assert (ROOT / (module.replace(".", "/") + ".py")).is_file()
        if arguments:
            tools[module].make_context(module, arguments).close()


@pytest.mark.parametrize("command", [c for c in ALL if not c.arguments], ids=str)
def test_other_programs_exist(command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """Targets and variables of the Makefile; benchmarks and their options."""
    words = command.words
    if words[0] == "make":
        makefile = (ROOT / "Makefile").read_text("utf-8")
        for word in words[1:]:
            name, is_variable, _ = word.partition("=")
            there = rf"\$\({name}\)" if is_variable else rf"^{name}:"
            assert re.search(there, makefile, re.MULTILINE), word
        return
    module = words[2] if words[1] == "-m" else words[1].removesuffix(".py").replace("/", ".")
    if not module.startswith("benchmarks."):
        assert module in ("pytest", "roadseg")
        return
    assert (ROOT / (module.replace(".", "/") + ".py")).is_file()
    with pytest.raises(SystemExit) as end:
        importlib.import_module(module).main([*words[3 if words[1] == "-m" else 2 :], "--help"])
    assert end.value.code == 0


def test_the_readme_has_a_line_for_every_command() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    named = re.findall(r"^\| `roadseg ([a-z-]+)` \|", readme, re.MULTILINE)
    assert sorted(named) == sorted(group().commands)


@pytest.mark.usefixtures("hasty_choice")
@pytest.mark.parametrize("page", sorted({each.page for each in RUN}))
def test_commands_of_the_page_run(
    page: str,
    tmp_path: Path,
    tiny_camvid: Path,
    tiny_farm: Path,
    stand_in: Callable[[Path], None],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = tmp_path / "work"
    folder.mkdir()
    for name in DATA_SETS:
        target = tiny_farm if name == "farm" else tiny_camvid
        (folder / name).symlink_to(target, target_is_directory=True)
    (folder / "calibration").symlink_to(ROOT / "calibration", target_is_directory=True)
    lite = (Path(loop.__file__).parent / "recipes" / "lite.toml").read_text("utf-8")
    lite = lite.replace("crop_hw = [256, 320]", "crop_hw = [64, 64]")
    (folder / "tiny.toml").write_text(lite.replace("batch_size = 8", "batch_size = 3"))
    monkeypatch.chdir(folder)
    for variable in ("DISPLAY", "WAYLAND_DISPLAY"):
        monkeypatch.delenv(variable, raising=False)
    for command in (each for each in RUN if each.page == page):
        reads = [command.value(option) for option in READ]
        reads += [command.first] if command.name in ("run", "bench") else []
        if command.name == "batch":
            reads.append(f"{command.first}/monday/a.mp4")
        for each in filter(None, reads):
            if not Path(each).exists():
                stand_in(Path(each))
        arguments = [*command.arguments, *SHORTER.get(command.name, [])]
        assert cli.main(arguments) == 0, f"{command}\n{capsys.readouterr().err}"
        for option in ("--output", "--json", "--stats-json", "--report", "--dataset"):
            written = command.value(option)
            assert written is None or Path(written).exists(), f"{command}: no {written}"
