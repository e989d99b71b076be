"""The silence policy: when an utterance starts, when it ends, and what is not speech."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.endpointing import ConfirmedBy, EndpointEvent, EventKind, Voicing
from turngap_agent.endpointing.policies import make_endpointer
from turngap_agent.profile.sections import EndpointingSettings

WINDOW = 256
STARTED, PROVISIONAL, CONFIRMED = EventKind.SPEECH_STARTED, EventKind.PROVISIONAL_END, EventKind.CONFIRMED_END
SETTINGS = EndpointingSettings(min_silence_ms=320, min_speech_ms=96, pre_roll_ms=256, max_turn_ms=2000)


def events(probabilities: list[float], settings: EndpointingSettings = SETTINGS) -> list[EndpointEvent]:
    policy = make_endpointer(settings)
    return [
        event
        for index, probability in enumerate(probabilities)
        for event in policy.push(Voicing((index + 1) * WINDOW, probability))
    ]


def test_a_turn_starts_and_ends() -> None:
    """Speech is reported when it has lasted `min_speech_ms`, its end after `min_silence_ms`, both ends together."""
    seen = events([0.0] * 20 + [0.9] * 10 + [0.0] * 10)
    assert seen == [
        EndpointEvent(STARTED, 23 * WINDOW, 20 * WINDOW - 2048, 23 * WINDOW),
        EndpointEvent(PROVISIONAL, 40 * WINDOW, 20 * WINDOW - 2048, 30 * WINDOW),
        EndpointEvent(CONFIRMED, 40 * WINDOW, 20 * WINDOW - 2048, 30 * WINDOW, ConfirmedBy.SILENCE),
    ]


def test_a_pause_shorter_than_the_silence_is_not_the_end() -> None:
    """A caller who resumes within `min_silence_ms` is still in the same turn."""
    seen = events(([0.9] * 10 + [0.0] * 9) * 3 + [0.0])
    assert [event.kind for event in seen] == [STARTED, PROVISIONAL, CONFIRMED]


def test_a_short_burst_is_not_speech() -> None:
    """A click of two windows starts nothing, however often it recurs."""
    assert events(([0.9] * 2 + [0.0] * 5) * 10) == []


def test_hysteresis_carries_speech_through_doubt() -> None:
    """Between the two probabilities speech continues, but does not start."""
    doubt = [0.4] * 40
    assert events(doubt) == []
    assert [event.kind for event in events([0.9, *doubt])] == [STARTED]


def test_doubt_after_silence_does_not_prolong_the_turn() -> None:
    """Once silent, only a window at `speech_probability` is speech again."""
    assert [event.kind for event in events([0.9] * 5 + [0.0] + [0.4] * 9)] == [STARTED, PROVISIONAL, CONFIRMED]


def test_a_caller_who_talks_on_is_answered_at_the_limit() -> None:
    """At `max_turn_ms` the turn ends in mid-speech, and what follows is a turn of its own that starts no earlier."""
    seen = events([0.9] * 70 + [0.0] * 10)
    ends = [event for event in seen if event.kind is CONFIRMED]
    assert [event.at_sample for event in ends] == [63 * WINDOW, 80 * WINDOW]
    assert ends[0].speech_end_sample == 63 * WINDOW
    assert ends[1].speech_start_sample == 63 * WINDOW


def test_the_start_of_the_stream_bounds_the_pre_roll() -> None:
    """Speech in the first window starts at sample 0, not before it."""
    assert events([0.9] * 3)[0].speech_start_sample == 0


def test_pre_roll_does_not_reach_into_the_turn_before() -> None:
    """With a pre-roll longer than the silence, the second turn begins after the first one's last speech."""
    settings = SETTINGS.model_copy(update={"pre_roll_ms": 1000})
    first, second = [
        e for e in events([0.9] * 5 + [0.0] * 10 + [0.9] * 5 + [0.0] * 10, settings) if e.kind is CONFIRMED
    ]
    assert second.speech_start_sample == first.speech_end_sample


@given(st.lists(st.floats(0, 1), max_size=300))
def test_events_are_well_formed(probabilities: list[float]) -> None:
    """Starts and ends alternate, provisional and confirmed share a moment, and utterances are ordered and apart."""
    seen = events(probabilities)
    kinds = [event.kind for event in seen]
    assert kinds == ([STARTED, PROVISIONAL, CONFIRMED] * len(kinds))[: len(kinds)]
    last_end = 0
    for event in seen:
        assert last_end <= event.speech_start_sample < event.speech_end_sample <= event.at_sample
        if event.kind is CONFIRMED:
            last_end = event.speech_end_sample
