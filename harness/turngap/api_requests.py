"""What the functions of the API take: the agent under test, and arguments that are checked and become requests."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from turngap_agent.profile import Profile

from turngap.api_results import Run, find_run
from turngap.network import NetworkProfile
from turngap.scenario import Scenario
from turngap.session import plan
from turngap.session.plan import Options, Request
from turngap.session.run_documents import DEFAULT_PROFILE, DEFAULT_SCENARIO
from turngap.sweeps import grid
from turngap.sweeps.grid import Setting
from turngap.verdict.budget import Budget


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """The agent under test; made by `Agent.profile` or `Agent.url`."""

    source: Profile | Path | str | None = None
    """The profile of an agent that is started for the run; None where it runs already."""
    overrides: tuple[str, ...] = ()
    """Changes of the profile, `section.key=value`."""
    address: str | None = None
    """The WebSocket URL of an agent that runs already."""
    inject: tuple[str, ...] = ()
    """Delays put into its stages, `STAGE=MS`."""
    nice: int = 0
    otlp_port: int = 0

    @classmethod
    def profile(
        cls,
        profile: Profile | Path | str = DEFAULT_PROFILE,
        *,
        set: Mapping[str, object] | Sequence[str] = (),  # as the option of the command line
        inject: Mapping[str, float] | Sequence[str] = (),
        nice: int = 0,
        otlp_port: int = 0,
    ) -> Self:
        """An agent that is started for the run, from a profile.

        `set` changes the profile: values by their dotted key, or `section.key=value` each. `inject` delays stages by so
        many ms. `nice` is the niceness of its process. Its spans are received at `otlp_port`, 0 for a free one.
        """
        return cls(
            source=profile,
            overrides=_format_overrides(set),
            inject=_format_delays(inject),
            nice=nice,
            otlp_port=otlp_port,
        )

    @classmethod
    def url(cls, url: str, *, otlp_port: int = 0) -> Self:
        """An agent that runs already, at `ws://HOST:PORT/PATH` or `wss://...`.

        If it sends OpenTelemetry spans, they are received at `http://127.0.0.1:<otlp_port>`; 0 is a free port.
        """
        return cls(address=url, otlp_port=otlp_port)


def make_request(
    scenario: Scenario | Path | str = DEFAULT_SCENARIO,
    *,
    agent: Agent | Profile | Path | str | None = None,
    budget: Budget | Path | str | None = None,
    turns: int | None = None,
    networks: Sequence[NetworkProfile | Path | str] = (),
    seed: int | None = None,
    out: Path | str = "results",
) -> Request:
    """Check everything that `run` takes, and return it as the plan of a run.

    Raises:
        UsageError: (or a subclass) something does not fit.
    """
    subject = agent if isinstance(agent, Agent) else Agent(source=agent)
    return plan.plan_run(
        scenario,
        profile=subject.source,
        overrides=subject.overrides,
        url=subject.address,
        budget=budget,
        networks=networks,
        options=Options(seed, turns, Path(out), subject.inject, subject.otlp_port, subject.nice),
    )


def resume_request(run: Run | Path | str, *, otlp_port: int = 0) -> Request:
    """Return the missing calls of an interrupted run as a plan.

    Raises:
        RunFolderError: it is no run, complete, being written, or its scenario has changed.
    """
    return plan.plan_resumed_run(run.path if isinstance(run, Run) else find_run(run), Options(otlp_port=otlp_port))


def sweep_settings(
    values: Mapping[str, Sequence[object]] | Sequence[str],
    steps: Mapping[str, Mapping[str, object] | Sequence[str]] | Path | str | None,
) -> tuple[Setting, ...]:
    """Return the settings of a sweep: `steps` if there are any, else every combination of `values`.

    Raises:
        UsageError: (or a subclass) they are malformed.
    """
    if isinstance(steps, Mapping):
        named_steps = tuple(grid.Step(name=name, set=_format_overrides(changes)) for name, changes in steps.items())
        return grid.name_settings(named_steps, "steps") if named_steps else grid.combine_values(())
    if steps is not None:
        return grid.load_steps(Path(steps))
    if isinstance(values, Mapping):
        return grid.combine_values([f"{key}={','.join(map(json.dumps, several))}" for key, several in values.items()])
    return grid.combine_values(values)


def _format_overrides(changes: Mapping[str, object] | Sequence[str]) -> tuple[str, ...]:
    if isinstance(changes, Mapping):
        return tuple(f"{key}={json.dumps(value)}" for key, value in changes.items())
    return tuple(changes)


def _format_delays(inject: Mapping[str, float] | Sequence[str]) -> tuple[str, ...]:
    if isinstance(inject, Mapping):
        return tuple(f"{stage}={delay_ms:g}" for stage, delay_ms in inject.items())
    return tuple(inject)
