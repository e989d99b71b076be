"""The landings of a run's cut-offs: how many were soft, how much was heard, whether words were lost. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from turngap.model.landing import Landing, LandingFigures
from turngap.model.result import RunRecord
from turngap.model.turn import TurnRecord
from turngap.verdict import stats


def pool_landings(turns: Sequence[TurnRecord]) -> LandingFigures | None:
    """Return the figures of the cut-offs in `turns`, which are valid turns; None if no landing was recorded."""
    landed = [turn.landing for turn in turns if turn.landing is not None]
    if not landed:
        return None
    heard, gave_way = ([getattr(landing, name) for landing in landed] for name in ("heard_ms", "gave_way_ms"))
    gaps = [landing.gap_ms for landing in landed if landing.gap_ms is not None]
    return LandingFigures(
        cut_offs=len(landed),
        soft=sum(landing.soft is True for landing in landed),
        soft_unknown=sum(landing.soft is None for landing in landed),
        words_lost=sum(bool(landing.lost_words) for landing in landed),
        words_unknown=sum(landing.lost_words is None for landing in landed),
        answered_whole=sum(landing.answered_whole is True for landing in landed),
        whole_unknown=sum(landing.answered_whole is None for landing in landed),
        heard_p50_ms=stats.percentile(heard, 0.5),
        heard_p95_ms=stats.percentile(heard, 0.95),
        gave_way_p50_ms=stats.percentile(gave_way, 0.5),
        gave_way_p95_ms=stats.percentile(gave_way, 0.95),
        gap_p50_ms=stats.percentile(gaps, 0.5) if gaps else None,
        gap_p95_ms=stats.percentile(gaps, 0.95) if gaps else None,
    )


def describe_landings(figures: LandingFigures) -> str:
    """Return the figures in one sentence; what is not known is said."""

    def count(known: int, unknown: int) -> str:
        if unknown == figures.cut_offs:
            return "not known"
        return f"{known} (not known in {unknown})" if unknown else str(known)

    heard = f"{_ms(figures.heard_p50_ms)} ms (p95 {_ms(figures.heard_p95_ms)})"
    silent = f"{_ms(figures.gave_way_p50_ms)} ms (p95 {_ms(figures.gave_way_p95_ms)})"
    gap = (
        "no answer followed"
        if figures.gap_p50_ms is None
        else f"gap after landing {_ms(figures.gap_p50_ms)} ms (p95 {_ms(figures.gap_p95_ms)})"
    )
    return (
        f"of {figures.cut_offs} landed softly: {count(figures.soft, figures.soft_unknown)}; heard too soon {heard}, "
        f"silent {silent} after the caller went on; words lost in {count(figures.words_lost, figures.words_unknown)}, "
        f"answered whole: {count(figures.answered_whole, figures.whole_unknown)}; {gap}"
    )


def compare_landings(head: RunRecord, base: RunRecord) -> list[str]:
    """Return a line for each of the two runs that has cut-offs: how they landed decides no comparison."""
    return [
        f"cut-offs of {record.run_id}, {describe_landings(record.landings)}"
        for record in (head, base)
        if record.landings is not None
    ]


def landing_cells(landing: Landing | None) -> dict[str, float | int | bool | None]:
    """Return a turn's landing as columns of a table."""
    data = {} if landing is None else landing.model_dump()
    return {f"landing_{name}": data.get(name) for name in Landing.model_fields}


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
