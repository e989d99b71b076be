"""Recordings of calls: stereo WAV, the caller left, the agent right as it was played; and which of them are kept."""

from __future__ import annotations

import wave
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from turngap_agent import files
from turngap_agent.telephony import SAMPLE_RATE

from turngap.clock import NS_PER_SAMPLE
from turngap.model.records import CallRecord, Pcm16
from turngap.model.turn import GOOD, Outcome, TurnRecord
from turngap.verdict import summary


def make_stereo(call: CallRecord) -> Pcm16:
    """Return the call from its stream's first sample on, shape (n, 2)."""
    length = len(call.caller_pcm)
    for message in call.received:
        length = max(length, _sample_at(call, message.play_ns) + message.played_samples)
    pcm = np.zeros((length, 2), np.int16)
    pcm[: len(call.caller_pcm), 0] = call.caller_pcm
    for message in call.received:
        at, played = _sample_at(call, message.play_ns), message.pcm[: message.played_samples]
        if at < 0:  # audio received before the stream's first sample
            at, played = 0, played[-at:]
        pcm[at : at + len(played), 1] = played
    return pcm


def write_wav(file: Path, pcm: Pcm16) -> None:
    """Write 8 kHz `pcm`, shape (n, channels), atomically.

    Raises:
        OSError: it can't be written.
    """
    with files.replacing(file, sync=False) as draft, wave.open(draft, "wb") as out:
        out.setnchannels(pcm.shape[1])
        out.setsampwidth(2)
        out.setframerate(SAMPLE_RATE)
        out.writeframes(pcm.astype("<i2").tobytes())


def select_calls(turns: Sequence[TurnRecord]) -> set[int]:
    """Return the indices of the calls whose recordings are kept.

    Those with a failure, with the representative turn, and with the worst turn; if all turns are invalid, the slowest.
    """
    selected = {turn.call for turn in turns if turn.scored and turn.outcome not in (*GOOD, Outcome.INVALID)}
    examples = (summary.representative_turn(turns), summary.worst_turn(turns))
    selected |= {turn.call for turn in examples if turn is not None}
    scored = [turn for turn in turns if turn.scored]
    return selected or {turn.call for turn in sorted(scored, key=lambda turn: turn.turn_gap_ms or 0.0)[-1:]}


def drop_references(folder: Path, turns: Sequence[TurnRecord]) -> tuple[TurnRecord, ...]:
    """Return the turns, without `audio` where the call's recording is not kept or is missing in `folder`."""
    selected = select_calls(turns)
    return tuple(
        turn
        if turn.audio is None or (turn.call in selected and (folder / turn.audio).is_file())
        else turn.model_copy(update={"audio": None, "audio_offset_ms": None})
        for turn in turns
    )


def delete_unused(folder: Path, calls: Path, turns: Sequence[TurnRecord]) -> None:
    """Delete the recordings in the folder `calls` to which no turn refers."""
    used = {folder / turn.audio for turn in turns if turn.audio is not None}
    for file in calls.glob("*.wav"):
        if file not in used:
            file.unlink(missing_ok=True)


def _sample_at(call: CallRecord, at_ns: int) -> int:
    return round((at_ns - call.started_ns) / NS_PER_SAMPLE)
