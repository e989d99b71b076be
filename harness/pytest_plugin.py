"""`pytest --benchmark`: scenario files as tests, gated by turngap, with pytest-benchmark's tables and storage.

`*.scenario.yaml` files are collected; without `--benchmark` they are skipped and say so. With it each is one run of the
agent: PASS and MEASURED pass, FAIL and INVALID fail with their reasons. Measured gaps go into pytest-benchmark; the
budget gate stays ours. Whatever would make pytest measure nothing and stay green is refused before it starts.
"""

from __future__ import annotations

from collections.abc import Generator
from pathlib import Path
from typing import Any

import pytest

from harness import scenario as scenarios
from harness.pytest_fixture import TIMER, ReplayTimer, Settings, Turngap
from pipeline.errors import ScenarioError, TurngapError

MEASURED = pytest.StashKey[list[str]]()
"""One line a run, for the summary."""
_OPTIONS = {
    "profile": "agent to start: the name of a profile or a .yaml file (default: cpu)",
    "agent_url": "measure an agent that runs already: ws://HOST:PORT/PATH",
    "budget": "judge gate scenarios by this budget: sub500, edge500 or a .yaml file (default: sub500)",
    "turns": "turns to score, in place of the whole scenario",
}
_FIXTURE = "turngap"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--benchmark`, `--profile`, `--agent-url`, `--budget`, `--turns`, and an ini option for each value."""
    group = parser.getgroup("turngap", "turngap: how long callers wait for a voice agent")
    group.addoption(
        "--benchmark", action="store_true", dest="turngap_benchmark", help="place the calls of scenario files and gate"
    )
    for name, text in _OPTIONS.items():
        group.addoption(f"--{name.replace('_', '-')}", dest=f"turngap_{name}", default=None, help=text)
        parser.addini(f"turngap_{name}", text, default="")
    parser.addini("turngap_out", "folder for run folders (default: results)", default="results")


def pytest_configure(config: pytest.Config) -> None:
    """Collect what the summary says."""
    config.stash[MEASURED] = []


def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse what would measure nothing and stay green.

    Raises:
        pytest.UsageError: `--benchmark` with pytest-benchmark absent, disabled or skipped, or under xdist.
    """
    config = session.config
    if not config.getoption("turngap_benchmark"):
        return
    if not config.pluginmanager.hasplugin("benchmark"):
        raise pytest.UsageError("--benchmark needs pytest-benchmark: pip install 'turngap[pytest]'")
    if hasattr(config, "workerinput") or config.getoption("numprocesses", None) or config.getoption("tx", None):
        raise pytest.UsageError("--benchmark measures nothing under xdist: drop -n (and add -p no:xdist in CI)")
    for option in ("disable", "skip"):
        if config.getoption(f"benchmark_{option}", False):
            raise pytest.UsageError(f"--benchmark together with --benchmark-{option} measures nothing: drop one")


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """A scenario file is a test."""
    if file_path.name.endswith(scenarios.SUFFIX):
        collector: pytest.Collector = ScenarioFile.from_parent(parent, path=file_path)
        return collector
    return None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without `--benchmark`, skip what measures; with it, hand each such test the timer that replays its gaps.

    Raises:
        pytest.UsageError: `--benchmark`, and nothing that was collected measures.
    """
    measuring = [item for item in items if _FIXTURE in getattr(item, "fixturenames", ())]
    if not config.getoption("turngap_benchmark"):
        for item in measuring:
            item.add_marker(pytest.mark.skip(reason="measures a voice agent: give --benchmark"))
        return
    if not measuring and not config.getoption("collectonly"):
        raise pytest.UsageError(
            f"--benchmark: nothing that measures was collected; name a *{scenarios.SUFFIX} file or its folder"
        )
    for item in measuring:
        item.stash[TIMER] = ReplayTimer()
        item.add_marker(pytest.mark.benchmark(timer=item.stash[TIMER], group="turn gap"))


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The verdicts, and where the reports are."""
    if config.stash[MEASURED]:
        terminalreporter.section("turngap")
        for line in config.stash[MEASURED]:
            terminalreporter.write_line(line)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, benchmarks: object, output_json: dict[str, Any]) -> None:
    """Add p95 and its bound, in seconds like the rest, to the stored statistics."""
    for stored in output_json["benchmarks"]:
        for key in ("p95", "p95_upper"):
            value_ms = stored.get("extra_info", {}).get(f"{key}_ms")
            if value_ms is not None:
                stored["stats"][key] = value_ms / 1e3


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Add the GPU, or the reason why there is none: runs of different cards don't compare."""
    from harness.gpu import Gpus

    gpus = Gpus.open()
    machine_info["gpu"] = [gpu.name for gpu in gpus.devices()] or gpus.reason
    gpus.close()


@pytest.fixture
def turngap(request: pytest.FixtureRequest) -> Generator[Turngap]:
    """Measures scenarios from Python: `turngap.run(...)`, and `await turngap.arun(...)` in async tests."""
    config = request.config
    given = {name: config.getoption(f"turngap_{name}") or config.getini(f"turngap_{name}") or None for name in _OPTIONS}
    try:
        turns = int(given["turns"]) if given["turns"] is not None else None
    except ValueError:
        raise pytest.UsageError(f"--turns {given['turns']!r}: a whole number is needed") from None
    settings = Settings(
        profile=given["profile"],
        url=given["agent_url"],
        budget=given["budget"],
        turns=turns,
        out=config.rootpath / config.getini("turngap_out"),
    )
    fixture = Turngap(settings, request.getfixturevalue("benchmark"), request.node.stash[TIMER])
    yield fixture
    config.stash[MEASURED].extend(fixture.lines)
    if not fixture.lines:
        pytest.fail("the `turngap` fixture was not used: nothing was measured", pytrace=False)


class ScenarioFile(pytest.File):
    """A scenario file: one test, named after the scenario."""

    def collect(self) -> Generator[pytest.Item]:
        """Read it, so that a malformed one is a collection error, never a silent nothing.

        Raises:
            CollectError: (pytest's) what is wrong, with file and line.
        """
        try:
            read = scenarios.load(self.path)
        except ScenarioError as fault:
            raise self.CollectError(str(fault)) from None

        def measure(turngap: Turngap) -> None:
            turngap.run(self.path)

        yield ScenarioTest.from_parent(self, name=read.name, callobj=measure)


class ScenarioTest(pytest.Function):
    """One scenario's run."""

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:  # type: ignore[override]
        """A fault is its one line; a traceback is for bugs. (`Function` narrows the signature of its base as well.)"""
        if isinstance(excinfo.value, TurngapError):
            return f"turngap: {excinfo.value}"
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Where it stands."""
        return self.path, 0, f"scenario: {self.name}"
