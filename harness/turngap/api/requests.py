"""What the functions of the API take: the agent under test, and arguments that are checked and become requests."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self, TypeVar

from pydantic import ValidationError
from turngap_agent.errors import UsageError
from turngap_agent.profile import Profile

from turngap.api.folders import find_run
from turngap.api.results import Run
from turngap.model.span_mapping import SpanMapping
from turngap.network import NetworkProfile
from turngap.scenario import Scenario
from turngap.session import plan
from turngap.session.request import Options, Request
from turngap.session.run_documents import DEFAULT_PROFILE, DEFAULT_SCENARIO
from turngap.sweeps import grid
from turngap.sweeps.grid import Setting
from turngap.verdict.budget import Budget

Item = TypeVar("Item")


@dataclass(frozen=True, slots=True, kw_only=True)
class Agent:
    """The agent under test; made by `Agent.profile` or `Agent.url`."""

    source: Profile | Path | str | None = None
    """The profile of an agent that is started for the run; None where it runs already."""
    overrides: tuple[str, ...] = ()
    """Changes of the profile, `section.key=value`."""
    address: str | None = None
    """The WebSocket or SIP URL of an agent that runs already, or the http:// or https:// URL of its webhook."""
    dialect: str | None = None
    """The wire format that it speaks, such as `telnyx`; None: Twilio's, or what its webhook answers."""
    inject: tuple[str, ...] = ()
    """Delays put into its stages, `STAGE=MS`."""
    nice: int = 0
    otlp_port: int = 0
    spans: SpanMapping | Path | str | None = None
    """What the spans of an agent of another framework mean: `pipecat`, `livekit`, or a mapping file."""

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
    def url(
        cls, url: str, *, otlp_port: int = 0, dialect: str | None = None, spans: SpanMapping | Path | str | None = None
    ) -> Self:
        """An agent that runs already, at `ws://HOST:PORT/PATH`, `wss://...` or `sip:USER@HOST`, or whose webhook is at
        `http(s)://...`.

        `dialect` is twilio, telnyx, plivo, vonage or vonage-8khz; by default Twilio's, or what the webhook answers.

        If it sends OpenTelemetry spans, they are received at `http://127.0.0.1:<otlp_port>`; 0 is a free port. `spans`
        says what those of another framework mean: `pipecat`, `livekit`, or a mapping file.
        """
        return cls(address=url, otlp_port=otlp_port, dialect=dialect, spans=spans)


def make_request(
    scenario: Scenario | Path | str = DEFAULT_SCENARIO,
    *,
    agent: Agent | Profile | Path | str | None = None,
    budget: Budget | Path | str | None = None,
    turns: int | None = None,
    networks: Sequence[NetworkProfile | Path | str] = (),
    seed: int | None = None,
    out: Path | str = "results",
    all_turns: bool = False,
    trace_worst: int = 0,
    ray: str = "",
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
        networks=_check_list(networks, "networks"),
        spans=subject.spans,
        options=Options(
            seed,
            turns,
            Path(out),
            subject.inject,
            subject.otlp_port,
            subject.nice,
            dialect=subject.dialect,
            all_turns=all_turns,
            trace_worst=trace_worst,
            ray=ray,
        ),
    )


def resume_request(run: Run | Path | str, *, otlp_port: int = 0, ray: str = "") -> Request:
    """Return the missing calls of an interrupted run as a plan.

    Raises:
        RunFolderError: it is no run, complete, being written, or its scenario has changed.
    """
    return plan.plan_resumed_run(
        run.path if isinstance(run, Run) else find_run(run), Options(otlp_port=otlp_port, ray=ray)
    )


def sweep_settings(
    values: Mapping[str, Sequence[object]] | Sequence[str],
    steps: Mapping[str, Mapping[str, object] | Sequence[str]] | Path | str | None,
) -> tuple[Setting, ...]:
    """Return the settings of a sweep: `steps` if there are any, else every combination of `values`.

    Raises:
        UsageError: (or a subclass) they are malformed.
    """
    if isinstance(steps, Mapping):
        named_steps = tuple(_make_step(name, changes) for name, changes in steps.items())
        return grid.name_settings(named_steps, "steps") if named_steps else grid.combine_values(())
    if steps is not None:
        return grid.load_steps(Path(steps))
    if isinstance(values, Mapping):
        return grid.combine_values(
            [
                f"{key}={','.join(map(_format_value, _check_list(several, f'set[{key!r}]')))}"
                for key, several in values.items()
            ]
        )
    return grid.combine_values(_check_list(values, "set"))


def _make_step(name: str, changes: Mapping[str, object] | Sequence[str]) -> grid.Step:
    overrides = _format_overrides(changes, f"steps[{name!r}]")
    try:
        return grid.Step(name=name, set=overrides)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"steps[{name!r}]: `{first['loc'][0]}`: {first['msg']}") from None


def _format_overrides(changes: Mapping[str, object] | Sequence[str], argument: str = "set") -> tuple[str, ...]:
    if isinstance(changes, Mapping):
        return tuple(f"{key}={_format_value(value)}" for key, value in changes.items())
    return tuple(_check_list(changes, argument))


def _format_value(value: object) -> str:
    """Return the value as an override states it; a path is its text."""
    return json.dumps(value, default=str)


def _format_delays(inject: Mapping[str, float] | Sequence[str]) -> tuple[str, ...]:
    if not isinstance(inject, Mapping):
        return tuple(_check_list(inject, "inject"))
    numbers = {stage: int(ms) if isinstance(ms, float) and ms.is_integer() else ms for stage, ms in inject.items()}
    return tuple(f"{stage}={number}" for stage, number in numbers.items())


def _check_list(values: Sequence[Item], argument: str) -> Sequence[Item]:
    """Return `values`, unless they are a single value: the characters of a text would be taken for values.

    Raises:
        UsageError: they are.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise UsageError(f"{argument}: expected a list, not the single value {values!r}: write [{values!r}]")
    return values
