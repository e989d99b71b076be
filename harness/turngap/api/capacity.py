"""How many calls an agent holds: `turngap.measure_capacity`, and what the command `turngap capacity` calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

from turngap_agent.errors import TurngapError
from turngap_agent.profile import Profile

from turngap.api.execution import follow_progress, refuse_in_event_loop
from turngap.api.folders import find_report_path, find_run
from turngap.api.requests import Agent
from turngap.api.results import Run
from turngap.capacity import folder, page, running, shapes
from turngap.capacity.folder import CapacityRecord, is_capacity
from turngap.capacity.plan import SCENARIO, CapacityRequest, plan_capacity
from turngap.capacity.shapes import LoadShape
from turngap.clock import SystemClock
from turngap.cluster import run as cluster_run
from turngap.corpus import clips
from turngap.scenario import Scenario
from turngap.session import preparation, runner
from turngap.session.interruption import run_interruptible
from turngap.session.request import Options
from turngap.session.runner import ProgressDisplay
from turngap.store import folder as store
from turngap.verdict.budget import Budget

if TYPE_CHECKING:
    import pandas as pd

__all__ = [
    "Capacity",
    "execute",
    "is_capacity",
    "load_capacity",
    "make_capacity_request",
    "measure_capacity",
]


class Capacity:
    """A capacity run: its points, each with a run of its own."""

    def __init__(self, capacity: Path | str, *, error: TurngapError | None = None, interrupted: bool = False) -> None:
        """Read the capacity run in that folder, a path or its id under `results/`.

        Raises:
            RunFolderError: there is no such capacity run, or its folder is damaged.
        """
        self.path = find_run(capacity, "capacity")
        """Its folder, with a run folder for each point."""
        self.record: CapacityRecord = folder.read_capacity(self.path)
        """`capacity.json`."""
        self.error = error
        """What ended it early, if anything did; known to the process that ran it only."""
        self.interrupted = interrupted
        """True where the user ended it."""

    @cached_property
    def runs(self) -> Mapping[str, Run]:
        """The runs of the points, by the point's name."""
        known = {point.name: self.path / point.slug for point in self.record.points}
        return {name: Run(path) for name, path in known.items() if (path / store.RUN).is_file()}

    @cached_property
    def summary(self) -> pd.DataFrame:
        """One row a point: `load`, `under_way`, `arrivals_per_s`, `turns`, `p50_ms`, `p95_ms`, `p95_upper_ms`, ..."""
        import pandas as pd

        rows = [
            {
                "load": point.load,
                "under_way": point.under_way.mean,
                "arrivals_per_s": point.arrivals_per_s,
                "turns": point.n_turns,
                "p50_ms": point.gap_ms.p50,
                "p95_ms": point.gap_ms.p95,
                "p95_upper_ms": point.gap_ms.p95_upper,
                "refused": point.refused,
                "decision": point.decision.value,
                "saturated": point.saturated,
            }
            for point in self.record.points
        ]
        return pd.DataFrame(rows, index=pd.Index([point.name for point in self.record.points], name="point"))

    def report(self, out: Path | str | None = None, *, beside: Sequence[Capacity | Path | str] = ()) -> Path:
        """Render the HTML report, `beside` others if there are any, and return its file.

        Without `out` it is the file of `find_report_path`.

        Raises:
            UsageError: the others cannot be in one chart with it.
            RunFolderError: one of the others is no capacity run, or damaged.
            HarnessError: the report cannot be written.
        """
        file = find_report_path(self.path) if out is None else Path(out)
        others = [other.path if isinstance(other, Capacity) else find_run(other, "capacity") for other in beside]
        page.write_capacity_page([self.path, *others], file)
        return file

    def __repr__(self) -> str:
        return f"<Capacity {self.record.capacity_id}: {self.record.sentence}>"


def measure_capacity(
    scenario: Scenario | Path | str = SCENARIO,
    *,
    agent: Agent | Profile | Path | str | None = None,
    calls: Sequence[int] | None = None,
    rate: Sequence[float] | None = None,
    search: bool = False,
    most: int | None = None,
    shape: LoadShape | Path | str = shapes.STEADY,
    budget: Budget | Path | str | None = None,
    turns: int | None = None,
    seed: int | None = None,
    out: Path | str = "results",
    goes_on: bool = False,
    callers: int | None = None,
    ray: str = "",
    progress: ProgressDisplay | bool = False,
) -> Capacity:
    """Measure an agent under several loads, or search for the most calls that hold a budget; blocks until it has ended.

    `calls` are calls under way, `rate` calls a second; with `search` the loads follow from what is shown, up to `most`.
    `shape` says how each load changes while it lasts. `goes_on`: higher loads are measured even after one that
    saturates the agent. `callers`: so many processes place the calls, by default one for each hundred at once. With
    `ray` the nodes of that cluster place the calls. The other arguments are those of `run`.

    Raises:
        UsageError: (or a subclass) something that was given does not fit; nothing was started.
        TurngapError: as `run`.
        KeyboardInterrupt: as `run`.
    """
    request = make_capacity_request(
        scenario,
        agent=agent,
        calls=calls,
        rate=rate,
        search=search,
        most=most,
        shape=shape,
        budget=budget,
        turns=turns,
        seed=seed,
        out=out,
        goes_on=goes_on,
        callers=callers,
        ray=ray,
    )
    return execute(request, progress)


def make_capacity_request(
    scenario: Scenario | Path | str = SCENARIO,
    *,
    agent: Agent | Profile | Path | str | None = None,
    calls: str | Sequence[int] | None = None,
    rate: str | Sequence[float] | None = None,
    search: bool = False,
    most: int | None = None,
    shape: LoadShape | Path | str = shapes.STEADY,
    budget: Budget | Path | str | None = None,
    turns: int | None = None,
    seed: int | None = None,
    out: Path | str = "results",
    goes_on: bool = False,
    callers: int | None = None,
    ray: str = "",
) -> CapacityRequest:
    """Check everything that `measure_capacity` takes; loads may also be texts, such as "1,2,4".

    Raises:
        UsageError: (or a subclass) something does not fit.
    """
    subject = agent if isinstance(agent, Agent) else Agent(source=agent)
    return plan_capacity(
        scenario,
        calls=calls,
        rate=rate,
        search=search,
        most=most,
        shape=shape,
        profile=subject.source,
        overrides=subject.overrides,
        url=subject.address,
        spans=subject.spans,
        budget=budget,
        goes_on=goes_on,
        callers=callers,
        options=Options(
            seed, turns, Path(out), subject.inject, subject.otlp_port, subject.nice, dialect=subject.dialect, ray=ray
        ),
    )


def execute(request: CapacityRequest, progress: ProgressDisplay | bool = False) -> Capacity:
    """Do what `request` plans, as `measure_capacity` describes."""
    refuse_in_event_loop("measure_capacity")
    base = request.base
    with (
        cluster_run.connect_nodes(base.options.ray, base.scenario_path) as nodes,
        follow_progress(progress, f"capacity {base.scenario.name}") as listener,
    ):
        if base.profile is not None:
            preparation.fetch_weights(base.profile_data)
        corpus = clips.build_corpus(base.scenario, listener.show_message)
        place = partial(cluster_run.run_session_on_nodes, nodes=nodes) if nodes else runner.run_session
        finished = run_interruptible(
            lambda stop: running.run_capacity(request, corpus, listener, clock=SystemClock(), stop=stop, place=place),
            listener,
        )
    return Capacity(finished.path, error=finished.error, interrupted=finished.interrupted)


def load_capacity(capacity: Path | str) -> Capacity:
    """Read a capacity run from its folder, or by its id under `results/`.

    Raises:
        RunFolderError: there is no such capacity run, or its folder is damaged.
    """
    return Capacity(capacity)
