"""The two rooms and the one door: who may import whom, and who may ask for the time."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
DOOR = ("telephony", "tracing", "profile", "documents", "files", "errors", "command_line")
CLOCK_READINGS = {"time", "time_ns", "monotonic", "monotonic_ns", "perf_counter", "perf_counter_ns"}


FOLDERS = {"turngap": "harness", "turngap_agent": "pipeline"}


def modules(package: str) -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((ROOT / FOLDERS[package] / package).rglob("*.py")):
        yield path.relative_to(ROOT), ast.parse(path.read_text("utf-8"))


def imported(tree: ast.Module) -> Iterator[str]:
    """Every imported name in full, wherever in the module its import is."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_the_agent_knows_nothing_of_the_instrument() -> None:
    """No module of `turngap_agent` imports `turngap`, so that it can be served alone."""
    pairs = {(str(path), name) for path, tree in modules("turngap_agent") for name in imported(tree)}
    assert len(pairs) > 200
    assert [row for row in sorted(pairs) if row[1].split(".")[0] == "turngap"] == []


def test_the_instrument_imports_only_shared_vocabulary() -> None:
    """Of `turngap_agent` the instrument imports vocabulary, never an engine or what loads one."""
    pairs = {(str(path), name) for path, tree in modules("turngap") for name in imported(tree)}
    ours = [row for row in sorted(pairs) if row[1].split(".")[0] == "turngap_agent"]
    assert len(ours) > 20
    assert [row for row in ours if row[1].split(".")[1] not in DOOR] == []


def test_only_the_clock_asks_for_the_time() -> None:
    """The instrument's clock is injected: nothing beside `harness/turngap/clock.py` reads one."""
    readings = [
        (str(path), node.lineno)
        for path, tree in modules("turngap")
        for node in ast.walk(tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and isinstance(node.func.value, ast.Name)
        and node.func.value.id == "time"
        and node.func.attr in CLOCK_READINGS
    ]
    assert readings
    assert {path for path, _ in readings} == {"harness/turngap/clock.py"}


def test_every_module_has_a_docstring() -> None:
    """The first line of each module is a sentence about it."""
    for package in ("turngap", "turngap_agent"):
        for path, tree in modules(package):
            assert (ast.get_docstring(tree) or "").strip(), path


def test_packages_import_one_another_in_one_direction() -> None:
    """A package that is imported by another, however far round, does not import it."""
    for root in ("turngap", "turngap_agent"):
        uses: dict[str, set[str]] = {}
        for path, tree in modules(root):
            own = package_of(".".join(path.with_suffix("").parts[1:]))
            packages = {package_of(name) for name in imported(tree) if name.startswith(f"{root}.")}
            uses.setdefault(own, set()).update(packages - {own})
        assert sum(map(len, uses.values())) > 20
        for start in uses:
            assert start not in reached(uses, start), (start, uses[start])


def test_nothing_that_measures_imports_the_command_line() -> None:
    """Only the entry points do: the command itself and the pytest plugin."""
    users = {
        package_of(".".join(path.with_suffix("").parts[1:]))
        for path, tree in modules("turngap")
        for name in imported(tree)
        if package_of(name) == "turngap.cli"
    }
    assert {"turngap.cli"} < users <= {"turngap.cli", "turngap.__main__", "turngap.pytest_plugin"}


def package_of(name: str) -> str:
    """The first two parts of a module's full name: a package of the root, or a module directly in it."""
    return ".".join(name.split(".")[:2])


def reached(uses: dict[str, set[str]], start: str) -> set[str]:
    """All that `start` imports, however far round."""
    names: set[str] = set()
    left = set(uses[start])
    while left:
        one = left.pop()
        if one not in names:
            names.add(one)
            left |= uses.get(one, set())
    return names


def test_imports_written_in_strings_exist() -> None:
    """Programs that tests start as text import names that are there: neither linter nor type checker sees them."""
    n_names = 0
    for path in sorted((ROOT / "tests").rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if not (isinstance(node, ast.Constant) and isinstance(node.value, str)):
                continue
            for module, names in re.findall(r"\bfrom (turngap[\w.]*) import (\w+(?:, \w+)*)", node.value):
                for name in names.split(", "):
                    try:
                        imported_module = importlib.import_module(module)
                        if not hasattr(imported_module, name):
                            importlib.import_module(f"{module}.{name}")
                    except ModuleNotFoundError as error:
                        if error.name != "torch":  # of an extra that is not installed here
                            raise
                    n_names += 1
    assert n_names > 5
