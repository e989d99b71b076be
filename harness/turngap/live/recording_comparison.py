"""Compares a live call with Twilio's own dual-channel recording, analysed as the live legs are. Pure.

The caller's channel is found by correlation with the caller's clips. The recording is unrelated to this host's clock:
only the total, mouth to ear, can be measured in it.
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
from turngap.live.cross_correlation import find_end, find_match
from turngap.live.leg_audio import TimedAudio, render_playout
from turngap.live.live_scoring import REPLY_SAMPLES, refine_onset
from turngap.model.live import RecordingFigures
from turngap.model.plural import plural
from turngap.model.records import Pcm16
from turngap.model.turn import TurnRecord

LONGEST_NS = 15 * 10**9
"""How long a reply is searched for, at most until the next utterance has ended; independent of the live legs."""


@dataclass(frozen=True, slots=True)
class Channels:
    """A recording: two channels of shape (n,), 8 kHz."""

    pcm: tuple[Pcm16, Pcm16]


def read_channels(wav: bytes) -> Channels:
    """Read a two-channel WAV file.

    Raises:
        LiveError: it is not a WAV file, or not of two channels, 16 bit, 8 kHz.
    """
    try:
        with wave.open(io.BytesIO(wav)) as file:
            channels, rate, width = file.getnchannels(), file.getframerate(), file.getsampwidth()
            data = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise LiveError(f"the recording is not a WAV file ({error})") from None
    if channels != 2 or width != 2 or rate != SAMPLE_RATE:
        raise LiveError(
            f"the recording has {plural(channels, 'channel')} of {8 * width} bit at {rate} Hz; "
            "expected 2 of 16 bit at 8000 Hz"
        )
    pcm = np.frombuffer(data, "<i2").reshape(-1, 2).astype(np.int16)
    return Channels((pcm[:, 0].copy(), pcm[:, 1].copy()))


def find_caller_channel(channels: Channels, caller: CallerTrace) -> int | None:
    """Return the channel that best matches the caller's first utterance; None if neither does."""
    if not caller.record.spoken:
        return None
    clip = caller.record.spoken[0].clip.pcm
    scores = [0.0 if (match := find_match(clip, pcm)) is None else match.score for pcm in channels.pcm]
    return None if max(scores) == 0 else int(np.argmax(scores))


def measure_mouth_to_ear_ms(
    channels: Channels, own: int, caller: CallerTrace, agent: AgentTrace | None, turns: Sequence[TurnRecord]
) -> list[float | None]:
    """Return the mouth-to-ear time of each utterance in the recording, in ms; None if one of its ends is not found.

    `own` is the caller's channel.
    """
    callers, agents = TimedAudio(0, channels.pcm[own]), TimedAudio(0, channels.pcm[1 - own])
    totals: list[float | None] = []
    origin_ns: int | None = None
    utterances = caller.record.spoken
    for index, (spoken, turn) in enumerate(zip(utterances, turns, strict=False)):
        at_ns = caller.record.sample_ns(spoken.end_sample)
        # The first utterance may be anywhere; the others have their known distance from it.
        piece = (
            callers
            if origin_ns is None
            else callers.between(at_ns - origin_ns - 5 * 10**9, at_ns - origin_ns + 2 * 10**9)
        )
        end = find_end(spoken.clip.pcm, piece.pcm)
        if end is None:
            totals.append(None)
            continue
        t0_ns = piece.sample_ns(end)
        origin_ns = at_ns - t0_ns if origin_ns is None else origin_ns
        until_next = [
            (following.end_sample - spoken.end_sample) * NS_PER_SAMPLE
            for following in utterances[index + 1 : index + 2]
        ]
        t3_ns = _reply_ns(agents.between(t0_ns, t0_ns + min([LONGEST_NS, *until_next])), t0_ns, agent, turn)
        totals.append(None if t3_ns is None else (t3_ns - t0_ns) / NS_PER_MS)
    return totals


def compare_with_recording(turns: Sequence[TurnRecord], channel: int | None) -> RecordingFigures:
    """Return how far the times in the recording are from the live ones."""
    differences_ms = [
        turn.live.witness_ms - turn.live.total_ms
        for turn in turns
        if turn.live is not None and turn.live.witness_ms is not None and turn.live.total_ms is not None
    ]
    return RecordingFigures(
        n=len(differences_ms),
        median_difference_ms=float(np.median(differences_ms)) if differences_ms else None,
        largest_difference_ms=max(differences_ms, key=abs) if differences_ms else None,
        caller_channel=channel,
    )


def _reply_ns(piece: TimedAudio, t0_ns: int, agent: AgentTrace | None, turn: TurnRecord) -> int | None:
    """Return the start of the reply: the position of the audio that the agent sent, or else the first onset."""
    if agent is not None and turn.t1_ns is not None:
        source = render_playout(agent.sent)
        match = find_match(source.pcm[source.index(turn.t1_ns) :][:REPLY_SAMPLES], piece.pcm)
        if match is not None:
            return piece.sample_ns(match.at)
    onset_ns = find_onset((Segment(piece.start_ns, piece.pcm),), t0_ns)
    return None if onset_ns is None else refine_onset(piece, onset_ns)
