"""The stopping plan of a run with a budget: fixed before the first call, in `run.json`, the same when it resumes."""

from __future__ import annotations

from typing import Literal

from turngap_agent.documents import FrozenModel


class LimitPlan(FrozenModel):
    """When one limit on a quantile or a rate is decided; `turngap.verdict.plan.Plan` explains the fields."""

    metric: str
    quantile: float
    """With the metric, this identifies the limit in the budget."""
    turns: int | None = None
    """The planned turns that this limit is about; None in older runs, whose plans are for all turns of the run."""
    miss_rate: float
    """The share of turns that the limit allows to be over."""
    false_pass: float
    false_fail: float
    pass_from: tuple[int, ...]
    """By number of turns over: from how many turns on the limit is shown to be met with at most so many."""
    fail_within: tuple[tuple[int, int], ...]
    """(turns over, turns): so many over among the first so many show the limit to be missed."""
    power: float
    """Probability of PASS for an agent with a fifth of `miss_rate`, and ..."""
    mean_turns: float
    """... the mean number of turns that decide it."""


class StoppingPlan(FrozenModel):
    """After which turns a run is decided."""

    kind: Literal["sequential", "fixed"]
    turns: int
    """The planned turns, which are the most."""
    bursts: int = 1
    limits: tuple[LimitPlan, ...]
    """One for each limit on a quantile or a rate, in the order of the budget."""
    looks: tuple[int, ...]
    """After so many turns, word errors and wasted work are judged; the last is at the end of the run."""
    look_shares: tuple[float, ...] = ()
    """The share of a limit's level at each look; () in older runs: all alike."""

    @property
    def shares(self) -> tuple[float, ...]:
        """The share of a limit's level that is spent at each look."""
        return self.look_shares or (1 / max(len(self.looks), 1),) * len(self.looks)
