"""How a report says things: numbers with their units, stages and outcomes in the words of the field."""

from __future__ import annotations

import re
from collections.abc import Mapping

from turngap_agent.tracing import Activity, Stage

from turngap.model.agent_figures import AgentFigures
from turngap.model.figures import CostFigures
from turngap.model.plural import plural
from turngap.model.turn import Outcome

NONE = "–"

STAGE: dict[Stage, tuple[str, str]] = {
    Stage.FRAMING_IN: ("framing in", "end of speech until its 20 ms frame is complete"),
    Stage.TRANSPORT_IN: ("transport in", "that frame sent until the agent reads it"),
    Stage.ENDPOINTING: ("endpointing", "waiting to be sure that the caller is done"),
    Stage.TRANSCRIPTION: ("transcription", "speech to text, audio handed over until transcript"),
    Stage.FIRST_TOKEN: ("first token", "language model, request until first token"),
    Stage.FIRST_CLAUSE: ("first clause", "first token until a clause can be spoken"),
    Stage.FIRST_AUDIO: ("first audio", "synthesis, clause until first sound samples"),
    Stage.ENCODING: ("encoding", "to 8 kHz μ-law messages"),
    Stage.TRANSPORT_OUT: ("transport out", "first message sent until received"),
    Stage.LEAD_IN: ("lead-in", "silence at the head of the reply"),
    Stage.UNEXPLAINED: ("unexplained", "on the path, but in no stage"),
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
"""The colour, a CSS variable, of each stage; stages of one line of the plan share it."""

OUTCOME: dict[Outcome, tuple[str, str]] = {
    Outcome.ANSWERED: ("answered", "heard, understood and answered"),
    Outcome.MISSED: ("missed", "no answer within the turn's time"),
    Outcome.CUT_OFF: ("cut off", "the agent spoke before the caller was done"),
    Outcome.TRUNCATED: ("truncated", "answered without the utterance's last word"),
    Outcome.WRONG: ("wrong", "word error rate over the turn's limit"),
    Outcome.BROKEN: ("broken", "playout ran dry for over 100 ms inside the reply"),
    Outcome.FAILED: ("failed", "the call broke: refused, closed or died"),
    Outcome.HELD: ("held", "rightly not answered, or its sentence rightly gone on with"),
    Outcome.LIMITED: ("limited", "a caller who did not stop, rightly spoken to at the limit of a turn's length"),
    Outcome.INTRUDED: ("intruded", "the agent spoke where nothing was to be said"),
    Outcome.STOPPED: ("stopped", "a backchannel or a cough ended the agent's sentence, or cost some of it"),
    Outcome.TALKED_OVER: ("talked over", "the agent did not yield when the caller barged in"),
    Outcome.INVALID: ("invalid", "our own frames were over 5 ms late: says nothing of the agent"),
}


def ms(value: float | None, digits: int | None = None) -> str:
    """Milliseconds without the unit: one decimal under 10, none above; – for none."""
    if value is None:
        return NONE
    digits = (1 if abs(value) < 9.95 else 0) if digits is None else digits
    text = f"{value:,.{digits}f}".replace("-", "−")
    return text.removeprefix("−") if text.strip("−0.") == "" else text


def signed_ms(value: float | None) -> str:
    """A change, ms, with its sign."""
    text = ms(None if value is None else abs(value))
    return text if value is None or text.strip("0.") == "" else f"{'+' if value > 0 else '−'}{text}"


def interval_text(interval: tuple[float | None, float | None] | None) -> str:
    """An interval, ms, in brackets: `(35 to 46)`, `(35 or more)`; nothing for none."""
    low, high = interval or (None, None)
    if low is None:
        return "" if high is None else f"({ms(high)} or less)"
    return f"({ms(low)} or more)" if high is None else f"({ms(low)} to {ms(high)})"


def percent(value: float | None, digits: int = 1) -> str:
    """A share as a percentage."""
    return NONE if value is None else f"{value * 100:.{digits}f} %".replace("-", "−")


def keep_units_together(text: str) -> str:
    """The text with numbers bound to their units, so that no line breaks between them."""
    return re.sub(r"(?<=\d) (?=(?:ms|s|%)\b|%)", "\u00a0", text)


def outcome_counts_text(counts: Mapping[Outcome, int]) -> str:
    """`3 answered, 1 missed`."""
    return ", ".join(f"{counts[kind]} {OUTCOME[kind][0]}" for kind in Outcome if counts.get(kind)) or "none"


def join_words(items: list[str]) -> str:
    """`a, b and c`."""
    return items[0] if len(items) == 1 else f"{', '.join(items[:-1])} and {items[-1]}" if items else ""


def cost_text(figures: CostFigures) -> str:
    """`0.0011 USD an answered turn, 0.0125 USD a call minute, 2 calls at once (1.5 USD an hour, 2026-05: assumed)`."""
    shares = ((figures.answered_turn, "an answered turn"), (figures.call_minute, "a call minute"))
    told = ", ".join(f"{value:.3g} {figures.currency} {of}" for value, of in shares if value is not None)
    price = f"{figures.an_hour:g} {figures.currency} an hour, {figures.as_of}: {figures.source}"
    return f"{told}, {plural(figures.simultaneous_calls, 'call')} at once ({price})"


def gpu_sharing_text(agent: AgentFigures) -> str:
    """Which GPU the agent used and how its processes shared it, in a sentence; "" where it did not say."""
    used = agent.gpu
    if used is None:
        return ""
    shares = {"the agent": used.agent_active_thread_pct, "the language model": used.llm_active_thread_pct}
    limits = [f"{name} has at most {share} % of its threads" for name, share in shares.items() if share is not None]
    how = "with MPS" if used.mps else "without MPS"
    told = f", {join_words(limits)}" if used.mps and limits else ""
    return f"The agent used {used.name or 'the GPU'} ({used.uuid}) {how}{told}."
