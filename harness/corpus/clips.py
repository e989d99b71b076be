"""The utterances of a scenario, ready to be spoken: fetched, levelled, trimmed, labelled, refused where not firm.

Every voice is brought to -20 dBFS over its active frames (less where its peaks would pass -1 dBFS, so that μ-law
never clips), then labelled, and cut at the end of speech. Prompts that are joined follow each other after 120-160 ms of
comfort noise, which is shorter than endpointing waits.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from harness.caller.noise import comfort_noise
from harness.caller.onset import levels_dbfs
from harness.corpus import voices
from harness.corpus.labels import BELOW_P95_DB, label
from harness.corpus.voices import Prompts, Report, Utterance
from harness.records import Clip, Pcm16
from harness.scenario import Scenario, Turn
from pipeline.errors import HarnessError, ScenarioError, WeightsError

ACTIVE_DBFS = -20.0
PEAK_DBFS = -1.0
MAX_GAIN_DB = 30.0
"""Noise is not made into a voice."""
JOIN_MS = (120, 160)
HEAD_SAMPLES = 400
"""50 ms kept before the speech: a soft onset lies under the threshold."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """What can be said of a scenario."""

    clips: Mapping[str, Clip]
    """By `Turn.key`."""
    notes: tuple[str, ...]
    """What was left out or replaced, and why: one line each, for the run's record."""
    scenario: Scenario
    """The scenario without the turns that were left out."""


def prepare(scenario: Scenario, report: Report | None = None) -> Corpus:
    """Make every clip of a scenario; blocks while something is fetched. `report` takes progress (default: stderr).

    A recording whose end of speech is not firm to 20 ms is left out with a note. Where the recorded prompts are not to
    be had, the synthetic voice says their `expect:`, with a note.

    Raises:
        ScenarioError: a prompt or file that does not exist, or holds no speech.
        EngineError: the synthetic voice is needed and does not run.
        HarnessError: nothing is left to be said.
    """
    report = report or (lambda line: print(f"turngap: {line}", file=sys.stderr))
    notes: list[str] = []
    prompts, reason = _prompts(scenario, report)
    clips: dict[str, Clip] = {}
    replaced = 0
    for turn in scenario.turns:
        try:
            pieces = _pieces(turn, prompts, reason, report)
            clip = make_clip(turn.key, pieces, turn.expect)
        except ScenarioError as fault:
            raise ScenarioError(f"scenario {scenario.name!r}, turn {turn.key!r}: {fault}") from None
        if isinstance(clip, str):
            notes.append(f"turn {turn.key!r} is left out: {clip}")
            continue
        clips[turn.key] = clip
        replaced += turn.prompt is not None and clip.synthetic
    if replaced:
        notes.append(f"the synthetic voice speaks for {replaced} recorded prompts, which are not to be had: {reason}")
    if not clips:
        raise HarnessError(f"scenario {scenario.name!r}: no clip has a firm end of speech; {notes[0]}")
    kept = tuple(turn for turn in scenario.turns if turn.key in clips)
    return Corpus(clips, tuple(notes), scenario.model_copy(update={"turns": kept}))


def make_clip(clip_id: str, pieces: Sequence[Utterance], transcript: str | None = None) -> Clip | str:
    """One clip of utterances said one after the other; a string says why it cannot be used.

    `transcript` replaces the pieces' own.

    Raises:
        ScenarioError: a piece holds no speech.
    """
    joined = _join(clip_id, [piece.pcm for piece in pieces])
    found = label(joined)
    if found is None:
        raise ScenarioError("no speech in it")
    if not found.stable and all(piece.synthetic for piece in pieces):
        # Nobody spoke: what fades is cut where the raised threshold has it end, and the end is firm.
        joined = joined[: found.end_sample + round(found.high_ms * 8)]
        found = label(joined) or found
    if not found.stable:
        return (
            f"its end of speech moves by {found.low_ms:+.0f} / {found.high_ms:+.0f} ms when the thresholds move by "
            "-5 / +5 dB, over 20 ms"
        )
    head = max(0, found.start_sample - HEAD_SAMPLES)
    own = [piece.transcript for piece in pieces]
    words = transcript or (" ".join(clean_transcript(text or "") for text in own) if all(own) else None)
    return Clip(
        clip_id=clip_id,
        pcm=joined[head : found.end_sample],
        speech_start_sample=found.start_sample - head,
        transcript=words,
        label_low_ms=found.low_ms,
        label_high_ms=found.high_ms,
        source=pieces[0].source,
        synthetic=any(piece.synthetic for piece in pieces),
    )


def clean_transcript(text: str) -> str:
    """A transcript without what is not spoken: remarks in brackets, ellipses, doubled spaces."""
    spoken = re.sub(r"\[[^]]*\]|\([^)]*\)|<[^>]*>|\.\.\.|…", " ", text)
    return " ".join(spoken.split())


def normalise(pcm: Pcm16) -> Pcm16:
    """Speech at -20 dBFS over its frames within 35 dB of p95, peaks at most -1 dBFS, 30 dB louder at most; (n,)."""
    peak = int(np.abs(pcm.astype(np.int32)).max(initial=0))
    if peak == 0:
        return pcm
    levels = levels_dbfs(pcm)
    active = levels[levels >= np.percentile(levels, 95) - BELOW_P95_DB]
    level = 10 * np.log10(np.mean(10 ** (active / 10)))
    gain_db = min(ACTIVE_DBFS - level, PEAK_DBFS - 20 * np.log10(peak / 32_768), MAX_GAIN_DB)
    scaled: Pcm16 = np.rint(pcm * 10 ** (gain_db / 20)).astype(np.int16)
    return scaled


def _prompts(scenario: Scenario, report: Report) -> tuple[Prompts | None, str]:
    if all(turn.prompt is None for turn in scenario.turns):
        return None, ""
    try:
        return Prompts.fetch(report), ""
    except WeightsError as fault:
        return None, str(fault)


def _pieces(turn: Turn, prompts: Prompts | None, reason: str, report: Report) -> list[Utterance]:
    if turn.audio is not None:
        return [voices.recording(turn.audio)]
    if turn.say is not None:
        return [voices.speak(turn.say, report)]
    names = (turn.prompt,) if isinstance(turn.prompt, str) else turn.prompt or ()
    if prompts is not None:
        return [prompts.get(name) for name in names]
    if turn.expect is None:
        raise ScenarioError(f"the recorded prompts are not to be had ({reason}), and it has no `expect:` to be spoken")
    return [voices.speak(turn.expect, report)]


def _join(clip_id: str, pieces: Sequence[Pcm16]) -> Pcm16:
    """Pieces, levelled, with short gaps of comfort noise; the last keeps its tail, for the label of the whole."""
    rng = random.Random(clip_id)
    parts: list[Pcm16] = []
    for index, piece in enumerate(pieces):
        levelled = normalise(piece)
        found = label(levelled)
        if found is None:
            raise ScenarioError("no speech in it")
        first, last = index == 0, index == len(pieces) - 1
        start = max(0, found.start_sample - HEAD_SAMPLES) if first else found.start_sample
        parts.append(levelled[start : None if last else found.end_sample])
        if not last:
            parts.append(comfort_noise(rng.randint(*JOIN_MS) * 8, f"{clip_id}:{index}"))
    return np.concatenate(parts)
