"""The policies `speculative` and `smart_turn`: what they decide of voicings and answers, and what never happens."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from turngap_agent.endpointing import ConfirmedBy, EndpointEvent, EventKind, Voicing
from turngap_agent.endpointing.policies import make_endpointer
from turngap_agent.profile.sections import EndpointingSettings

WINDOW = 256
"""32 ms."""
STARTED, RESUMED = EventKind.SPEECH_STARTED, EventKind.RESUMED
ASKED, PROVISIONAL, CONFIRMED = EventKind.COMPLETION_ASKED, EventKind.PROVISIONAL_END, EventKind.CONFIRMED_END
SETTINGS = EndpointingSettings(
    policy="speculative",
    provisional_ms=96,
    min_silence_ms=320,
    max_silence_ms=640,
    threshold=0.8,
    doubt=0.4,
    drop_db=40,
    max_turn_ms=4000,
)
SMART_TURN = SETTINGS.model_copy(update={"policy": "smart_turn"})
SPEECH, SILENCE = (0.9, -15.0), (0.0, -60.0)


def run(
    windows: list[tuple[float, float]],
    completeness: float | None = None,
    settings: EndpointingSettings = SETTINGS,
    answer_after: int = 2,
) -> list[EndpointEvent]:
    """Events of windows (probability, level); every question is answered so many windows later."""
    policy = make_endpointer(settings)
    events: list[EndpointEvent] = []
    due: list[tuple[int, int]] = []
    for index, (probability, level) in enumerate(windows):
        for at_sample in [sample for when, sample in due if when == index]:
            assert completeness is not None
            events += policy.completion(at_sample, completeness)
        new = policy.push(Voicing((index + 1) * WINDOW, probability, level))
        if completeness is not None:
            due += [(index + answer_after, event.at_sample) for event in new if event.kind is ASKED]
        events += new
    return events


def kinds(events: list[EndpointEvent]) -> list[EventKind]:
    return [event.kind for event in events]


def list_confirmed(events: list[EndpointEvent]) -> list[tuple[int, ConfirmedBy | None]]:
    """In windows, and by what."""
    return [(event.at_sample // WINDOW, event.confirmed_by) for event in events if event.kind is CONFIRMED]


def test_work_begins_at_the_first_short_silence() -> None:
    """The provisional end and the question come `provisional_ms` after the speech, the confirmation later."""
    events = run([SPEECH] * 10 + [SILENCE] * 20, 1.0)
    assert kinds(events) == [STARTED, PROVISIONAL, ASKED, CONFIRMED]
    assert [event.at_sample // WINDOW for event in events] == [3, 13, 13, 20]
    assert {event.speech_end_sample for event in events[1:]} == {10 * WINDOW}


@pytest.mark.parametrize(
    ("speech_windows", "provisional_ms", "after"),
    [(31, 192, 6), (62, 192, 6), (125, 192, 4), (250, 192, 2), (250, 32, 1), (125, 96, 2)],
)
def test_work_on_a_long_turn_begins_sooner(speech_windows: int, provisional_ms: int, after: int) -> None:
    """By 40 ms for each second over two, at 64 ms or `provisional_ms` at the soonest."""
    settings = SETTINGS.model_copy(
        update={"provisional_ms": provisional_ms, "early_ms_per_s": 40.0, "max_turn_ms": 30_000}
    )
    events = run([SPEECH] * speech_windows + [SILENCE] * 12, settings=settings)
    (provisional,) = (event for event in events if event.kind is PROVISIONAL)
    assert provisional.at_sample == (speech_windows + after) * WINDOW


@pytest.mark.parametrize(
    ("completeness", "windows", "by"),
    [
        (1.0, 20, ConfirmedBy.SMART_TURN),
        (0.8, 20, ConfirmedBy.SMART_TURN),
        (0.6, 25, ConfirmedBy.SMART_TURN),
        (0.4, 30, ConfirmedBy.SILENCE),
        (0.0, 30, ConfirmedBy.SILENCE),
        (None, 30, ConfirmedBy.SILENCE),
    ],
)
def test_a_turn_that_sounds_complete_needs_less_silence(
    completeness: float | None, windows: int, by: ConfirmedBy
) -> None:
    """From `min_silence_ms` at `threshold` to `max_silence_ms` at `doubt`, in a straight line; no answer is doubt."""
    assert list_confirmed(run([SPEECH] * 10 + [SILENCE] * 30, completeness)) == [(windows, by)]


def test_without_a_model_the_least_silence_ends_every_turn() -> None:
    """The turn model is not queried."""
    events = run([SPEECH] * 10 + [SILENCE] * 30, settings=SETTINGS.model_copy(update={"model": None}))
    assert kinds(events) == [STARTED, PROVISIONAL, CONFIRMED]
    assert list_confirmed(events) == [(20, ConfirmedBy.SILENCE)]


def test_a_late_answer_confirms_at_once() -> None:
    """When the silence was long enough already, the answer itself is what is waited for."""
    events = run([SPEECH] * 10 + [SILENCE] * 30, 1.0, answer_after=12)
    assert list_confirmed(events) == [(24, ConfirmedBy.SMART_TURN)]


def test_more_silence_does_not_begin_again() -> None:
    """One provisional end and one question a pause, however long it is."""
    events = kinds(run([SPEECH] * 10 + [SILENCE] * 100, 0.0))
    assert events == [STARTED, PROVISIONAL, ASKED, CONFIRMED]


def test_a_caller_who_resumes_withdraws_the_end() -> None:
    """Speech after a provisional end: RESUMED, and the next pause is judged afresh, in the same turn."""
    events = run([SPEECH] * 10 + [SILENCE] * 9 + [SPEECH] * 5 + [SILENCE] * 30, 1.0)
    assert kinds(events) == [STARTED, PROVISIONAL, ASKED, RESUMED, PROVISIONAL, ASKED, CONFIRMED]
    assert len({event.speech_start_sample for event in events}) == 1


def test_an_answer_on_a_pause_that_is_over_counts_for_nothing() -> None:
    """The model's word on the first pause does not shorten the second."""
    policy = make_endpointer(SETTINGS)
    windows = [SPEECH] * 10 + [SILENCE] * 4 + [SPEECH] * 5 + [SILENCE] * 12
    queries = [
        event.at_sample
        for index, (probability, level) in enumerate(windows)
        for event in policy.push(Voicing((index + 1) * WINDOW, probability, level))
        if event.kind is ASKED
    ]
    assert len(queries) == 2
    assert policy.completion(queries[0], 1.0) == []
    assert kinds(policy.completion(queries[1], 1.0)) == [CONFIRMED]
    assert policy.completion(queries[1], 1.0) == []


def test_a_caller_who_never_stops_is_confirmed_by_the_limit() -> None:
    """In mid-speech and in a pause alike."""
    assert list_confirmed(run([SPEECH] * 130))[0] == (125, ConfirmedBy.LIMIT)
    assert list_confirmed(run([SPEECH] * 120 + [SILENCE] * 8))[0] == (125, ConfirmedBy.LIMIT)


def test_quiet_is_silence_though_the_detector_lags() -> None:
    """40 dB under the speech there is no speech, whatever the detector says: the pause counts from there."""
    lagging = [(0.9, -60.0)] * 4
    (one, *_) = [event for event in run([SPEECH] * 10 + lagging + [SILENCE] * 20) if event.kind is PROVISIONAL]
    assert (one.at_sample // WINDOW, one.speech_end_sample // WINDOW) == (13, 10)
    without = SETTINGS.model_copy(update={"drop_db": None})
    (one, *_) = [
        event for event in run([SPEECH] * 10 + lagging + [SILENCE] * 20, settings=without) if event.kind is PROVISIONAL
    ]
    assert (one.at_sample // WINDOW, one.speech_end_sample // WINDOW) == (17, 14)


def test_a_soft_tail_that_the_detector_misses_is_not_silence_yet() -> None:
    """Silence counts from where it became quiet, not from where the detector heard its last speech."""
    tail = [(0.2, -45.0)] * 3
    assert list_confirmed(run([SPEECH] * 10 + tail + [SILENCE] * 20, 1.0)) == [(23, ConfirmedBy.SMART_TURN)]


def test_a_stir_in_a_quiet_pause_holds_the_confirmation() -> None:
    """A soft onset the detector does not know yet: nothing is confirmed in that window, and speech is heard next."""
    events = run([SPEECH] * 10 + [SILENCE] * 9 + [(0.2, -52.0)] + [SPEECH] * 3, 1.0)
    assert CONFIRMED not in kinds(events)
    assert kinds(events)[-1] is RESUMED


def test_a_noisy_line_is_judged_by_the_detector_alone() -> None:
    """Where it never becomes quiet after speech, work begins at its time, and `noise_ms` more silence confirms."""
    noise = [(0.0, -35.0)] * 14
    events = run([SPEECH] * 10 + noise, 1.0)
    assert [event.at_sample // WINDOW for event in events if event.kind is PROVISIONAL] == [13]
    assert list_confirmed(events) == [(23, ConfirmedBy.SMART_TURN)]
    for settings in ({"noise_ms": 0}, {"drop_db": None}):
        events = run([SPEECH] * 10 + noise, 1.0, settings=SETTINGS.model_copy(update=settings))
        assert list_confirmed(events) == [(20, ConfirmedBy.SMART_TURN)]


def test_a_pause_full_of_noises_ends_all_the_same() -> None:
    """Quiet and loud in turns, none of it speech: the end is 160 ms later than in quiet, not never."""
    noisy = [SILENCE, (0.0, -30.0)] * 15
    assert list_confirmed(run([SPEECH] * 10 + noisy, 1.0)) == [(25, ConfirmedBy.SMART_TURN)]


def test_smart_turn_decides_as_speculative_does_and_begins_nothing_before() -> None:
    """The same confirmations; each has its provisional end in the same moment, and nothing is taken back."""
    windows = [SPEECH] * 10 + [SILENCE] * 9 + [SPEECH] * 5 + [SILENCE] * 30
    events = run(windows, 0.6, SMART_TURN)
    assert kinds(events) == [STARTED, ASKED, ASKED, PROVISIONAL, CONFIRMED]
    assert list_confirmed(events) == list_confirmed(run(windows, 0.6))
    assert events[-2].at_sample == events[-1].at_sample


@pytest.mark.parametrize(
    "wrong",
    [{"provisional_ms": 400}, {"max_silence_ms": 200}, {"doubt": 0.9}],
    ids=["provisional after min", "max before min", "doubt over threshold"],
)
def test_settings_out_of_order_are_refused(wrong: dict[str, float]) -> None:
    """With what they are; for `silence`, which does not use them, they do not matter."""
    data = SETTINGS.model_dump() | wrong
    with pytest.raises(ValidationError, match="endpointing needs"):
        EndpointingSettings.model_validate(data)
    EndpointingSettings.model_validate(data | {"policy": "silence"})


@given(
    st.lists(st.tuples(st.floats(0, 1), st.floats(-80, 0)), max_size=300),
    st.floats(0, 1) | st.none(),
    st.integers(1, 12),
)
def test_events_are_well_formed(
    windows: list[tuple[float, float]], completeness: float | None, answer_after: int
) -> None:
    """A provisional end is followed by RESUMED or CONFIRMED before the next; each turn starts, and ends once."""
    state = "idle"
    allowed = {
        ("idle", STARTED): "speaking",
        ("speaking", PROVISIONAL): "held",
        ("held", ASKED): "held",
        ("held", RESUMED): "speaking",
        ("held", CONFIRMED): "idle",
    }
    last = 0
    for event in run(windows, completeness, answer_after=answer_after):
        state = allowed[state, event.kind]
        assert last <= event.at_sample
        assert event.speech_start_sample < event.speech_end_sample <= event.at_sample
        assert (event.confirmed_by is not None) is (event.kind is CONFIRMED)
        last = event.at_sample


@given(st.lists(st.integers(1, 9), min_size=1, max_size=8), st.floats(0, 1), st.integers(1, 12))
def test_no_pause_under_the_least_silence_ends_a_turn(pauses: list[int], completeness: float, answer: int) -> None:
    """Whatever the model says and when: pauses of 9 windows (288 ms) never confirm at 320 ms."""
    windows = [SPEECH] * 6
    for pause in pauses:
        windows += [SILENCE] * pause + [SPEECH] * 4
    events = run(windows, completeness, SETTINGS.model_copy(update={"max_turn_ms": 30_000}), answer)
    assert CONFIRMED not in kinds(events)


@given(st.lists(st.tuples(st.floats(0, 1), st.floats(-80, 0)), max_size=200), st.floats(0, 1))
def test_every_turn_ends(windows: list[tuple[float, float]], completeness: float) -> None:
    """After any beginning, silence of `max_silence_ms` and the grace leave no turn open."""
    events = kinds(run([*windows, *[SPEECH] * 4, *[(0.0, -60.0)] * 30], completeness))
    assert events.count(STARTED) == events.count(CONFIRMED)
