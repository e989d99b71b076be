"""What the caller of a faulty call heard, how long there was silence, and whether all was survived. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from itertools import pairwise
from typing import Any

from turngap_agent import tracing
from turngap_agent.telephony.faults import Fault
from turngap_agent.tracing import Span

from turngap.caller.onset import LEVEL_FRAME_NS, audible_frames, find_onset
from turngap.caller.playout import played_segments
from turngap.clock import to_ms
from turngap.model.plural import plural
from turngap.model.records import CallEnd, CallRecord, Spoken

MOST_SILENCE_MS = 5000.0
"""Nobody may hear silence for longer."""


class Heard(StrEnum):
    """What followed one utterance of the caller."""

    ANSWER = "answer"
    APOLOGY = "apology"
    """Or an answer that broke off, followed by an apology: the agent's span says that the turn failed."""
    POLITE_END = "polite end"
    """Something was said, then the agent hung up."""
    CUT_OFF = "cut off"
    """The agent hung up without a word."""
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True)
class NeighbourFigures:
    """What the caller of another call noticed meanwhile."""

    turns: int
    """Those that ended before the other call did."""
    answered: int
    apologised: int
    """Those after which an apology was heard, or a polite end."""
    median_gap_ms: float | None
    worst_gap_ms: float | None
    longest_silence_ms: float


@dataclass(frozen=True, slots=True)
class ChaosRow:
    """One injected fault and what came of it."""

    stage: str
    fault: str
    moment: str
    times: str
    """`once`, or `always`."""
    heard: tuple[str, ...]
    """After each utterance of the caller, as `Heard`."""
    longest_silence_ms: float
    neighbour: NeighbourFigures
    next_call: str
    """What the agent's next caller heard: `answer` if all is well."""
    next_gap_ms: float | None
    back_ms: float
    """From the end of the faulty call to the beginning of that next call: callers before it heard an apology."""
    reasons: tuple[str, ...]
    """Why it counts as lost; () if it was survived."""

    @property
    def survived(self) -> bool:
        """Whether nothing speaks against it."""
        return not self.reasons

    def to_json(self) -> dict[str, Any]:
        """Return the row of `--json`."""
        return {**asdict(self), "survived": self.survived}


def longest_silence_ms(record: CallRecord) -> float:
    """Return the longest time, from the end of the caller's first utterance on, in which neither side was audible.

    It lasts to the end of the call at most. 0 for a call in which the caller said nothing.
    """
    if not record.spoken:
        return 0.0
    spoken = [(_speech_ns(record, one), record.sample_ns(one.end_sample)) for one in record.spoken]
    from_ns = spoken[0][1]
    frames = audible_frames(played_segments(record.received))
    heard = [(int(start), int(start) + LEVEL_FRAME_NS) for start in frames.start_ns]
    quiet_ns, audible_until_ns = 0, from_ns
    for start_ns, end_ns in sorted([*spoken, *heard, (record.ended_ns, record.ended_ns)]):
        if start_ns > record.ended_ns:
            break
        quiet_ns = max(quiet_ns, start_ns - audible_until_ns)
        audible_until_ns = max(audible_until_ns, end_ns)
    return to_ms(quiet_ns)


def list_heard(record: CallRecord, spans: Sequence[Span]) -> tuple[Heard, ...]:
    """Return what followed each utterance, by what was played and what the agent's spans say about it."""
    segments = played_segments(record.received)
    bounds = [*(_speech_ns(record, spoken) for spoken in record.spoken[1:]), record.ended_ns]
    heard = []
    for spoken, until_ns in zip(record.spoken, bounds, strict=True):
        t0_ns = record.sample_ns(spoken.end_sample)
        onset_ns = find_onset(segments, t0_ns)
        if onset_ns is None or onset_ns >= until_ns:
            heard.append(Heard.NOTHING)
        else:
            failed = any(tracing.ERROR in span.attributes for span in _turns_between(spans, t0_ns, until_ns))
            heard.append(Heard.APOLOGY if failed else Heard.ANSWER)
    if record.end is CallEnd.AGENT_CLOSED and heard:
        heard[-1] = Heard.CUT_OFF if heard[-1] is Heard.NOTHING else Heard.POLITE_END
    return tuple(heard)


def list_reasons(
    heard: Sequence[Heard],
    silence_ms: float,
    neighbour: NeighbourFigures,
    next_call: str,
    *,
    struck: bool,
    end: CallEnd,
    excused: bool = False,
    death: str = "",
) -> tuple[str, ...]:
    """Return why a call counts as lost, a clause each.

    It has to end with speech or a polite end, nobody may hear silence for over 5 s, the neighbour's turns have to be
    answered, and so does the next call. A fault that did not strike shows nothing. Where the neighbour is `excused`,
    as it shares a process that was killed, an apology or a polite end will do.
    """
    reasons = []
    if death:
        reasons.append(death)
    if not struck:
        reasons.append("the fault did not strike")
    if end not in (CallEnd.COMPLETED, CallEnd.AGENT_CLOSED):
        reasons.append(f"the call was {end}")
    if not heard:
        reasons.append("the caller could not speak")
    elif heard[-1] in (Heard.CUT_OFF, Heard.NOTHING):
        reasons.append(f"the last that the caller heard: {heard[-1]}")
    if silence_ms > MOST_SILENCE_MS:
        reasons.append(f"{silence_ms / 1000:.1f} s of silence")
    served = neighbour.answered + (neighbour.apologised if excused else 0)
    if served < neighbour.turns or not neighbour.turns:
        sorry = f", {plural(neighbour.apologised, 'apology', 'apologies')}" if neighbour.apologised else ""
        reasons.append(f"the neighbour had {neighbour.answered} of {neighbour.turns} turns answered{sorry}")
    if neighbour.longest_silence_ms > MOST_SILENCE_MS:
        reasons.append(f"the neighbour heard {neighbour.longest_silence_ms / 1000:.1f} s of silence")
    if next_call != Heard.ANSWER:
        reasons.append(f"the next call: {next_call}")
    return tuple(reasons)


def make_row(
    fault: Fault,
    record: CallRecord,
    spans: Sequence[Span],
    neighbour: NeighbourFigures,
    next_call: tuple[str, float | None, float],
    *,
    struck: bool,
    excused: bool = False,
    death: str = "",
) -> ChaosRow:
    """Return the row of one fault. `excused` as in `list_reasons`; `death` says how the agent died, if it did.

    `next_call`: what was heard, the gap, and how long after the faulty call it began, both in ms.
    """
    heard, silence_ms = list_heard(record, spans), longest_silence_ms(record)
    reasons = list_reasons(
        heard,
        silence_ms,
        neighbour,
        next_call[0],
        struck=struck,
        end=record.end,
        excused=excused,
        death=death,
    )
    return ChaosRow(
        stage=fault.stage,
        fault=fault.kind,
        moment=fault.moment,
        times="always" if fault.always else "once",
        heard=tuple(map(str, heard)),
        longest_silence_ms=silence_ms,
        neighbour=neighbour,
        next_call=next_call[0],
        next_gap_ms=next_call[1],
        back_ms=next_call[2],
        reasons=reasons,
    )


def find_gaps_ms(record: CallRecord) -> list[float | None]:
    """Return for each utterance the time from its end to the agent's first sound after it; None for none."""
    segments = played_segments(record.received)
    starts = [(record.sample_ns(one.end_sample), _speech_ns(record, one)) for one in record.spoken]
    gaps: list[float | None] = []
    for (t0_ns, _), (_, until_ns) in pairwise([*starts, (0, record.ended_ns)]):
        onset_ns = find_onset(segments, t0_ns)
        gaps.append(to_ms(onset_ns - t0_ns) if onset_ns is not None and onset_ns < until_ns else None)
    return gaps


def measure_neighbour(record: CallRecord, spans: Sequence[Span]) -> NeighbourFigures:
    """Return what the neighbour noticed; a turn that the end of the call left unfinished does not count."""
    heard, gaps = list_heard(record, spans), find_gaps_ms(record)
    turns = len(heard)
    if record.end is CallEnd.INTERRUPTED and heard and heard[-1] is Heard.NOTHING:
        turns -= 1
    known = sorted(gap for gap in gaps[:turns] if gap is not None)
    return NeighbourFigures(
        turns=turns,
        answered=sum(one is Heard.ANSWER for one in heard[:turns]),
        apologised=sum(one in (Heard.APOLOGY, Heard.POLITE_END) for one in heard[:turns]),
        median_gap_ms=known[len(known) // 2] if known else None,
        worst_gap_ms=known[-1] if known else None,
        longest_silence_ms=longest_silence_ms(record),
    )


def _speech_ns(record: CallRecord, spoken: Spoken) -> int:
    return record.sample_ns(spoken.start_sample + spoken.clip.speech_start_sample)


def _turns_between(spans: Sequence[Span], from_ns: int, until_ns: int) -> list[Span]:
    """Return the turn spans of attempts that were first sent in that time."""
    turns = [span for span in spans if span.name == tracing.TURN_SPAN]
    times = [span.attributes.get(tracing.SENT_NS) for span in turns]
    return [span for span, at in zip(turns, times, strict=True) if isinstance(at, int) and from_ns <= at < until_ns]
