"""The documentation: links lead somewhere, every page is near, every published command exists and runs."""

from __future__ import annotations

import functools
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from turngap.processes import child

from tests.harness import report_builders as builders

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted(
    path.relative_to(ROOT)
    for pattern in (
        "*.md",
        "docs/**/*.md",
        "examples/**/*.md",
        "benchmarks/*.md",
        "scenarios/*.md",
        "results/*.md",
        "reports/*.md",
    )
    for path in ROOT.glob(pattern)
)
LINK = re.compile(r"(?<!!)\[[^\]]*\]\(([^)\s]+)\)|!\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(
    r"^(?P<mark><!-- needs: (?P<needs>[^\n]+?) -->\n)?(?P<tick>```+)(?P<language>\w*)\n(?P<text>.*?)^(?P=tick)",
    re.MULTILINE | re.DOTALL,
)
PROGRAMS = ("turngap", "pytest", "python", "tox", "pip")
AGENTS_OWN = ("serve", "weights", "say")


@dataclass(frozen=True)
class Command:
    """One command line of a page."""

    page: Path
    line: int
    text: str
    needs: str
    """What its block is marked with; "" is run by this test."""

    @property
    def words(self) -> list[str]:
        return shlex.split(self.text, comments=True)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}: {self.text}"


def without_code(text: str) -> str:
    return re.sub(r"`[^`\n]*`", "", FENCE.sub("", text))


def links(page: Path) -> Iterator[str]:
    for match in LINK.finditer(without_code((ROOT / page).read_text("utf-8"))):
        target = match.group(1) or match.group(2)
        if not target.startswith(("http://", "https://", "mailto:")):
            yield target


def anchors(page: Path) -> set[str]:
    """As GitHub makes them of headings: lower case, punctuation dropped, spaces to hyphens."""
    text = FENCE.sub("", (ROOT / page).read_text("utf-8"))
    titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.strip().lower()).replace(" ", "-") for title in titles}


def commands() -> list[Command]:
    listed = []
    for page in PAGES:
        text = (ROOT / page).read_text("utf-8")
        for block in FENCE.finditer(text):
            if block["language"] not in ("", "console", "bash", "sh", "shell"):
                continue
            first = text.count("\n", 0, block.start("text")) + 1
            for number, line in enumerate(block["text"].splitlines(), first):
                stripped = line.removeprefix("$ ")
                word = stripped.split(" ", 1)[0]
                if word in PROGRAMS and not stripped.startswith("turngap: "):
                    listed.append(Command(page, number, stripped, block["needs"] or ""))
    return listed


COMMANDS = commands()


def test_there_are_pages_and_commands() -> None:
    """What the other tests of this module go through is not empty."""
    assert len(PAGES) > 25
    assert len(COMMANDS) > 30


@pytest.mark.parametrize("page", PAGES, ids=str)
def test_every_link_leads_somewhere(page: Path) -> None:
    """Files exist, and so do the headings that links name."""
    for target in links(page):
        path, _, anchor = target.partition("#")
        file = (ROOT / page).parent / path if path else ROOT / page
        assert file.exists(), f"{page}: {target}"
        if anchor and file.suffix == ".md":
            assert anchor in anchors(file.resolve().relative_to(ROOT)), f"{page}: {target}"


def test_every_page_is_two_clicks_from_the_readme() -> None:
    """One click to an index, a second one to the page."""

    def targets(page: Path) -> set[Path]:
        files = {((ROOT / page).parent / link.partition("#")[0]).resolve() for link in links(page)}
        pages = {file / "README.md" if file.is_dir() else file for file in files}
        return {file.relative_to(ROOT) for file in pages if file.is_file() and file.suffix == ".md"}

    first = targets(Path("README.md"))
    near = first | {page for one in first for page in targets(one)}
    assert {page for page in PAGES if page.parts[0] == "docs"} - near == set()


@functools.cache
def help_of(*command: str) -> str:
    env = dict(os.environ) | {"COLUMNS": "200", "TERM": "dumb", "NO_COLOR": "1"}
    done = subprocess.run([*command, "--help"], capture_output=True, text=True, cwd=ROOT, env=env, check=False)
    assert done.returncode == 0, (command, done.stderr)
    return done.stdout


def help_command(words: list[str]) -> tuple[str, ...] | None:
    """The command whose help lists the options of `words`; None where none can be run here."""
    if words[0] == "turngap" and len(words) > 1 and not words[1].startswith("-"):
        parts = words[1:3] if words[1] in ("weights", "corpus") else words[1:2]
        module = "turngap_agent" if words[1] in AGENTS_OWN else "turngap"
        return (*child.python_command(module), *parts)
    if words[:2] == ["python", "-m"]:
        own = words[2] == "turngap_agent"
        parts = words[3:5] if own and words[3] == "weights" else words[3:4] if own else []
        return (*(child.python_command(words[2]) if own else [sys.executable, "-m", words[2]]), *parts)
    if words[0] == "python" and words[1].endswith(".py"):
        return (sys.executable, words[1])
    if words[0] == "pytest":
        return (sys.executable, "-m", "pytest")
    return None


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_every_published_option_exists(command: Command) -> None:
    """The command is there, and its help knows each option that the page uses."""
    words = command.words
    help_of_words = help_command(words)
    if help_of_words is None:
        assert command.needs or words[0] in ("tox", "pip") or words[1].startswith("-"), command
        return
    text = help_of(*help_of_words)
    for option in (word.partition("=")[0] for word in words if word.startswith("--") and word != "--"):
        assert option in text, f"{command}: {option}"


@pytest.fixture
def desk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with what the pages' commands name: runs under `results`, and nothing else."""
    for name in ("RUN", "HEAD", "BASE"):
        builders.write_run(tmp_path / "results" / name, builders.turns(12))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("command", [one for one in COMMANDS if not one.needs], ids=str)
def test_every_command_that_needs_nothing_runs(command: Command, desk: Path) -> None:
    """Blocks that are not marked with what they need run as they stand."""
    words = command.words
    if words[0] == "turngap":
        words = [*child.python_command("turngap"), *words[1:]]
    elif words[:2] == ["python", "-m"]:
        words = child.python_command(*words[2:])
    else:
        pytest.fail(f"{command}: say what it needs in a line `<!-- needs: ... -->` before the block")
    done = subprocess.run(words, cwd=desk, capture_output=True, text=True, timeout=120, check=False)
    assert done.returncode == 0, done.stderr


def test_the_architecture_names_modules_that_exist() -> None:
    """Each path in its tables is a file below one of the packages, or in `verdict/comparison/`, which one row names."""
    text = (ROOT / "docs" / "architecture.md").read_text("utf-8")
    below = [
        ROOT,
        ROOT / "harness/turngap",
        ROOT / "pipeline/turngap_agent",
        ROOT / "harness/turngap/verdict/comparison",
    ]
    names = set(re.findall(r"`([\w/]+\.py)`", text))
    assert len(names) > 30
    assert sorted(name for name in names if not any((folder / name).is_file() for folder in below)) == []


def test_every_test_that_a_page_names_exists() -> None:
    """A promise is as good as its test: `tests/…::test_…` is a function of that file."""
    named = {
        (page, match[1], match[2])
        for page in PAGES
        for match in re.finditer(r"`(tests/[\w/]+\.py)::(\w+)`", (ROOT / page).read_text("utf-8"))
    }
    assert len(named) > 5
    for page, file, name in named:
        assert (ROOT / file).is_file(), f"{page}: {file}"
        assert re.search(rf"^(async )?def {name}\(", (ROOT / file).read_text("utf-8"), re.MULTILINE), f"{page}: {name}"
