"""A run's figures as pandas frames; the unit of a column is in its name."""

from __future__ import annotations

from collections.abc import Mapping

import pandas as pd

from turngap.model.figures import LatencyFigures, StageFigures
from turngap.model.result import RunRecord

LATENCIES = ("turn_gap", "turn_gap_frame", "perceived_gap", "first_byte")
SUBSTANCE_LATENCIES = ("substance_gap", "perceived_substance")
"""Only of runs in which it is known when content was heard."""
REACTIONS = ("barge_in_stop", "stale", "talk_over", "went_on", "clause_gap")


def make_stage_frame(record: RunRecord) -> pd.DataFrame:
    """One row a stage, over the answered turns that have spans: `turns`, and percentiles in ms."""
    names = [name for name in StageFigures.model_fields if name != "n"]
    rows = {stage.value: figures.model_dump() for stage, figures in record.stages.items()}
    frame = pd.DataFrame(
        [{"turns": row["n"]} | {name: row.get(name) for name in names} for row in rows.values()],
        index=pd.Index(list(rows), name="stage"),
        columns=["turns", *names],
    )
    return frame.astype(dict.fromkeys(names, "float64"))


def make_summary_frame(record: RunRecord) -> pd.DataFrame:
    """One row a latency: `turns`, p50, p95 with its 95 % upper bound, p99 and the largest, in ms; NaN is not known.

    A turn that was not answered as it should be counts as later than any other.
    """
    rows: dict[str, LatencyFigures] = {name: getattr(record, f"{name}_ms") for name in LATENCIES}
    substance = {name: getattr(record, f"{name}_ms") for name in SUBSTANCE_LATENCIES}
    rows |= {name: figures for name, figures in substance.items() if figures is not None}
    if record.conversation is not None:
        reactions: Mapping[str, LatencyFigures | None] = {
            name: getattr(record.conversation, f"{name}_ms") for name in REACTIONS
        }
        rows |= {name: figures for name, figures in reactions.items() if figures is not None and figures.n}
    names = {"p50": "p50_ms", "p95": "p95_ms", "p95_upper": "p95_upper_ms", "p99": "p99_ms", "max": "max_ms"}
    frame = pd.DataFrame(
        [
            {"turns": figures.n} | {column: getattr(figures, name) for name, column in names.items()}
            for figures in rows.values()
        ],
        index=pd.Index(list(rows), name="latency"),
        columns=["turns", *names.values()],
    )
    return frame.astype(dict.fromkeys(names.values(), "float64"))
