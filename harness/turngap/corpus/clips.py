"""The clips of a scenario, ready to be spoken: fetched, levelled, trimmed, labelled, refused if their end is not firm.

Every voice is brought to -20 dBFS over its active frames (less if its peaks would exceed -1 dBFS, so that μ-law never
clips), then labelled, and cut at the end of speech. Noise is mixed in last, so that it moves no label.
"""

from __future__ import annotations

import random
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from turngap_agent import documents
from turngap_agent.errors import HarnessError, ScenarioError, WeightsError

from turngap.corpus import audio_sources, background_noise, non_speech
from turngap.corpus.audio_sources import OnProgress, PromptLibrary, SourceAudio
from turngap.corpus.concatenation import HEAD_SAMPLES, join_speech
from turngap.corpus.hand_labels import find_hand_label
from turngap.corpus.labels import MAX_MOVE_MS, label_speech
from turngap.corpus.natural_turns import make_excerpt_clip
from turngap.corpus.recording_clips import check_noisy_clip, make_labelled_clip
from turngap.model.records import Clip, Pcm16
from turngap.scenario import Expectation, Scenario, Turn
from turngap.scenario.turn import VOICE_KEYS

BABBLE_PROMPTS = 60
BABBLE_TEXTS = (
    "I told her that we would be there by noon, but the train was late again.",
    "They have painted the kitchen yellow, and it looks much better now.",
    "Could you bring me the large box from the car when you come back?",
    "He never said a word about the money until the very last day.",
    "We might go to the lake on Saturday if the weather holds.",
    "The second one was cheaper, and I liked the colour more anyway.",
)
"""What the synthetic voice says when babble cannot be made of recorded prompts."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """The clips of a scenario."""

    clips: Mapping[str, Clip]
    """By `Turn.key`."""
    notes: tuple[str, ...]
    """What was left out or replaced, and why: one line each, for the run's record."""
    scenario: Scenario
    """The scenario without the turns that were left out."""


def build_corpus(scenario: Scenario, on_progress: OnProgress | None = None) -> Corpus:
    """Make every clip of a scenario; blocks while audio is fetched. `on_progress` takes progress (default: stderr).

    A clip whose end of speech is not firm (`labels.MAX_MOVE_MS`) is left out with a note. If the recorded prompts
    cannot be fetched, the synthetic voice speaks their `expect:`, with a note.

    Raises:
        ScenarioError: a prompt or file does not exist, or holds no speech; the message names file and line.
        EngineError: the synthetic voice is needed and does not run.
        HarnessError: no clip is left.
    """
    on_progress = on_progress or (lambda line: print(f"turngap: {line}", file=sys.stderr))
    notes: list[str] = []
    prompts, reason = _fetch_prompts(scenario, on_progress)
    if prompts is not None:
        _check_prompts(scenario, prompts)
    clips: dict[str, Clip] = {}
    replaced = 0
    for turn in (*scenario.turns, *scenario.lead_ins):
        voice = next(key for key in VOICE_KEYS if getattr(turn, key) is not None)
        try:
            clip = _make_turn_clip(turn, prompts, reason, on_progress)
        except ScenarioError as error:
            voice = "speech_ms" if error.code == "scenario.labels" and turn.speech_ms is not None else voice
            raise ScenarioError(f"{scenario.locate_turn(turn, voice)}: {error}", code=error.code) from None
        if isinstance(clip, str) and scenario.shuffle == "calls":
            raise ScenarioError(
                f"{scenario.locate_turn(turn, voice)}: {clip}; it cannot be left out of its call: replace it",
                code="scenario.not-firm",
            )
        if isinstance(clip, str):
            notes.append(f"turn {turn.key!r} is left out: {clip}")
            continue
        speech_ms = (len(clip.pcm) - clip.speech_start_sample) / 8
        if turn.agent is Expectation.LIMIT and speech_ms <= turn.limit_after_ms:
            raise ScenarioError(
                f"{scenario.locate_turn(turn, 'agent')}: `agent: limit` needs a caller who talks for longer than "
                f"`limit_after_ms`, {turn.limit_after_ms:,} ms; this one stops after {speech_ms:,.0f} ms",
                code="scenario.limit",
            )
        if turn.noise is not None:
            seed = f"{scenario.seed}:{turn.key}"
            make = partial(_make_loop, turn.noise.kind, seed=seed, prompts=prompts, on_progress=on_progress)
            has_speech = turn.has_words or turn.sound is not None
            clip = background_noise.mix_noise(clip, turn.noise.snr_db, make, speech=has_speech)
        clips[turn.key] = clip
        replaced += turn.prompt is not None and clip.synthetic
    if replaced:
        notes.append(f"the synthetic voice speaks for {replaced} recorded prompts, which are not available: {reason}")
    turns, lead_ins = (
        tuple(turn for turn in listed if turn.key in clips) for listed in (scenario.turns, scenario.lead_ins)
    )
    if not turns:
        raise HarnessError(f"scenario {scenario.name!r}: no clip has a firm end of speech; {notes[0]}")
    depth = {depth: weight for depth, weight in scenario.depth.items() if depth <= len(lead_ins) + 1}
    usable = {"turns": turns, "lead_ins": lead_ins, "depth": depth}
    return Corpus(clips, tuple(notes), scenario.model_copy(update=usable))


def make_clip(
    clip_id: str,
    parts: Sequence[SourceAudio],
    transcript: str | None = None,
    *,
    gaps_ms: Sequence[int] | None = None,
    seed: str = "",
) -> Clip | str:
    """Return one clip of parts spoken one after the other, or the reason why it cannot be used.

    `transcript` replaces the parts' own. `seed` (default: the id) determines the random gaps between them.

    Raises:
        ScenarioError: a part holds no speech.
    """
    joined = join_speech(seed or clip_id, [part.pcm for part in parts], gaps_ms)
    pcm = joined.pcm
    label = label_speech(pcm)
    assert label is not None  # each part has speech
    if not label.is_firm and all(part.synthetic for part in parts):
        # A synthetic voice that fades is cut where the raised threshold ends it, which makes its end firm.
        pcm = pcm[: label.end_sample + round(label.high_ms * 8)]
        label = label_speech(pcm) or label
    if not label.is_firm:
        return (
            f"its end of speech moves by {label.low_ms:+.0f} / {label.high_ms:+.0f} ms when the thresholds move by "
            f"-5 / +5 dB, over {MAX_MOVE_MS:.0f} ms"
        )
    head = max(0, label.start_sample - HEAD_SAMPLES)
    transcripts = [part.transcript for part in parts]
    words = transcript or (" ".join(clean_transcript(text or "") for text in transcripts) if all(transcripts) else None)
    return Clip(
        clip_id=clip_id,
        pcm=pcm[head : label.end_sample],
        speech_start_sample=label.start_sample - head,
        transcript=words,
        label_low_ms=label.low_ms,
        label_high_ms=label.high_ms,
        source=parts[0].source,
        synthetic=any(part.synthetic for part in parts),
        pauses=tuple((start - head, end - head) for start, end in joined.pauses),
    )


def clean_transcript(text: str) -> str:
    """Return a transcript without what is not spoken: remarks in brackets, ellipses, doubled spaces."""
    spoken = re.sub(r"\[[^]]*\]|\([^)]*\)|<[^>]*>|\.\.\.|…", " ", text)
    return " ".join(spoken.split())


def _fetch_prompts(scenario: Scenario, on_progress: OnProgress) -> tuple[PromptLibrary | None, str]:
    """Return the prompts if the scenario needs them; if they cannot be fetched, the reason."""
    turns = (*scenario.turns, *scenario.lead_ins)
    needs_babble = any(turn.noise is not None and turn.noise.kind == "babble" for turn in turns)
    if not needs_babble and all(turn.prompt is None for turn in turns):
        return None, ""
    try:
        return PromptLibrary.fetch(on_progress), ""
    except WeightsError as error:
        return None, str(error)


def _check_prompts(scenario: Scenario, prompts: PromptLibrary) -> None:
    """Check that all prompts of the scenario exist.

    Raises:
        ScenarioError: some do not: a line for each (`scenario.prompt`).
    """
    names = prompts.list_names()
    messages = [
        f"{scenario.locate_turn(turn, 'prompt', *place)}: there is no recorded prompt {name!r}"
        + documents.suggest(name, names)
        for turn in (*scenario.turns, *scenario.lead_ins)
        for place, name in _list_prompts(turn)
        if name not in prompts
    ]
    if messages:
        raise ScenarioError("\n".join(messages), code="scenario.prompt")


def _list_prompts(turn: Turn) -> list[tuple[tuple[int, ...], str]]:
    """Return the prompts of a turn, each with its place in the list if `prompt` is a list."""
    if isinstance(turn.prompt, tuple):
        return [((index,), name) for index, name in enumerate(turn.prompt)]
    return [((), turn.prompt)] if turn.prompt is not None else []


def _make_turn_clip(turn: Turn, prompts: PromptLibrary | None, reason: str, on_progress: OnProgress) -> Clip | str:
    """Return the clip of a turn without its noise, or the reason why it cannot be used."""
    if turn.silence_ms is not None:
        return non_speech.make_silence(turn.key, turn.silence_ms)
    if turn.dtmf is not None:
        return non_speech.make_keys(turn.key, turn.dtmf, as_tones=turn.dtmf_as == "tone")
    if turn.sound is not None:
        return make_clip(turn.key, [non_speech.make_sound(turn.sound, turn.twin or turn.key)])
    if turn.excerpt is not None:
        return make_excerpt_clip(turn.key, turn.excerpt, turn.expect)
    if turn.audio is not None:
        return _make_recording_clip(turn, turn.audio)
    parts = _read_parts(turn, prompts, reason, on_progress)
    # If one voice speaks all parts, there is nothing to be joined, and no gap.
    gaps_ms = turn.all_gaps_ms if len(parts) > 1 else None
    return make_clip(turn.key, parts, turn.expect, gaps_ms=gaps_ms, seed=turn.twin)


def _make_recording_clip(turn: Turn, path: Path) -> Clip | str:
    """Return the clip of a recording, labelled by hand, by its levels, or relative to its noise floor."""
    audio = audio_sources.load_recording(path)
    label = find_hand_label(turn)
    if label is not None:
        return make_labelled_clip(turn.key, audio, label, turn.expect)
    return check_noisy_clip(path, audio, make_clip(turn.key, [audio], turn.expect, seed=turn.twin), turn)


def _make_loop(
    kind: str, samples: int, *, seed: str, prompts: PromptLibrary | None, on_progress: OnProgress
) -> background_noise.Loop:
    def record_voices() -> list[Pcm16]:
        if prompts is None:
            return [audio_sources.synthesise(text, on_progress).pcm for text in BABBLE_TEXTS]
        names = prompts.list_names()
        sentences = [name for name in names if len((prompts.get_transcript(name) or "").split()) >= 5]
        sample = random.Random(seed).sample(sentences, min(BABBLE_PROMPTS, len(sentences)))
        return [prompts.read(name).pcm for name in sample or names]

    return background_noise.make_loop(kind, samples, seed, record_voices)


def _read_parts(turn: Turn, prompts: PromptLibrary | None, reason: str, on_progress: OnProgress) -> list[SourceAudio]:
    if turn.say is not None:
        return [audio_sources.synthesise(turn.say, on_progress)]
    if prompts is not None:
        return [prompts.read(name) for _, name in _list_prompts(turn)]
    if turn.expect is None:
        raise ScenarioError(
            f"the recorded prompts are not available ({reason}), and the turn has no `expect:` for the synthetic voice",
            code="scenario.prompt",
        )
    return [audio_sources.synthesise(turn.expect, on_progress)]
