"""From the traces of a call's legs to turns: t0..t3 on one clock, and the agent's edge scored by the common code. Pure.

The agent's leg, as Twilio brought it, is a call like any other: its caller is what arrived (t1, found by correlation
with the known clip), its agent what was given to Twilio. Scored as such, its turn gap is the server gap t2 - t1, and
spans explain it. The caller's leg adds what lies before and after.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from turngap_agent.telephony import FRAME_NS, FRAME_SAMPLES, mulaw
from turngap_agent.tracing import Span

from turngap.clock import NS_PER_MS, NS_PER_SAMPLE
from turngap.live.agent_leg import AgentTrace
from turngap.live.caller_leg import CallerTrace
from turngap.live.cross_correlation import find, find_end
from turngap.live.leg_audio import TimedAudio, render_playout
from turngap.model.live import LegTimes
from turngap.model.records import CallRecord, Pcm16, Received, Spoken
from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario import PlannedCall
from turngap.scoring.score import score_call

LONGEST_WAY_NS = 2_500 * NS_PER_MS
"""Nothing takes longer from one leg to the other."""
REPLY_SAMPLES = 4_800
"""So much of the agent's reply is looked for on the caller's leg."""
SUDDEN_SAMPLES = 8
"""An onset's 10 ms frame is searched in steps of 1 ms."""


def score_both_legs(
    caller: CallerTrace, agent: AgentTrace, planned: PlannedCall, spans: Sequence[Span], *, alias: str, cold: bool
) -> tuple[list[TurnRecord], CallRecord]:
    """The turns of a call whose both legs were here, and the record of the agent's edge that they were scored from."""
    t1s = [_on_line(one, t0_ns, agent.heard) for one, t0_ns in zip(caller.record.spoken, t0s_ns(caller), strict=True)]
    edge = _edge(caller, agent, t1s, alias)
    turns = score_call(edge, spans, planned, network_ms=0.0, cold=cold)
    found = []
    for place, turn in enumerate(turns):
        if place >= len(t1s):
            found.append(turn)
            continue
        t0_ns, t1_ns, t2_ns = t0s_ns(caller)[place], t1s[place], turn.t1_ns
        t3_ns = None if t2_ns is None else _heard_again(agent.said, t2_ns, caller.heard)
        found.append(_with_legs(turn, t0_ns, t1_ns, t2_ns, t3_ns))
    return found, edge


def score_caller_leg(caller: CallerTrace, planned: PlannedCall, *, cold: bool) -> list[TurnRecord]:
    """The turns of a call of which only the caller's leg was here: mouth to ear, and nothing between."""
    turns = score_call(caller.record, (), planned, network_ms=0.0, cold=cold)
    found = []
    for place, turn in enumerate(turns):
        late_ns = caller.late_ns[place] if place < len(caller.late_ns) else 0
        t3_ns = None if turn.t1_ns is None else refine_onset(caller.heard, turn.t1_ns)
        total = None if t3_ns is None else (t3_ns - turn.t0_ns - late_ns) / NS_PER_MS
        legs = LegTimes(uplink_ms=None, server_gap_ms=None, downlink_ms=None, total_ms=total)
        gap = {"turn_gap_ms": total, "perceived_gap_ms": total, "t1_ns": t3_ns}
        found.append(turn.model_copy(update={"live": legs, "first_byte_ms": None, **gap}))
    return found


def floor(caller: CallerTrace, agent: AgentTrace) -> list[LegTimes]:
    """An echo call's utterances: the last sample's own way through the loop and back."""
    found = []
    for spoken, t0_ns in zip(caller.record.spoken, t0s_ns(caller), strict=True):
        t1_ns = _on_line(spoken, t0_ns, agent.heard)
        t2_ns = _on_line(spoken, t0_ns, agent.spoken)
        t3_ns = _on_line(spoken, t0_ns, caller.heard)
        found.append(_legs(t0_ns, t1_ns, t2_ns, t3_ns))
    return found


def t0s_ns(caller: CallerTrace) -> list[int]:
    """When Twilio had the last sample of each utterance to play, had it taken no time to get there."""
    record = caller.record
    return [
        record.sample_ns(one.end_sample) + late_ns for one, late_ns in zip(record.spoken, caller.late_ns, strict=True)
    ]


def refine_onset(line: TimedAudio, onset_ns: int) -> int:
    """An onset to the millisecond: the first of its 10 ms frame that is as loud as a tenth of the loudest there."""
    frame = line.between(onset_ns, onset_ns + 20 * NS_PER_MS).pcm.astype(np.float64)
    whole = len(frame) // SUDDEN_SAMPLES * SUDDEN_SAMPLES
    if not whole:
        return onset_ns
    levels = np.sqrt(np.square(frame[:whole]).reshape(-1, SUDDEN_SAMPLES).mean(axis=1))
    first = int(np.argmax(levels >= 0.1 * levels.max()))
    return onset_ns + first * SUDDEN_SAMPLES * NS_PER_SAMPLE


def _on_line(spoken: Spoken, t0_ns: int, line: TimedAudio) -> int | None:
    """When the utterance's last sample was on `line`, another leg's; None where it is not found there."""
    length_ns = len(spoken.clip.pcm) * NS_PER_SAMPLE
    piece = line.between(t0_ns - length_ns - 20 * NS_PER_MS, t0_ns + LONGEST_WAY_NS)
    end = find_end(_coded(spoken.clip.pcm), piece.pcm)
    return None if end is None else piece.sample_ns(end)


def _heard_again(said: Sequence[Received], t2_ns: int, line: TimedAudio) -> int | None:
    """When what was said from t2 on is on the caller's leg."""
    source = render_playout(said)
    reply = source.pcm[source.index(t2_ns) :][:REPLY_SAMPLES]
    silent = np.flatnonzero(reply)
    if not len(silent):
        return None
    piece = line.between(t2_ns - 20 * NS_PER_MS, t2_ns + LONGEST_WAY_NS + len(reply) * NS_PER_SAMPLE)
    match = find(reply[: int(silent[-1]) + 1], piece.pcm)
    return None if match is None else piece.sample_ns(match.at)


def _edge(caller: CallerTrace, agent: AgentTrace, t1s: Sequence[int | None], alias: str) -> CallRecord:
    """The agent's leg as a call: what came is the caller's audio, at its own time and lateness."""
    line, record = agent.heard, caller.record
    frames = -(-len(line.pcm) // 160)
    pcm: Pcm16 = np.zeros(frames * 160, np.int16)
    pcm[: len(line.pcm)] = line.pcm
    spoken = []
    sent_ns = line.start_ns + (np.arange(frames, dtype=np.int64) + 1) * FRAME_NS
    for one, t0_ns, t1_ns, late_ns in zip(record.spoken, t0s_ns(caller), t1s, caller.late_ns, strict=True):
        end = round(((t1_ns if t1_ns is not None else t0_ns) - line.start_ns) / NS_PER_SAMPLE)
        end = max(end, len(one.clip.pcm))
        start = end - len(one.clip.pcm)
        spoken.append(replace(one, start_sample=start, end_sample=end))
        sent_ns[start // FRAME_SAMPLES : -(-end // FRAME_SAMPLES)] += late_ns
    return replace(
        record,
        call_sid=alias,
        started_ns=line.start_ns,
        sent_ns=sent_ns,
        caller_pcm=pcm,
        spoken=tuple(spoken),
        received=agent.said,
        marks=agent.marks,
        clears_ns=agent.clears_ns,
        lead_ns=FRAME_NS,
    )


def _with_legs(turn: TurnRecord, t0_ns: int, t1_ns: int | None, t2_ns: int | None, t3_ns: int | None) -> TurnRecord:
    legs = _legs(t0_ns, t1_ns, t2_ns, t3_ns)
    update: dict[str, object] = {"live": legs, "perceived_gap_ms": legs.total_ms, "first_byte_ms": None}
    if t1_ns is None:
        update |= {"turn_gap_ms": None, "turn_gap_frame_ms": None, "stages": None, "path": (), "bars": ()}
        update |= _unless_bad(turn, "what the caller said was not found on the agent's leg")
    elif t2_ns is not None and t3_ns is None:
        update |= _unless_bad(turn, "the agent answered, and the caller's leg never had it")
    return turn.model_copy(update=update)


def _unless_bad(turn: TurnRecord, detail: str) -> dict[str, object]:
    """Such a turn is not answered; one that is already worse keeps its name."""
    if turn.outcome not in (Outcome.ANSWERED, Outcome.INVALID):
        return {}
    return {"outcome": Outcome.MISSED, "detail": detail}


def _legs(t0_ns: int, t1_ns: int | None, t2_ns: int | None, t3_ns: int | None) -> LegTimes:
    return LegTimes(
        uplink_ms=_ms(t0_ns, t1_ns),
        server_gap_ms=_ms(t1_ns, t2_ns),
        downlink_ms=_ms(t2_ns, t3_ns),
        total_ms=_ms(t0_ns, t3_ns),
    )


def _ms(from_ns: int | None, to_ns: int | None) -> float | None:
    return None if from_ns is None or to_ns is None else (to_ns - from_ns) / NS_PER_MS


def _coded(pcm: Pcm16) -> Pcm16:
    """As it comes out of μ-law."""
    return mulaw.decode(mulaw.encode(pcm))
