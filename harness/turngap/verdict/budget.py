"""The budgets that ship, budgets from files, and what a budget needs of a run."""

from __future__ import annotations

from pathlib import Path

from turngap_agent import documents
from turngap_agent.errors import ScenarioError

from turngap.model.budget import Budget, Hypothesis, Limit, Metric

__all__ = [
    "Budget",
    "Hypothesis",
    "Limit",
    "Metric",
    "list_budgets",
    "load_budget",
    "load_default_plan",
    "metrics_from_spans",
]

SHIPPED = Path(__file__).resolve().parents[1] / "scenarios" / "budgets"
FROM_SPANS = (Metric.WER, Metric.WER_CLEAN, Metric.WER_NOISY, Metric.TRUNCATED, Metric.WASTED_SHARE)
"""The metrics that need the agent's spans; the others are measured from its audio or on this machine."""


def metrics_from_spans(budget: Budget) -> list[str]:
    """Return the limited metrics that need the agent's spans."""
    return [limit.metric for limit in budget.limits if limit.stage is not None or limit.metric in FROM_SPANS]


def list_budgets() -> list[str]:
    """Return the names of the budgets that ship."""
    return documents.list_shipped(SHIPPED)


def load_budget(name_or_path: str) -> Budget:
    """Return the budget with that name, or the one in that file.

    Raises:
        ScenarioError: the budget is unknown or malformed.
    """
    path = documents.locate(name_or_path, SHIPPED, "budget", ScenarioError)
    return documents.load(path, Budget, ScenarioError)


def load_default_plan() -> tuple[Hypothesis, ...]:
    """Return the hypotheses of `sub500`: what runs without a plan of their own are compared with."""
    return load_budget("sub500").hypotheses
