"""What a policy decides on a track, in the audio's own time: cut-offs in pauses, and the delay after true ends."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from turngap_agent.endpointing import EndpointEvent, EventKind, Voicing
from turngap_agent.endpointing.policies import make_endpointer
from turngap_agent.profile.sections import EndpointingSettings

from benchmarks.turn_taking.tracks import PER_MS, RecordedTurn, Span, Track

Answer = Callable[[EndpointEvent], tuple[float, int]]
"""Takes the turn model's question; returns the probability, and how many samples later it is known."""
ONSET_SAMPLES = 768
"""An end confirmed this soon after a pause was decided before the detector could notice the speech."""


@dataclass(frozen=True, slots=True)
class PauseOutcome:
    """One pause inside a turn."""

    length_ms: float
    cut_off: bool


@dataclass(frozen=True, slots=True)
class TurnOutcome:
    """One turn under one policy."""

    track: str
    speaker: str
    pauses: tuple[PauseOutcome, ...]
    cut_off: bool
    """Whether an end was confirmed inside the turn, in a pause or anywhere else."""
    over: bool
    delay_ms: float | None
    """From the true end to the confirmed one; None if it is not over, or was never confirmed."""
    attempts: int
    """Provisional ends inside the turn and after it."""


def decide(
    settings: EndpointingSettings, track: Track, voicings: Sequence[Voicing], answer: Answer
) -> list[TurnOutcome]:
    """Run a fresh endpointer over a whole track; return the outcome of each of its turns."""
    events = list(_run(settings, voicings, answer))
    confirmed = [event.at_sample for event in events if event.kind is EventKind.CONFIRMED_END]
    provisional = [event.at_sample for event in events if event.kind is EventKind.PROVISIONAL_END]
    outcomes = []
    for at, turn in enumerate(track.turns):
        until = track.turns[at + 1].speech[0] + ONSET_SAMPLES if at + 1 < len(track.turns) else len(track.pcm)
        outcomes.append(_judge(track, turn, until, confirmed, provisional))
    return outcomes


def _judge(
    track: Track, turn: RecordedTurn, until: int, confirmed: Sequence[int], provisional: Sequence[int]
) -> TurnOutcome:
    start, end = turn.speech
    inside = [at for at in confirmed if start + ONSET_SAMPLES < at <= end]
    after = [at for at in confirmed if end < at <= until]
    pauses = tuple(
        PauseOutcome((pause[1] - pause[0]) / PER_MS, any(_is_in(at, pause) for at in inside)) for pause in turn.pauses
    )
    delay_ms = (after[0] - end) / PER_MS if turn.over and after else None
    attempts = sum(start < at <= until for at in provisional)
    return TurnOutcome(track.name, track.speaker, pauses, bool(inside), turn.over, delay_ms, attempts)


def _is_in(at: int, pause: Span) -> bool:
    return pause[0] <= at <= pause[1] + ONSET_SAMPLES


def _run(settings: EndpointingSettings, voicings: Sequence[Voicing], answer: Answer) -> list[EndpointEvent]:
    policy = make_endpointer(settings)
    asked: EndpointEvent | None = None
    probability, due = 0.0, 0
    events: list[EndpointEvent] = []
    for voicing in voicings:
        if asked is not None and due <= voicing.end_sample:
            events += policy.completion(asked.at_sample, probability)
            asked = None
        for event in policy.push(voicing):
            if event.kind is EventKind.COMPLETION_ASKED:
                asked = event
                probability, delay = answer(event)
                due = event.at_sample + delay
            elif event.kind is EventKind.RESUMED:
                asked = None
            events.append(event)
    return events
