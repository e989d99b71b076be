"""The words of reports: numbers with their units, names and meanings of stages and outcomes."""

from __future__ import annotations

import re
from collections.abc import Mapping

from turngap_agent.tracing import Activity, Stage

from turngap.model.agent_figures import AgentFigures
from turngap.model.budget import name_metric
from turngap.model.figures import CostFigures, LatencyFigures
from turngap.model.intervals import AnsweredLatency, IntervalFigures, ShareInterval
from turngap.model.plural import plural
from turngap.model.telephone import TelephoneFigures
from turngap.model.turn import Outcome
from turngap.verdict import stats

NONE = "–"
LABELS_SHOWN_FROM_MS = 5.0
"""Labels that widen an interval by less than the instrument's own largest error are not mentioned."""

STAGE: dict[Stage, tuple[str, str]] = {
    Stage.FRAMING_IN: ("framing in", "from the end of speech until its 20 ms frame is complete"),
    Stage.TRANSPORT_IN: ("transport in", "from sending that frame until the agent reads it"),
    Stage.ENDPOINTING: ("endpointing", "deciding that the caller has finished"),
    Stage.TRANSCRIPTION: ("transcription", "speech to text, from audio to transcript"),
    Stage.FIRST_TOKEN: ("first token", "language model, from request to first token"),
    Stage.FIRST_CLAUSE: ("first clause", "from the first token until a clause can be spoken"),
    Stage.FIRST_AUDIO: ("first audio", "speech synthesis, from clause to first audio"),
    Stage.ENCODING: ("encoding", "to 8 kHz μ-law messages"),
    Stage.TRANSPORT_OUT: ("transport out", "from sending the first message until it is received"),
    Stage.LEAD_IN: ("lead-in", "silence at the start of the reply"),
    Stage.UNEXPLAINED: ("unexplained", "on the critical path, but in no stage"),
}

ACTIVITY: dict[Activity, str] = {activity: STAGE[activity.stage][0] for activity in Activity} | {
    Activity.PROVISIONAL_END: "end, provisional",
    Activity.CONFIRMED_END: "end, confirmed",
}

ROLE: dict[Stage, str] = {
    Stage.FRAMING_IN: "conversion",
    Stage.TRANSPORT_IN: "conversion",
    Stage.ENDPOINTING: "endpointing",
    Stage.TRANSCRIPTION: "stt",
    Stage.FIRST_TOKEN: "llm",
    Stage.FIRST_CLAUSE: "llm",
    Stage.FIRST_AUDIO: "tts",
    Stage.ENCODING: "conversion",
    Stage.TRANSPORT_OUT: "conversion",
    Stage.LEAD_IN: "tts",
    Stage.UNEXPLAINED: "unexplained",
}
"""The CSS variable with the colour of each stage; stages of one line of the plan share a colour."""

OUTCOME: dict[Outcome, tuple[str, str]] = {
    Outcome.ANSWERED: ("answered", "heard, understood and answered"),
    Outcome.MISSED: ("missed", "no answer within the turn's time"),
    Outcome.CUT_OFF: ("cut off", "the agent spoke before the caller had finished"),
    Outcome.TRUNCATED: ("truncated", "answered without the utterance's last word"),
    Outcome.WRONG: ("wrong", "word error rate over the turn's limit"),
    Outcome.BROKEN: ("broken", "the reply had underruns of over 100 ms in all"),
    Outcome.FAILED: ("failed", "the call failed: refused, closed or broken"),
    Outcome.HELD: ("held", "the agent was right to stay silent, or to continue its sentence"),
    Outcome.LIMITED: (
        "limited",
        "the agent was right to speak to a caller who did not stop, at the limit of a turn's length",
    ),
    Outcome.INTRUDED: ("intruded", "the agent spoke where it had to stay silent"),
    Outcome.STOPPED: ("stopped", "a backchannel or a cough stopped the agent's sentence, or cost part of it"),
    Outcome.TALKED_OVER: ("talked over", "the agent did not yield when the caller barged in"),
    Outcome.INVALID: ("invalid", "the instrument was over 5 ms late: the turn says nothing about the agent"),
}


def ms(value: float | None, digits: int | None = None) -> str:
    """Return milliseconds without the unit: one decimal under 10, none above; – for None."""
    if value is None:
        return NONE
    digits = (1 if abs(value) < 9.95 else 0) if digits is None else digits
    text = f"{value:,.{digits}f}".replace("-", "−")
    return text.removeprefix("−") if text.strip("−0.") == "" else text


def bound_text(figures: LatencyFigures, answered: int | None = None) -> str:
    """Return the bound on p95 in ms, or the reason why there is none; `answered`: turns with a value, if known."""
    if figures.p95_upper is not None or not figures.n:
        return ms(figures.p95_upper)
    failed = 0 if answered is None else figures.n - answered
    needed = stats.n_needed(max(failed, 0))
    if failed > 0:
        return f"{NONE} (needs {needed} turns: {failed} {'has' if failed == 1 else 'have'} no good answer)"
    return f"{NONE} (needs {needed} turns)" if figures.n < needed else f"{NONE} (too many turns have no value)"


def signed_ms(value: float | None) -> str:
    """Return a change in ms with its sign."""
    text = ms(None if value is None else abs(value))
    return text if value is None or text.strip("0.") == "" else f"{'+' if value > 0 else '−'}{text}"


def interval_text(interval: tuple[float | None, float | None] | None) -> str:
    """Return an interval in ms: `(35 to 46)`, `(35 or more)`; "" for None."""
    low, high = interval or (None, None)
    if low is None:
        return "" if high is None else f"({ms(high)} or less)"
    return f"({ms(low)} or more)" if high is None else f"({ms(low)} to {ms(high)})"


def percent(value: float | None, digits: int = 1) -> str:
    """Return a share as a percentage."""
    return NONE if value is None else f"{value * 100:.{digits}f} %".replace("-", "−")


def keep_units_together(text: str) -> str:
    """Return the text with no-break spaces between numbers and units."""
    return re.sub(r"(?<=\d) (?=(?:ms|s|%)\b|%)", "\u00a0", text)


def outcome_counts_text(counts: Mapping[Outcome, int]) -> str:
    """Return `3 answered, 1 missed`."""
    return ", ".join(f"{counts[kind]} {OUTCOME[kind][0]}" for kind in Outcome if counts.get(kind)) or "none"


def join_words(items: list[str]) -> str:
    """Return `a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def interval_lines(figures: IntervalFigures | None) -> list[tuple[str, str]]:
    """Return what is known of the agent whatever the verdict: a name and a sentence for each figure."""
    if figures is None:
        return []
    lines = [
        (
            "over budget",
            f"{name_metric(each.metric)} over {each.at_most:g} ms in {share_interval_text(each)}",
        )
        for each in figures.over
    ]
    lines.append(("success", f"answered as they should be: {share_interval_text(figures.success)}"))
    for each in figures.answered:
        p50 = f"p50 {ms(each.p50)} {interval_text((each.p50_low, each.p50_high))}".strip()
        p95 = f"p95 {ms(each.p95)} {interval_text((each.p95_low, each.p95_high))}".strip()
        lines.append(("answered", f"{name_metric(each.metric)} of {plural(each.n, 'answered turn')}: {p50}, {p95} ms"))
        lines += [("labels", text) for text in _label_lines(each)]
    return lines


def _label_lines(figures: AnsweredLatency) -> list[str]:
    """Return the intervals of one latency with its labels' uncertainty, if that widens them by 5 ms or more."""
    labels = figures.with_labels
    if labels is None:
        return []
    pairs = (
        ("p50", (labels.p50_low, labels.p50_high), (figures.p50_low, figures.p50_high)),
        ("p95", (labels.p95_low, labels.p95_high), (figures.p95_low, figures.p95_high)),
    )
    wider = [f"{name} {interval_text(wide)}" for name, wide, own in pairs if _widens(wide, own)]
    counts = (
        (labels.by_hand, "by hand"),
        (labels.by_alignment, "by alignment"),
        (labels.by_floor, "relative to the noise floor"),
    )
    sources = join_words([f"{plural(count, 'end')} of speech {how}" for count, how in counts if count])
    of = f", {sources}" if sources else ""
    moves = f"median {labels.low_ms:+.0f} / {labels.high_ms:+.0f} ms{of}"
    if not wider and not sources:
        return []
    intervals = f"{', '.join(wider)} ms" if wider else "too few turns for an interval"
    return [f"{name_metric(figures.metric)} with the labels' uncertainty ({moves}): {intervals}"]


def _widens(wide: tuple[float | None, float | None], own: tuple[float | None, float | None]) -> bool:
    return any(
        a is not None and b is not None and abs(a - b) >= LABELS_SHOWN_FROM_MS for a, b in zip(wide, own, strict=True)
    )


def share_interval_text(share: ShareInterval) -> str:
    """Return `7 of 190 turns, 3.7 % (1.5 % to 7.4 %)`, the interval at 95 % confidence."""
    rate = percent(share.events / share.n if share.n else None)
    return f"{share.events} of {plural(share.n, 'turn')}, {rate} ({percent(share.low)} to {percent(share.high)})"


def cost_text(figures: CostFigures) -> str:
    """Return `0.001 USD an answered turn, 0.01 USD a call, 0.01 USD a call minute, 2 calls at once (...)`."""
    shares = (
        (figures.answered_turn, "an answered turn"),
        (figures.call, "a call"),
        (figures.call_minute, "a call minute"),
    )
    parts = ", ".join(f"{value:.3g} {figures.currency} {of}" for value, of in shares if value is not None)
    price = f"{figures.an_hour:g} {figures.currency} an hour, {figures.as_of}: {figures.source}"
    return f"{parts}, {plural(figures.simultaneous_calls, 'call')} at once ({price})"


def network_text(figures: TelephoneFigures) -> str:
    """Return `twilio-edge: median 96, p95 125 ms`."""
    return f"{figures.network.name}: median {ms(figures.median_ms)}, p95 {ms(figures.p95_ms)} ms"


def what_if_text(figures: TelephoneFigures) -> str:
    """Return what the perceived gap's p95 would be with other networks, in a sentence; "" if nothing was answered."""
    known = [f"{ms(row.p95_ms)} ms with {row.network}" for row in figures.what_if if row.p95_ms is not None]
    parts = [f"p95 would be {join_words(known)}"] if known else []
    holds = figures.holds_up_to_ms
    if holds is not None and holds >= 0:
        parts.append(f"the limit on the perceived gap is shown to hold up to {ms(holds)} ms of network")
    elif holds is not None:
        parts.append("the limit on the perceived gap would not be shown to hold without any network")
    return "; ".join(parts)


def gpu_sharing_text(agent: AgentFigures) -> str:
    """Return a sentence on which GPU the agent used and how its processes shared it; "" if it did not report that."""
    used = agent.gpu
    if used is None:
        return ""
    shares = {"the agent": used.agent_active_thread_pct, "the language model": used.llm_active_thread_pct}
    limits = [f"{name} has at most {share} % of its threads" for name, share in shares.items() if share is not None]
    how = "with MPS" if used.mps else "without MPS"
    sharing = f", {join_words(limits)}" if used.mps and limits else ""
    return f"The agent used {used.name or 'the GPU'} ({used.uuid}) {how}{sharing}."
