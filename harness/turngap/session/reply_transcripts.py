"""Transcribes, after a run's calls, the replies whose content the agent's spans do not say.

The recogniser is the agent package's, in a process of its own (`python -m turngap_agent.transcribe`), once the calls
have ended: never beside one. Nothing is fetched: where the recogniser or its weights are missing, the time to substance
stays unknown, and the turns say what to install.
"""

from __future__ import annotations

import json
import subprocess
import wave
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from turngap.model.plural import plural
from turngap.model.records import Pcm16
from turngap.model.turn import TurnRecord
from turngap.processes import child
from turngap.scenario.content import Openings
from turngap.scoring.heard_content import HeardWord, find_content, with_content

MODULE = "turngap_agent.transcribe"
AGENT_CHANNEL = 1
TAIL_MS = 100.0
START_TIMEOUT_S, REPLY_TIMEOUT_S = 120.0, 20.0
_NICE = 5


def needs_transcript(turn: TurnRecord) -> bool:
    """Return whether a turn was answered, and what was said is not known."""
    return (
        turn.scored
        and turn.expectation.needs_answer
        and turn.turn_gap_ms is not None
        and not turn.substance_from
        and turn.audio is not None
    )


def transcribe_replies(
    folder: Path, turns: Sequence[TurnRecord], openings: Openings
) -> tuple[list[TurnRecord], tuple[str, ...]]:
    """Return the turns of a run with the substance that the transcripts of its recordings show, and notes on that.

    Where the recogniser is not at hand, the turns say why in `substance_note`.
    """
    wanted = [turn for turn in turns if needs_transcript(turn) and (folder / str(turn.audio)).is_file()]
    if not wanted:
        return list(turns), ()
    answers, trouble = _ask([_request(folder, turn) for turn in wanted])
    if trouble:
        replaced = {_key(turn): turn.model_copy(update={"substance_note": trouble}) for turn in wanted}
        note = f"time to substance is not known of {plural(len(wanted), 'turn')}: {trouble}"
    else:
        interrupting = {(turn.call, turn.turn - 1) for turn in turns if turn.over_agent}
        replaced = {
            _key(turn): _apply(folder, turn, answer, openings, interrupted=_key(turn) in interrupting)
            for turn, answer in zip(wanted, answers, strict=True)
        }
        replies = plural(len(wanted), "reply", "replies")
        note = f"substance: {replies} without spans of clauses {'was' if len(wanted) == 1 else 'were'} transcribed"
    return [replaced.get(_key(turn), turn) for turn in turns], (note,)


def _key(turn: TurnRecord) -> tuple[int, int]:
    return turn.call, turn.turn


def _apply(
    folder: Path, turn: TurnRecord, answer: dict[str, Any], openings: Openings, *, interrupted: bool
) -> TurnRecord:
    if "error" in answer:
        return turn.model_copy(update={"substance_note": f"its reply was not transcribed: {answer['error']}"})
    words = [HeardWord(str(word["text"]), float(word["start_ms"]), float(word["end_ms"])) for word in answer["words"]]
    content = find_content(_read_reply(folder, turn), words, openings)
    return with_content(turn, content, interrupted=interrupted)


def _span_ms(turn: TurnRecord) -> tuple[float, float]:
    """Return from when to when the reply is in its recording, ms."""
    from_ms = (turn.audio_offset_ms or 0.0) + (turn.turn_gap_ms or 0.0)
    return from_ms, from_ms + (turn.reply_ms or 0.0) + TAIL_MS


def _request(folder: Path, turn: TurnRecord) -> dict[str, Any]:
    from_ms, to_ms = _span_ms(turn)
    wav = str(folder / str(turn.audio))
    return {"wav": wav, "channel": AGENT_CHANNEL, "start_s": from_ms / 1000, "end_s": to_ms / 1000}


def _read_reply(folder: Path, turn: TurnRecord) -> Pcm16:
    """Return the agent's side of the recording, from t1 on; shape (n,)."""
    from_ms, to_ms = _span_ms(turn)
    with wave.open(str(folder / str(turn.audio)), "rb") as file:
        rate, channels = file.getframerate(), file.getnchannels()
        file.setpos(min(file.getnframes(), round(from_ms * rate / 1000)))
        data = file.readframes(round((to_ms - from_ms) * rate / 1000))
    return np.frombuffer(data, "<i2").reshape(-1, channels)[:, AGENT_CHANNEL].astype(np.int16)


def _ask(requests: Sequence[dict[str, Any]]) -> tuple[list[dict[str, Any]], str]:
    """Return an answer for each request, or why there is none."""
    command = child.leashed(child.python_command(MODULE), nice=_NICE)
    text = "".join(json.dumps(request) + "\n" for request in requests)
    try:
        result = subprocess.run(
            command,
            input=text,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT_S + REPLY_TIMEOUT_S * len(requests),
            start_new_session=True,  # Ctrl-C ends the calls; what they measured is finished all the same
            check=False,
        )
    except subprocess.TimeoutExpired:
        return [], "the recogniser did not answer in time"
    lines = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    if lines and "error" in lines[0] and "code" in lines[0]:
        return [], str(lines[0]["error"])
    if len(lines) != len(requests) + 1:
        last = (result.stderr.strip().splitlines() or ["no message"])[-1]
        return [], f"the recogniser ended early ({last})"
    return lines[1:], ""
