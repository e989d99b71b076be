"""The report's figures of a whole run: the tiles at its top, latencies, outcomes and rates. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from turngap.model.budget import Metric
from turngap.model.figures import LatencyFigures, Rate
from turngap.model.result import RunRecord
from turngap.model.turn import Outcome, TurnRecord
from turngap.report import conversation, wording
from turngap.verdict import stats


def list_tiles(record: RunRecord) -> list[tuple[str, float | None, str]]:
    """Return label, ms and a note for each tile; the measure is the one that the headline names."""
    limited = {limit.metric for limit in record.budget.limits} if record.budget is not None else set[str]()
    perceived = Metric.PERCEIVED_GAP in limited
    main, other = record.turn_gap_ms, record.perceived_gap_ms
    note = "as the caller hears it" if record.live is None else "mouth to ear"
    if perceived:
        main, other, note = other, main, "at the media edge"
    name = "perceived gap" if perceived else "turn gap"
    answered = record.outcomes.get(Outcome.ANSWERED, 0)
    tiles = []
    for label, value, second in (
        (f"median {name}", main.p50, other.p50),
        (f"p95 {name}", main.p95, other.p95),
        (f"p95 {name} is at most", main.p95_upper, other.p95_upper),
        (f"slowest {name}", main.max, other.max),
    ):
        if value is not None:
            text = f"{wording.ms(second)} {note}"
        elif not main.n:
            text = "no turns"
        else:
            text = "no good answer"
            if value is main.p95_upper and label.endswith("most"):
                text = wording.bound_text(main, answered).removeprefix(f"{wording.NONE} ").strip("()")
        tiles.append((label, value, text))
    content = record.perceived_substance_ms if perceived else record.substance_gap_ms
    if content is not None and (content.p50, content.p95) != (main.p50, main.p95):
        for label, value, first in (
            ("median to the first content", content.p50, main.p50),
            ("p95 to the first content", content.p95, main.p95),
        ):
            if value is not None:
                tiles.append((label, value, f"first sound after {wording.ms(first)}"))
    return tiles


def list_latencies(record: RunRecord) -> list[tuple[str, str, LatencyFigures]]:
    """Return name, meaning and figures of each latency, the one that a caller hears first."""
    network = f"{record.network_ms:.0f} ms" if record.telephone is None else wording.network_text(record.telephone)
    added = f"as the caller hears it: + network ({network})"
    if record.recording is not None and record.telephone is None:
        added = "recorded at the caller's ear"
    rows = [
        ("perceived gap", added if record.live is None else "mouth to ear, measured", record.perceived_gap_ms),
        *_substance_figures(record),
        ("turn gap", "at the media edge" if record.recording is None else "in the recording", record.turn_gap_ms),
        ("turn gap, by frame", "from the frame's send time", record.turn_gap_frame_ms),
        ("first byte", "first message, silent or not", record.first_byte_ms),
    ]
    return [row for row in rows if row[2].n or record.recording is None]


def _substance_figures(record: RunRecord) -> list[tuple[str, str, LatencyFigures]]:
    pairs = (
        ("perceived substance", "first content, + network", record.perceived_substance_ms),
        ("substance gap", "first content, at the media edge", record.substance_gap_ms),
    )
    return [(name, meaning, figures) for name, meaning, figures in pairs if figures is not None]


def list_outcome_rates(record: RunRecord, turns: Sequence[TurnRecord] = ()) -> list[tuple[str, str, str, Rate]]:
    """Return counts of outcomes with their share of the valid turns; of invalid ones, the share of all turns.

    Outcomes that none of the run's kinds of turns can have are left out.
    """
    shown = conversation.shown_outcomes(record, turns)
    rates = []
    all_turns = sum(record.outcomes.values())
    for outcome in (outcome for outcome in Outcome if outcome.value in shown):
        count = record.outcomes.get(outcome, 0)
        name, meaning = wording.OUTCOME[outcome]
        n = all_turns if outcome is Outcome.INVALID else all_turns - record.outcomes.get(Outcome.INVALID, 0)
        rates.append((outcome.value, name, meaning, stats.rate(count, n)))
    return rates


def list_rates(record: RunRecord) -> list[tuple[str, str]]:
    """Return name and text of the run's rates and its cost."""
    wasted = record.wasted_attempts
    wer = "no transcripts" if record.wer is None else wording.percent(record.wer)
    if record.wer_upper is not None:
        wer += f" (at most {wording.percent(record.wer_upper)} with 95 % confidence)"
    if record.recording is not None:
        return [("Cut-offs, by the ends that were found", conversation.rate_text(record.cut_off_rate))]
    return [
        ("Word error rate", wer),
        ("False cut-offs", conversation.rate_text(record.cut_off_rate)),
        ("Replies with an underrun", conversation.rate_text(record.underrun_rate)),
        ("Wasted attempts", "not known" if wasted is None else f"{wasted} cancelled before they were heard"),
        *([("Cost", wording.cost_text(record.cost))] if record.cost is not None else []),
    ]
