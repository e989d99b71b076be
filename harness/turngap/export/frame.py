"""A run's turns as a pandas frame; the unit of a column is in its name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
from turngap_agent.tracing import Stage

from turngap.export.table import COLUMNS
from turngap.model.turn import TurnRecord


def make_turn_frame(turns: Sequence[TurnRecord]) -> pd.DataFrame:
    """One row a turn, warm-up included (`scored` is False there); columns as in the CSV export.

    Each stage has `<stage>_ms`, its duration, and `<stage>_exposed_ms`, its time on the critical path. What is not
    known is NaN in a column of numbers and None elsewhere.
    """
    rows: list[dict[str, Any]] = []
    for turn in turns:
        data = turn.model_dump(mode="json")
        row = {name: data[name] for name in COLUMNS}
        for stage in Stage:
            time = turn.stages.get(stage) if turn.stages is not None else None
            row[f"{stage}_ms"] = None if time is None else time.duration_ms
            row[f"{stage}_exposed_ms"] = None if time is None else time.exposed_ms
        rows.append(row)
    columns = [*COLUMNS, *(f"{stage}{kind}" for stage in Stage for kind in ("_ms", "_exposed_ms"))]
    frame = pd.DataFrame(rows, columns=columns)
    numbers = [column for column in columns if column.endswith("_ms") or column == "wer"]
    return frame.astype(dict.fromkeys(numbers, "float64"))
