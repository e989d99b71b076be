"""The options of the pytest plugin, on the command line and in the ini file, checked before anything is collected.

A session that would measure nothing and still succeed is refused here, as a usage error.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import pytest

OPTIONS = {
    "profile": "agent to start: the name of a profile or a .yaml file (default: cpu)",
    "agent_url": "measure an agent that runs already: ws://HOST:PORT/PATH",
    "budget": "judge gate scenarios by this budget: sub500, edge500 or a .yaml file (default: sub500)",
    "turns": "turns to score, instead of the whole scenario",
}
"""Each is `--name` on the command line and `turngap_name` in the ini file."""


@dataclass(frozen=True, slots=True)
class Settings:
    """The options; None where one is not set."""

    profile: str | None
    url: str | None
    budget: str | None
    turns: int | None
    all_turns: bool
    """Call all turns, even once the verdict is decided."""
    out: Path
    """Where run folders go."""


def is_enabled(config: pytest.Config) -> bool:
    """Return True with `--benchmark`."""
    return bool(config.getoption("turngap_benchmark"))


def read_settings(config: pytest.Config) -> Settings:
    """Return the options: the command line overrides the ini file, and its agent of either kind replaces the other.

    Raises:
        pytest.UsageError: an option is not a number, unknown or malformed.
    """
    line = {name: config.getoption(f"turngap_{name}") for name in OPTIONS}
    ini = {name: config.getini(f"turngap_{name}") or None for name in OPTIONS}
    if line["profile"] or line["agent_url"]:
        ini |= {"profile": None, "agent_url": None}
    values = {name: line[name] or _in_root(config, ini[name]) for name in OPTIONS}
    if values["profile"] and values["agent_url"]:
        raise pytest.UsageError(
            "--agent-url measures an agent that runs already: drop --profile (or their ini options)"
        )
    options = Settings(
        profile=values["profile"],
        url=values["agent_url"],
        budget=values["budget"],
        turns=_whole_number(line["turns"] if line["turns"] is not None else ini["turns"]),
        all_turns=bool(config.getoption("turngap_all_turns")),
        out=config.rootpath / config.getini("turngap_out"),
    )
    _check(options)
    return options


def refuse_empty_session(config: pytest.Config) -> None:
    """Check the options of pytest and other plugins.

    Raises:
        pytest.UsageError: pytest-benchmark is absent, disabled or skipped, tests are distributed or repeated, or a
            comparison compares nothing.
    """
    if not config.pluginmanager.hasplugin("benchmark"):
        raise pytest.UsageError("--benchmark needs pytest-benchmark: pip install 'turngap[pytest]'")
    if _is_distributed(config):
        raise pytest.UsageError("--benchmark measures nothing under xdist: drop -n and --dist, or add -p no:xdist")
    disabled = config.getoption("benchmark_disable", False) and not config.getoption("benchmark_enable", False)
    for option, on in (("disable", disabled), ("skip", config.getoption("benchmark_skip", False))):
        if on:
            raise pytest.UsageError(f"--benchmark together with --benchmark-{option} measures nothing: drop one")
    if config.getoption("reruns", None):
        raise pytest.UsageError("--benchmark with --reruns repeats a gate until it passes: drop --reruns")
    arguments = [argument.partition("=")[0] for argument in config.invocation_params.args]
    if arguments.count("--benchmark-compare-fail") > 1:
        raise pytest.UsageError("--benchmark-compare-fail given twice keeps only the last: give all limits after one")
    pinned = config.getoption("benchmark_compare", None)
    if isinstance(pinned, str) and find_baselines(config) == {}:
        raise pytest.UsageError(f"--benchmark-compare={pinned}: no stored run matches, so nothing would be compared")


def find_baselines(config: pytest.Config) -> dict[str, dict[str, object]] | None:
    """Return the stored benchmarks to compare with, by file and full name; None where pytest-benchmark has none."""
    compared = getattr(getattr(config, "_benchmarksession", None), "compared_mapping", None)
    return compared if isinstance(compared, dict) else None


def _is_distributed(config: pytest.Config) -> bool:
    return (
        hasattr(config, "workerinput")
        or "PYTEST_XDIST_WORKER" in os.environ
        or bool(config.getoption("numprocesses", None) or config.getoption("tx", None))
        or config.getoption("dist", "no") != "no"
    )


def _in_root(config: pytest.Config, value: str | None) -> str | None:
    """Return a file of the ini file relative to the root folder, wherever pytest was started."""
    if value is not None and value.endswith((".yaml", ".yml")):
        return str(config.rootpath / value)
    return value


def _whole_number(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        number = int(text)
    except ValueError:
        number = 0
    if number < 1:
        raise pytest.UsageError(f"--turns {text}: a whole number is needed, at least 1")
    return number


def _check(options: Settings) -> None:
    """Check now what every run would check.

    Raises:
        pytest.UsageError: profile, budget or URL are unknown or malformed.
    """
    from turngap_agent import profile
    from turngap_agent.errors import UsageError

    from turngap.processes import agent
    from turngap.verdict import budget

    try:
        if options.profile is not None:
            profile.load(options.profile)
        if options.budget is not None:
            budget.load_budget(options.budget)
        if options.url is not None:
            agent.check_url(options.url)
    except UsageError as error:
        raise pytest.UsageError(str(error).replace("--url", "--agent-url", 1)) from None
