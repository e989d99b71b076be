"""A second witness: Twilio's own dual-channel recording of a call, analysed as the live legs are. Pure but for reading.

Which channel is the caller's is found by correlation with what the caller said. The recording has its own time line, so
it knows nothing of our clock: only the total, mouth to ear, stands in it.
"""

from __future__ import annotations

import io
import wave
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from turngap_agent.errors import LiveError
from turngap_agent.telephony import SAMPLE_RATE

from turngap.caller.onset import Segment, find_onset
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE
from turngap.live.agent_leg import AgentTrace
from turngap.live.caller_leg import CallerTrace
from turngap.live.cross_correlation import find, find_end
from turngap.live.leg_audio import TimedAudio, render_playout
from turngap.live.live_scoring import REPLY_SAMPLES, refine_onset
from turngap.model.live import RecordingCheck
from turngap.model.plural import plural
from turngap.model.records import Pcm16
from turngap.model.turn import TurnRecord

LONGEST_NS = 15 * 10**9
"""A reply is looked for so long, at most until the next utterance has ended: nothing of it hangs on the live legs."""


@dataclass(frozen=True, slots=True)
class Channels:
    """A recording, 8 kHz."""

    pcm: tuple[Pcm16, Pcm16]


def read(wav: bytes) -> Channels:
    """A two-channel WAV file.

    Raises:
        LiveError: it is none, or has one channel.
    """
    try:
        with wave.open(io.BytesIO(wav)) as file:
            channels, rate, width = file.getnchannels(), file.getframerate(), file.getsampwidth()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as fault:
        raise LiveError(f"the recording is no WAV file ({fault})") from None
    if channels != 2 or width != 2 or rate != SAMPLE_RATE:
        raise LiveError(
            f"the recording has {plural(channels, 'channel')} of {8 * width} bit at {rate} Hz; "
            "it needs 2 of 16 bit at 8000"
        )
    pcm = np.frombuffer(data, "<i2").reshape(-1, 2).astype(np.int16)
    return Channels((pcm[:, 0].copy(), pcm[:, 1].copy()))


def caller_channel(channels: Channels, caller: CallerTrace) -> int | None:
    """The channel in which the caller's first utterance is most alike; None where it is in neither."""
    if not caller.record.spoken:
        return None
    clip = caller.record.spoken[0].clip.pcm
    scores = [0.0 if (match := find(clip, pcm)) is None else match.score for pcm in channels.pcm]
    return None if max(scores) == 0 else int(np.argmax(scores))


def totals_ms(
    channels: Channels, own: int, caller: CallerTrace, agent: AgentTrace | None, turns: Sequence[TurnRecord]
) -> list[float | None]:
    """Mouth to ear of each utterance, in the recording; None where an end of it is not found."""
    mine, other = TimedAudio(0, channels.pcm[own]), TimedAudio(0, channels.pcm[1 - own])
    found: list[float | None] = []
    origin_ns: int | None = None
    said = caller.record.spoken
    for place, (spoken, turn) in enumerate(zip(said, turns, strict=False)):
        at_ns = caller.record.sample_ns(spoken.end_sample)
        # The first utterance may lie anywhere; the others lie as far from it as they were said.
        piece = (
            mine if origin_ns is None else mine.between(at_ns - origin_ns - 5 * 10**9, at_ns - origin_ns + 2 * 10**9)
        )
        end = find_end(spoken.clip.pcm, piece.pcm)
        if end is None:
            found.append(None)
            continue
        t0_ns = piece.sample_ns(end)
        origin_ns = at_ns - t0_ns if origin_ns is None else origin_ns
        later = [(one.end_sample - spoken.end_sample) * NS_PER_SAMPLE for one in said[place + 1 : place + 2]]
        t3_ns = _reply_ns(other.between(t0_ns, t0_ns + min([LONGEST_NS, *later])), t0_ns, agent, turn)
        found.append(None if t3_ns is None else (t3_ns - t0_ns) / NS_PER_MS)
    return found


def compare(turns: Sequence[TurnRecord], channel: int | None) -> RecordingCheck:
    """How far recordings and live figures lie apart."""
    pairs = [
        turn.live.witness_ms - turn.live.total_ms
        for turn in turns
        if turn.live is not None and turn.live.witness_ms is not None and turn.live.total_ms is not None
    ]
    return RecordingCheck(
        n=len(pairs),
        median_difference_ms=float(np.median(pairs)) if pairs else None,
        largest_difference_ms=max(pairs, key=abs) if pairs else None,
        caller_channel=channel,
    )


def _reply_ns(piece: TimedAudio, t0_ns: int, agent: AgentTrace | None, turn: TurnRecord) -> int | None:
    """Where the reply begins: what the agent's leg said, looked for; else the first onset, as on the caller's leg."""
    if agent is not None and turn.t1_ns is not None:
        source = render_playout(agent.said)
        match = find(source.pcm[source.index(turn.t1_ns) :][:REPLY_SAMPLES], piece.pcm)
        if match is not None:
            return piece.sample_ns(match.at)
    onset_ns = find_onset((Segment(piece.start_ns, piece.pcm),), t0_ns)
    return None if onset_ns is None else refine_onset(piece, onset_ns)
