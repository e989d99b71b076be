"""A run as CSV: a row per turn, columns for each stage's duration and exposed time; unknown is an empty cell."""

from __future__ import annotations

import csv
import io

from turngap_agent.tracing import Stage

from turngap.store.folder import StoredRun
from turngap.verdict.landings import landing_cells

COLUMNS = (
    "call",
    "call_sid",
    "turn",
    "utterance_id",
    "stratum",
    "expectation",
    "condition",
    "network",
    "twin",
    "pause_ms",
    "over_agent",
    "warm_up",
    "cold",
    "scored",
    "outcome",
    "detail",
    "synthetic_caller",
    "turn_gap_ms",
    "turn_gap_frame_ms",
    "perceived_gap_ms",
    "first_byte_ms",
    "attempt",
    "attempts",
    "wer",
    "word_errors",
    "words",
    "reference",
    "transcript",
    "reply",
    "silence_ms",
    "clause_gap_ms",
    "reply_ms",
    "barge_in_stop_ms",
    "stale_ms",
    "talk_over_ms",
    "went_on_ms",
    "lost_ms",
    "repeated_ms",
    "compute_ms",
    "wasted_ms",
    "lateness_send_ms",
    "lateness_recv_ms",
    "label_low_ms",
    "label_high_ms",
    "lead_in",
    "replaced",
    "overshoot",
    "lateness_around_t0_ms",
    "substance_gap_ms",
    "perceived_substance_ms",
    "substance_from",
    "contentless",
    "label_source",
)


def render_csv(run: StoredRun) -> str:
    """Return the table, with a heading."""
    out = io.StringIO()
    rows = csv.writer(out, lineterminator="\n")
    landings = tuple(landing_cells(None))
    rows.writerow([*COLUMNS, *landings, *(f"{stage}{kind}" for stage in Stage for kind in ("_ms", "_exposed_ms"))])
    for turn in run.turns:
        data = turn.model_dump(mode="json")
        stages = turn.stages or {}
        times = [
            (stages[stage].duration_ms, stages[stage].exposed_ms) if stage in stages else ("", "") for stage in Stage
        ]
        rows.writerow(
            [
                "" if cell is None else cell
                for cell in (*(data[name] for name in COLUMNS), *landing_cells(turn.landing).values())
            ]
            + [cell for pair in times for cell in pair]
        )
    return out.getvalue()
