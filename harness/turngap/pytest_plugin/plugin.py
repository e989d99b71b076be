"""`pytest --benchmark`: scenario files as tests, gated by turngap, with pytest-benchmark's tables and storage.

`*.scenario.yaml` files are collected; without `--benchmark` they are skipped and say so. With it each is one run of the
agent: PASS and MEASURED pass; FAIL, NOT SHOWN and INVALID fail with their reasons. Measured gaps go into
pytest-benchmark; the budget gate stays ours. Every pytest session loads this module: what a run needs is imported when
there is one.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Generator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from turngap.pytest_plugin.settings import OPTIONS, find_baselines, is_enabled, read_settings, refuse_empty_session

if TYPE_CHECKING:
    from turngap.pytest_plugin.fixture import Turngap

SUFFIX = ".scenario.yaml"
"""`turngap.scenario.SUFFIX`, which would cost every session the import of pydantic."""
GROUP = "turn gap"
MEASURED = pytest.StashKey[list[str]]()
"""One line a run, for the summary."""
PROBLEMS = pytest.StashKey[list[str]]()
"""Why a session that seemed to succeed did not."""
TIMER = pytest.StashKey[Any]()
"""The `ReplayTimer` of a test that measures."""
PASSED = pytest.StashKey[bool]()
_FIXTURE = "turngap"


def pytest_addoption(parser: pytest.Parser) -> None:
    """`--benchmark`, `--profile`, `--agent-url`, `--budget`, `--turns`, `--all-turns`; an ini option for each value."""
    group = parser.getgroup("turngap", "turngap: how long callers wait for a voice agent")
    group.addoption(
        "--benchmark", action="store_true", dest="turngap_benchmark", help="place the calls of scenario files and gate"
    )
    for name, text in OPTIONS.items():
        group.addoption(f"--{name.replace('_', '-')}", dest=f"turngap_{name}", default=None, help=text)
        parser.addini(f"turngap_{name}", text, default="")
    group.addoption(
        "--all-turns",
        action="store_true",
        dest="turngap_all_turns",
        help="call all turns of a gate, even once its verdict is decided",
    )
    parser.addini("turngap_out", "folder for run folders, from the root folder (default: results)", default="results")


def pytest_configure(config: pytest.Config) -> None:
    """Prepare what the summary prints."""
    config.stash[MEASURED] = []
    config.stash[PROBLEMS] = []


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Refuse a session that would measure nothing and still succeed, and invalid options.

    Raises:
        pytest.UsageError: `--benchmark` with either.
    """
    if is_enabled(session.config):
        refuse_empty_session(session.config)
        read_settings(session.config)


def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> pytest.Collector | None:
    """Collect a scenario file as a test."""
    if file_path.name.endswith(SUFFIX):
        collector: pytest.Collector = ScenarioFile.from_parent(parent, path=file_path)
        return collector
    return None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Without `--benchmark`, skip what measures; with it, hand each such test the timer that replays its gaps."""
    for item in filter(_measures, items):
        if not is_enabled(config):
            item.add_marker(pytest.mark.skip(reason="measures a voice agent: give --benchmark"))
            continue
        from turngap.pytest_plugin.fixture import ReplayTimer

        timer = item.stash[TIMER] = ReplayTimer()
        own = item.get_closest_marker("benchmark")
        options = {"group": GROUP} | (dict(own.kwargs) if own is not None else {}) | {"timer": timer}
        item.add_marker(pytest.mark.benchmark(**options), append=False)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Refuse to measure nothing, once every deselection is done.

    Raises:
        pytest.UsageError: `--benchmark` and nothing that measures was collected; or no collected
            scenario can be judged by the given budget.
    """
    config = session.config
    if not is_enabled(config) or config.getoption("collectonly"):
        return
    measuring = list(filter(_measures, session.items))
    if not measuring and not session.testsfailed:  # a file that could not be collected has been named by then
        raise pytest.UsageError(
            f"--benchmark: nothing that measures was collected; name a *{SUFFIX} file or its folder"
        )
    judged = [item for item in measuring if not isinstance(item, ScenarioTest) or item.gate]
    if config.getoption("turngap_budget") and not judged:
        raise pytest.UsageError(
            f"--budget {config.getoption('turngap_budget')}: none of the collected scenarios can be judged (they have "
            "no `gate: true`); add scenarios/gate.scenario.yaml, or drop --budget"
        )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Record whether a measuring test passed, for the end of its fixture."""
    report = yield
    if call.when == "call" and TIMER in item.stash:
        item.stash[PASSED] = report.passed
    return report


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int | pytest.ExitCode) -> Generator[None]:
    """Fail a session that should have measured or compared, and did not, for example because all was skipped."""
    config = session.config
    if not is_enabled(config):
        return (yield)
    if exitstatus == pytest.ExitCode.OK and not config.getoption("collectonly"):
        config.stash[PROBLEMS].extend(_find_problems(session))
        if config.stash[PROBLEMS]:
            session.exitstatus = pytest.ExitCode.USAGE_ERROR
    with warnings.catch_warnings():
        # Under `-W error` this would be a traceback instead of the reason why nothing could be stored.
        warnings.filterwarnings("ignore", "Not saving anything, no benchmarks have been run!")
        return (yield)


@pytest.hookimpl(tryfirst=True)
def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """The verdicts, and where the reports are; before pytest-benchmark's tables, where a regression raises."""
    if config.stash[MEASURED] or config.stash[PROBLEMS]:
        terminalreporter.section("turngap")
        for line in config.stash[MEASURED]:
            terminalreporter.write_line(line)
        for line in config.stash[PROBLEMS]:
            terminalreporter.write_line(f"ERROR: {line}", red=True)


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_json(config: pytest.Config, benchmarks: object, output_json: dict[str, Any]) -> None:
    """Add p95 and its bound, in seconds like the rest, to the stored statistics."""
    if not is_enabled(config):
        return
    for stored in output_json["benchmarks"]:
        for key in ("p95", "p95_upper"):
            value_ms = stored.get("extra_info", {}).get(f"{key}_ms")
            if value_ms is not None and math.isfinite(value_ms):
                stored["stats"][key] = value_ms / 1e3


@pytest.hookimpl(optionalhook=True)
def pytest_benchmark_update_machine_info(config: pytest.Config, machine_info: dict[str, Any]) -> None:
    """Add the GPU, or the reason why there is none: runs of different cards don't compare."""
    if not is_enabled(config):
        return
    from turngap.processes.gpu import Gpus

    gpus = Gpus.open()
    machine_info["gpu"] = [gpu.name for gpu in gpus.devices()] or gpus.reason
    gpus.close()


@pytest.fixture
def turngap(request: pytest.FixtureRequest, benchmark: Any) -> Generator[Turngap]:
    """Measures scenarios from Python: `turngap.run(...)`, and `await turngap.arun(...)` in async tests."""
    config = request.config
    if TIMER not in request.node.stash:
        benchmark.skipped = True
        if not is_enabled(config):
            pytest.skip("measures a voice agent: give --benchmark")
        raise pytest.UsageError(f"{request.node.nodeid}: name `turngap` among the test's arguments, or its fixtures'")
    from turngap.pytest_plugin.fixture import Turngap

    fixture = Turngap(read_settings(config), benchmark, request.node.stash[TIMER], request.node)
    yield fixture
    config.stash[MEASURED].extend(fixture.lines)
    if not fixture.replayed:
        benchmark.skipped = True  # else pytest-benchmark warns that it was not used, on top of what went wrong
    if not fixture.lines and request.node.stash.get(PASSED, False):
        pytest.fail("the `turngap` fixture was not used: nothing was measured", pytrace=False)


class ScenarioFile(pytest.File):
    """A scenario file: one test, named after the scenario."""

    def collect(self) -> Generator[pytest.Item]:
        """Read it, so that a malformed one is a collection error, never a silent nothing.

        Raises:
            CollectError: (pytest's) what is wrong, with file and line.
        """
        from turngap_agent.errors import ScenarioError

        from turngap import scenario

        try:
            loaded = scenario.load_scenario_file(self.path)
        except ScenarioError as error:
            raise self.CollectError(str(error)) from None

        def measure(turngap: Turngap) -> None:
            turngap.run(self.path)

        test = ScenarioTest.from_parent(self, name=loaded.name, callobj=measure)
        test.gate = loaded.gate
        yield test


class ScenarioTest(pytest.Function):
    """One scenario's run."""

    gate = False
    """True where a budget can be judged on it."""

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException]) -> Any:  # type: ignore[override]
        """Show an error of turngap as its one line: a traceback is for bugs."""
        from turngap_agent.errors import TurngapError

        if isinstance(excinfo.value, TurngapError):
            return f"turngap: {excinfo.value or 'the models could not be fetched; see what was printed'}"
        return super().repr_failure(excinfo)

    def reportinfo(self) -> tuple[Path, int, str]:
        """Return the file and the name of the scenario."""
        return self.path, 0, f"scenario: {self.name}"


def _find_problems(session: pytest.Session) -> list[str]:
    """Return why a session without failed tests measured or compared nothing; empty if it did."""
    config = session.config
    if not config.stash[MEASURED]:
        return ["--benchmark was given, and no run was made"]
    baseline_runs = find_baselines(config)
    if not config.getoption("benchmark_compare_fail", None) or baseline_runs is None:
        return []
    names = {name for benchmarks in baseline_runs.values() for name in benchmarks}
    return [
        f"--benchmark-compare-fail: no stored run has {item.nodeid}, so it was compared with nothing"
        for item in session.items
        if TIMER in item.stash and item.nodeid not in names
    ]


def _measures(item: pytest.Item) -> bool:
    return _FIXTURE in getattr(item, "fixturenames", ())
