"""The utterances of a scenario, ready to be spoken: fetched, levelled, trimmed, labelled, refused where not firm.

Every voice is brought to -20 dBFS over its active frames (less where its peaks would pass -1 dBFS, so that μ-law
never clips), then labelled, and cut at the end of speech. Noise is laid behind it last, so that it moves no label.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial

from turngap_agent.errors import HarnessError, ScenarioError, WeightsError

from turngap.corpus import audio_sources, background_noise, non_speech
from turngap.corpus.audio_sources import Prompts, Report, Utterance
from turngap.corpus.concatenation import HEAD_SAMPLES, join
from turngap.corpus.labels import label
from turngap.corpus.mixing import mix
from turngap.model.records import Clip, Pcm16
from turngap.scenario import Expectation, Scenario, Turn

BABBLE_PROMPTS = 60
BABBLE_TEXTS = (
    "I told her that we would be there by noon, but the train was late again.",
    "They have painted the kitchen yellow, and it looks much better now.",
    "Could you bring me the large box from the car when you come back?",
    "He never said a word about the money until the very last day.",
    "We might go to the lake on Saturday if the weather holds.",
    "The second one was cheaper, and I liked the colour more anyway.",
)
"""What the synthetic voice says where babble cannot be made of recorded prompts."""


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
            clip = _clip(turn, prompts, reason, report)
        except ScenarioError as fault:
            raise ScenarioError(f"scenario {scenario.name!r}, turn {turn.key!r}: {fault}") from None
        if isinstance(clip, str) and scenario.shuffle == "calls":
            raise ScenarioError(
                f"scenario {scenario.name!r}, turn {turn.key!r}: {clip}; it cannot be left out of its call: replace it"
            )
        if isinstance(clip, str):
            notes.append(f"turn {turn.key!r} is left out: {clip}")
            continue
        said_ms = (len(clip.pcm) - clip.speech_start_sample) / 8
        if turn.agent is Expectation.LIMIT and said_ms <= turn.limit_after_ms:
            raise ScenarioError(
                f"scenario {scenario.name!r}, turn {turn.key!r}: `agent: limit` needs a caller who talks for longer "
                f"than `limit_after_ms`, {turn.limit_after_ms:,} ms; it is over after {said_ms:,.0f} ms"
            )
        if turn.noise is not None:
            seed = f"{scenario.seed}:{turn.key}"
            make = partial(_noise, turn.noise.kind, seed=seed, prompts=prompts, report=report)
            clip = mix(clip, turn.noise.snr_db, make, speech=turn.has_words or turn.sound is not None)
        clips[turn.key] = clip
        replaced += turn.prompt is not None and clip.synthetic
    if replaced:
        notes.append(f"the synthetic voice speaks for {replaced} recorded prompts, which are not to be had: {reason}")
    if not clips:
        raise HarnessError(f"scenario {scenario.name!r}: no clip has a firm end of speech; {notes[0]}")
    kept = tuple(turn for turn in scenario.turns if turn.key in clips)
    return Corpus(clips, tuple(notes), scenario.model_copy(update={"turns": kept}))


def make_clip(
    clip_id: str,
    pieces: Sequence[Utterance],
    transcript: str | None = None,
    *,
    gaps_ms: Sequence[int] | None = None,
    seed: str = "",
) -> Clip | str:
    """One clip of utterances said one after the other; a string says why it cannot be used.

    `transcript` replaces the pieces' own. `seed` (default: the id) settles what chance does between them.

    Raises:
        ScenarioError: a piece holds no speech.
    """
    whole = join(seed or clip_id, [piece.pcm for piece in pieces], gaps_ms)
    joined = whole.pcm
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
        pauses=tuple((start - head, end - head) for start, end in whole.pauses),
    )


def clean_transcript(text: str) -> str:
    """A transcript without what is not spoken: remarks in brackets, ellipses, doubled spaces."""
    spoken = re.sub(r"\[[^]]*\]|\([^)]*\)|<[^>]*>|\.\.\.|…", " ", text)
    return " ".join(spoken.split())


def _prompts(scenario: Scenario, report: Report) -> tuple[Prompts | None, str]:
    babble = any(turn.noise is not None and turn.noise.kind == "babble" for turn in scenario.turns)
    if not babble and all(turn.prompt is None for turn in scenario.turns):
        return None, ""
    try:
        return Prompts.fetch(report), ""
    except WeightsError as fault:
        return None, str(fault)


def _clip(turn: Turn, prompts: Prompts | None, reason: str, report: Report) -> Clip | str:
    """The clip of a turn without its noise; a string says why it cannot be used."""
    if turn.silence_ms is not None:
        return non_speech.silence(turn.key, turn.silence_ms)
    if turn.dtmf is not None:
        return non_speech.keys(turn.key, turn.dtmf, as_tones=turn.dtmf_as == "tone")
    if turn.sound is not None:
        return make_clip(turn.key, [non_speech.sound(turn.sound, turn.twin or turn.key)])
    pieces = _pieces(turn, prompts, reason, report)
    # Where one voice speaks for all parts there is nothing to be joined, and no pause.
    gaps_ms = turn.all_gaps_ms if len(pieces) > 1 else None
    return make_clip(turn.key, pieces, turn.expect, gaps_ms=gaps_ms, seed=turn.twin)


def _noise(kind: str, samples: int, *, seed: str, prompts: Prompts | None, report: Report) -> background_noise.Loop:
    def others() -> list[Pcm16]:
        if prompts is None:
            return [audio_sources.speak(text, report).pcm for text in BABBLE_TEXTS]
        sentences = [name for name in prompts.names() if len((prompts.transcript(name) or "").split()) >= 5]
        chosen = random.Random(seed).sample(sentences, min(BABBLE_PROMPTS, len(sentences)))
        return [prompts.get(name).pcm for name in chosen or prompts.names()]

    return background_noise.loop(kind, samples, seed, others)


def _pieces(turn: Turn, prompts: Prompts | None, reason: str, report: Report) -> list[Utterance]:
    if turn.audio is not None:
        return [audio_sources.recording(turn.audio)]
    if turn.say is not None:
        return [audio_sources.speak(turn.say, report)]
    names = (turn.prompt,) if isinstance(turn.prompt, str) else turn.prompt or ()
    if prompts is not None:
        return [prompts.get(name) for name in names]
    if turn.expect is None:
        raise ScenarioError(f"the recorded prompts are not to be had ({reason}), and it has no `expect:` to be spoken")
    return [audio_sources.speak(turn.expect, report)]
