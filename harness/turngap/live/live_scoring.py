"""Scores the turns of a live call from the traces of its legs: t0..t3 on one clock. Pure.

The agent's leg is scored by the common code as a call of its own: its caller is the audio that arrived (t1, found by
correlation with the known clip), its agent the audio sent to Twilio. Its turn gap is the server gap t2 - t1, which the
agent's spans explain. The caller's leg adds the times before and after.
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
from turngap.live.cross_correlation import find_end, find_match
from turngap.live.leg_audio import TimedAudio, render_playout
from turngap.model.live import LegTimes
from turngap.model.records import CallRecord, Pcm16, Received, Spoken
from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario import PlannedCall
from turngap.scoring.score import score_call

MAX_DELAY_NS = 2_500 * NS_PER_MS
"""The largest delay from one leg to the other that is looked for."""
REPLY_SAMPLES = 4_800
"""How much of the agent's reply is searched for on the caller's leg."""
ONSET_STEP_SAMPLES = 8
"""An onset's 10 ms frame is searched in steps of 1 ms."""


def score_both_legs(
    caller: CallerTrace, agent: AgentTrace, planned: PlannedCall, spans: Sequence[Span], *, alias: str, cold: bool
) -> tuple[list[TurnRecord], CallRecord]:
    """Score a call with both legs on this host; return its turns and the record of the agent's leg they come from."""
    t0s = t0s_ns(caller)
    t1s = [
        _locate_end_ns(spoken, t0_ns, agent.inbound) for spoken, t0_ns in zip(caller.record.spoken, t0s, strict=True)
    ]
    agent_record = _agent_record(caller, agent, t1s, alias)
    turns = score_call(agent_record, spans, planned, network_ms=0.0, cold=cold)
    for index, (t0_ns, t1_ns, turn) in enumerate(zip(t0s, t1s, turns, strict=False)):
        t2_ns = turn.t1_ns
        t3_ns = None if t2_ns is None else _locate_reply_ns(agent.sent, t2_ns, caller.inbound)
        turns[index] = _with_legs(turn, t0_ns, t1_ns, t2_ns, t3_ns)
    return turns, agent_record


def score_caller_leg(caller: CallerTrace, planned: PlannedCall, *, cold: bool) -> list[TurnRecord]:
    """Score a call with only the caller's leg on this host: the turns have mouth-to-ear times only."""
    turns = score_call(caller.record, (), planned, network_ms=0.0, cold=cold)
    with_totals = []
    for index, turn in enumerate(turns):
        late_ns = caller.late_ns[index] if index < len(caller.late_ns) else 0
        t3_ns = None if turn.t1_ns is None else refine_onset(caller.inbound, turn.t1_ns)
        total = None if t3_ns is None else (t3_ns - turn.t0_ns - late_ns) / NS_PER_MS
        legs = LegTimes(uplink_ms=None, server_gap_ms=None, downlink_ms=None, total_ms=total)
        gap = {"turn_gap_ms": total, "perceived_gap_ms": total, "t1_ns": t3_ns}
        with_totals.append(turn.model_copy(update={"live": legs, "first_byte_ms": None, **gap}))
    return with_totals


def measure_echo(caller: CallerTrace, agent: AgentTrace) -> list[LegTimes]:
    """Return, for each utterance of an echo call, the times of its last sample through the loop and back."""
    legs = []
    for spoken, t0_ns in zip(caller.record.spoken, t0s_ns(caller), strict=True):
        t1_ns = _locate_end_ns(spoken, t0_ns, agent.inbound)
        t2_ns = _locate_end_ns(spoken, t0_ns, agent.outbound)
        t3_ns = _locate_end_ns(spoken, t0_ns, caller.inbound)
        legs.append(_leg_times(t0_ns, t1_ns, t2_ns, t3_ns))
    return legs


def t0s_ns(caller: CallerTrace) -> list[int]:
    """Return, for each utterance, when Twilio could play its last sample if transport to Twilio took no time."""
    record = caller.record
    return [
        record.sample_ns(spoken.end_sample) + late_ns
        for spoken, late_ns in zip(record.spoken, caller.late_ns, strict=True)
    ]


def refine_onset(audio: TimedAudio, onset_ns: int) -> int:
    """Return an onset to 1 ms: the first millisecond that reaches a tenth of the loudest one in the next 20 ms."""
    frame = audio.between(onset_ns, onset_ns + 20 * NS_PER_MS).pcm.astype(np.float64)
    whole = len(frame) // ONSET_STEP_SAMPLES * ONSET_STEP_SAMPLES
    if not whole:
        return onset_ns
    levels = np.sqrt(np.square(frame[:whole]).reshape(-1, ONSET_STEP_SAMPLES).mean(axis=1))
    first = int(np.argmax(levels >= 0.1 * levels.max()))
    return onset_ns + first * ONSET_STEP_SAMPLES * NS_PER_SAMPLE


def _locate_end_ns(spoken: Spoken, t0_ns: int, audio: TimedAudio) -> int | None:
    """Return the time of the utterance's last sample in the audio of another leg; None if it is not found."""
    length_ns = len(spoken.clip.pcm) * NS_PER_SAMPLE
    piece = audio.between(t0_ns - length_ns - 20 * NS_PER_MS, t0_ns + MAX_DELAY_NS)
    end = find_end(mulaw.decode(mulaw.encode(spoken.clip.pcm)), piece.pcm)
    return None if end is None else piece.sample_ns(end)


def _locate_reply_ns(sent: Sequence[Received], t2_ns: int, audio: TimedAudio) -> int | None:
    """Return when the audio that the agent sent at t2 is on the caller's leg; None if it is not found."""
    source = render_playout(sent)
    reply = source.pcm[source.index(t2_ns) :][:REPLY_SAMPLES]
    nonzero = np.flatnonzero(reply)
    if not len(nonzero):
        return None
    piece = audio.between(t2_ns - 20 * NS_PER_MS, t2_ns + MAX_DELAY_NS + len(reply) * NS_PER_SAMPLE)
    match = find_match(reply[: int(nonzero[-1]) + 1], piece.pcm)
    return None if match is None else piece.sample_ns(match.at)


def _agent_record(caller: CallerTrace, agent: AgentTrace, t1s: Sequence[int | None], alias: str) -> CallRecord:
    """Return the agent's leg as a call: its caller is the inbound audio, with the utterances at their t1."""
    inbound, record = agent.inbound, caller.record
    frames = -(-len(inbound.pcm) // FRAME_SAMPLES)
    pcm: Pcm16 = np.zeros(frames * FRAME_SAMPLES, np.int16)
    pcm[: len(inbound.pcm)] = inbound.pcm
    spoken = []
    sent_ns = inbound.start_ns + (np.arange(frames, dtype=np.int64) + 1) * FRAME_NS
    for utterance, t0_ns, t1_ns, late_ns in zip(record.spoken, t0s_ns(caller), t1s, caller.late_ns, strict=True):
        end = round(((t1_ns if t1_ns is not None else t0_ns) - inbound.start_ns) / NS_PER_SAMPLE)
        end = max(end, len(utterance.clip.pcm))
        start = end - len(utterance.clip.pcm)
        spoken.append(replace(utterance, start_sample=start, end_sample=end))
        sent_ns[start // FRAME_SAMPLES : -(-end // FRAME_SAMPLES)] += late_ns
    return replace(
        record,
        call_sid=alias,
        started_ns=inbound.start_ns,
        sent_ns=sent_ns,
        caller_pcm=pcm,
        spoken=tuple(spoken),
        received=agent.sent,
        marks=agent.marks,
        clears_ns=agent.clears_ns,
        lead_ns=FRAME_NS,
    )


def _with_legs(turn: TurnRecord, t0_ns: int, t1_ns: int | None, t2_ns: int | None, t3_ns: int | None) -> TurnRecord:
    legs = _leg_times(t0_ns, t1_ns, t2_ns, t3_ns)
    update: dict[str, object] = {"live": legs, "perceived_gap_ms": legs.total_ms, "first_byte_ms": None}
    if t1_ns is None:
        update |= {"turn_gap_ms": None, "turn_gap_frame_ms": None, "stages": None, "path": (), "bars": ()}
        update |= _as_missed(turn, "the caller's utterance was not found on the agent's leg")
    elif t2_ns is not None and t3_ns is None:
        update |= _as_missed(turn, "the agent answered, but the reply did not arrive on the caller's leg")
    return turn.model_copy(update=update)


def _as_missed(turn: TurnRecord, detail: str) -> dict[str, object]:
    """Return the changes that make a turn missed; none if its outcome is already worse."""
    if turn.outcome not in (Outcome.ANSWERED, Outcome.INVALID):
        return {}
    return {"outcome": Outcome.MISSED, "detail": detail}


def _leg_times(t0_ns: int, t1_ns: int | None, t2_ns: int | None, t3_ns: int | None) -> LegTimes:
    return LegTimes(
        uplink_ms=_difference_ms(t0_ns, t1_ns),
        server_gap_ms=_difference_ms(t1_ns, t2_ns),
        downlink_ms=_difference_ms(t2_ns, t3_ns),
        total_ms=_difference_ms(t0_ns, t3_ns),
    )


def _difference_ms(from_ns: int | None, to_ns: int | None) -> float | None:
    return None if from_ns is None or to_ns is None else (to_ns - from_ns) / NS_PER_MS
