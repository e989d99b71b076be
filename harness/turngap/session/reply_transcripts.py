"""Transcribes, after a run's calls, the replies whose content the agent's spans do not say or leave in doubt, and with
a budget a sample of the others, to compare them with what the agent reports.

The recogniser is the agent package's, in a process of its own (`python -m turngap_agent.transcribe`), once the calls
have ended: never beside one. Nothing is fetched: where the recogniser or its weights are missing, the time to substance
stays unknown, and the turns say what to install.
"""

from __future__ import annotations

import wave
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from turngap.findings.voice_opinion import judge_onset
from turngap.model.finding import FindingKind
from turngap.model.plural import plural
from turngap.model.records import Pcm16
from turngap.model.turn import TurnRecord
from turngap.processes.recogniser import transcribe_pieces
from turngap.scenario.content import Openings
from turngap.scoring.heard_content import (
    HeardContent,
    HeardWord,
    describe_difference,
    find_content,
    refine_content,
    with_content,
)
from turngap.scoring.substance import SPANS
from turngap.verdict import content_sample
from turngap.verdict.content_sample import ContentSample

AGENT_CHANNEL = 1
TAIL_MS = 100.0
OPINIONS = frozenset({FindingKind.NO_VOICE, FindingKind.LATE_VOICE})


@dataclass(frozen=True, slots=True)
class Transcribed:
    """The turns of a run, with what the transcripts of their recordings show."""

    turns: tuple[TurnRecord, ...]
    notes: tuple[str, ...] = ()
    content: ContentSample | None = None
    """Whether the agent's clauses are what was heard, in a sample; None where that was not asked, or spans say nothing.
    """


def needs_transcript(turn: TurnRecord) -> bool:
    """Return whether a turn was answered, and what was said is not known."""
    return (
        turn.scored
        and turn.expectation.needs_answer
        and turn.turn_gap_ms is not None
        and not turn.substance_from
        and turn.audio is not None
    )


def is_in_doubt(turn: TurnRecord) -> bool:
    """Return whether the spans leave it open where in a clause the content starts."""
    by_spans = turn.substance_from == SPANS and turn.substance_gap_ms is not None
    return turn.scored and by_spans and bool(turn.substance_note) and turn.audio is not None


def transcribe_replies(
    folder: Path,
    turns: Sequence[TurnRecord],
    openings: Openings,
    *,
    sample_seed: str | None = None,
    says_words: bool = True,
) -> Transcribed:
    """Return the turns of a run with the substance that the transcripts of its recordings show, and notes on that.

    Where the recogniser is not at hand, the turns say why in `substance_note`.

    Args:
        folder: The run folder.
        turns: Its turns.
        openings: What carries no content.
        sample_seed: What selects the replies whose clauses are compared with what was heard; None: none are.
        says_words: The agent speaks; False: it is known to make other sounds, in which no content can be found.
    """
    unknown = [turn for turn in turns if says_words and needs_transcript(turn) and (folder / str(turn.audio)).is_file()]
    doubted = [turn for turn in turns if says_words and is_in_doubt(turn) and (folder / str(turn.audio)).is_file()]
    sample = content_sample.select_sample(turns, sample_seed) if sample_seed is not None else []
    compared = [turn for turn in sample if says_words and turn.audio and (folder / turn.audio).is_file()]
    skipped = "the profile says no words" if not says_words else "" if compared else "no recording is left"
    wanted = [*unknown, *doubted, *compared]
    if not wanted:
        return Transcribed(tuple(turns), (), ContentSample(0, skipped=skipped) if sample else None)
    answers, trouble = transcribe_pieces([_request(folder, turn) for turn in wanted])
    if trouble:
        notes = [f"time to substance is not known of {plural(len(unknown), 'turn')}: {trouble}"] if unknown else []
        if doubted:
            notes.append(f"content counts from the latest time in {plural(len(doubted), 'turn')}: {trouble}")
        replaced = {_key(turn): turn.model_copy(update={"substance_note": trouble}) for turn in unknown}
        later = {_key(turn): _add_note(turn, trouble) for turn in doubted}
        return _replace(turns, replaced | later, notes, ContentSample(0, skipped=trouble) if sample else None)
    interrupting = {(turn.call, turn.turn - 1) for turn in turns if turn.over_agent}
    found = [_find(folder, turn, answer, openings) for turn, answer in zip(wanted, answers, strict=True)]
    contents = dict(zip(map(_key, wanted), found, strict=True))
    replaced = {}
    for turn in (*unknown, *doubted):
        heard = contents[_key(turn)]
        if isinstance(heard, str):
            replaced[_key(turn)] = _add_note(turn, f"its reply was not transcribed: {heard}")
        elif turn.substance_from:
            replaced[_key(turn)] = refine_content(turn, heard)
        else:
            replaced[_key(turn)] = with_content(turn, heard, interrupted=_key(turn) in interrupting)
    for turn, answer in zip(wanted, answers, strict=True):
        if "voice" in answer:
            replaced[_key(turn)] = _with_opinion(replaced.get(_key(turn), turn), answer["voice"])
    pairs = [(turn, heard) for turn in compared if not isinstance(heard := contents[_key(turn)], str)]
    differences = [text for turn, heard in pairs if (text := describe_difference(turn, heard))]
    content = ContentSample(len(pairs), len(differences), next(iter(differences), ""), skipped if not pairs else "")
    return _replace(turns, replaced, _describe(len(unknown), len(doubted)), content if sample else None)


def _describe(unknown: int, doubted: int) -> list[str]:
    notes = []
    for count, which in ((unknown, "without spans of clauses"), (doubted, "whose spans leave content's start open")):
        if count:
            was = "was" if count == 1 else "were"
            notes.append(f"substance: {plural(count, 'reply', 'replies')} {which} {was} transcribed")
    return notes


def _replace(
    turns: Sequence[TurnRecord],
    replaced: Mapping[tuple[int, int], TurnRecord],
    notes: Sequence[str],
    content: ContentSample | None,
) -> Transcribed:
    return Transcribed(tuple(replaced.get(_key(turn), turn) for turn in turns), tuple(notes), content)


def _add_note(turn: TurnRecord, text: str) -> TurnRecord:
    if text in turn.substance_note:  # of an earlier session
        return turn
    note = f"{turn.substance_note}; {text}" if turn.substance_from else text
    return turn.model_copy(update={"substance_note": note})


def _with_opinion(turn: TurnRecord, voice: Sequence[Sequence[float]]) -> TurnRecord:
    """Return the turn with what a voice detector finds in its reply, if that is not what the level says."""
    finding = judge_onset(turn.reply_ms or 0.0, [(start_ms, end_ms) for start_ms, end_ms in voice])
    others = tuple(one for one in turn.findings if one.kind not in OPINIONS)  # else of an earlier session
    return turn.model_copy(update={"findings": (*others, *([finding] if finding is not None else []))})


def _key(turn: TurnRecord) -> tuple[int, int]:
    return turn.call, turn.turn


def _find(folder: Path, turn: TurnRecord, answer: dict[str, Any], openings: Openings) -> HeardContent | str:
    """Return where the reply's content starts, or why it was not transcribed."""
    if "error" in answer:
        return str(answer["error"])
    words = [HeardWord(str(word["text"]), float(word["start_ms"]), float(word["end_ms"])) for word in answer["words"]]
    return find_content(_read_reply(folder, turn), words, openings, turn.audible_dbfs)


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
