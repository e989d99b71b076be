"""The critical path: exact sums, the right place for a delay, slack that means what it says."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from turngap.scoring.critical_path import (
    Interval,
    Piece,
    exposed_by_stage_ns,
    find_critical_path,
    find_prerequisites,
    slack_by_activity_ns,
)
from turngap_agent.tracing import PREREQUISITES, Activity, Stage

T0 = 1_000
Durations = dict[Activity, int]
Played = tuple[Durations, Durations, Sequence[Activity]]


SPECULATED = {
    "none": (),
    "transcription": (Activity.TRANSCRIPTION,),
    "generation": (Activity.TRANSCRIPTION, Activity.FIRST_TOKEN),
    "synthesis": (Activity.TRANSCRIPTION, Activity.FIRST_TOKEN, Activity.FIRST_AUDIO),
}
"""What of the work does not wait for the confirmed end."""
ALL_THE_WAY = SPECULATED["synthesis"]


def list_needed(activity: Activity, speculated: Sequence[Activity]) -> tuple[Activity, ...]:
    """What the activity waits for in an agent that speculates so far."""
    others = PREREQUISITES[activity]
    return tuple(one for one in others if one is not Activity.CONFIRMED_END or activity not in speculated)


def run(durations: Durations, distances: Durations, speculated: Sequence[Activity]) -> dict[Activity, Interval]:
    """Play a turn: each activity starts its distance after the last of its prerequisites has ended."""
    ran: dict[Activity, Interval] = {}
    for activity in Activity:
        ready = max((ran[other].end_ns for other in list_needed(activity, speculated)), default=T0)
        start = ready + distances[activity]
        ran[activity] = Interval(start, start + durations[activity])
    return ran


def t1_of(ran: dict[Activity, Interval]) -> int:
    return ran[Activity.LEAD_IN].end_ns


@st.composite
def turns(draw: st.DrawFn, *, certain: bool = False) -> Played:
    """Durations and distances in ns, and how far the agent speculates; a negative distance is an overlap (streaming).

    Work that may be held begins the moment it can, as an agent notes it: a confirmation that falls between what it
    needs and its start cannot be distinguished from one that it waited for. `certain`: what is held did wait for it.
    """
    speculated = draw(st.sampled_from(list(SPECULATED.values())))
    durations = {activity: draw(st.integers(0, 500)) for activity in Activity}
    distances = {}
    for activity in Activity:
        wanted = list_needed(activity, speculated)
        overlap = min([durations[activity], *(durations[other] for other in wanted)])
        holdable = activity in ALL_THE_WAY
        least = 0 if holdable and activity not in speculated else -overlap if wanted else 0
        distances[activity] = draw(st.integers(least, 0 if holdable and activity in speculated else 60))
    held = next((one for one in ALL_THE_WAY if one not in speculated), None)
    if certain and held is not None:
        ran = run(durations, distances, speculated)
        before = max(ran[one].end_ns for one in list_needed(held, speculated) if one is not Activity.CONFIRMED_END)
        wait = draw(st.integers(1, 200))
        durations[Activity.CONFIRMED_END] += max(0, before + wait - ran[Activity.CONFIRMED_END].end_ns)
    return durations, distances, speculated


def delay(durations: Durations, activity: Activity, by: int) -> Durations:
    return {**durations, activity: durations[activity] + by}


def on_path(ran: dict[Activity, Interval], speculated: Sequence[Activity]) -> list[Activity]:
    """The activities the path goes through, by a second, independent rule: forward, by what moves t1."""
    path, wanted = [], (Activity.LEAD_IN,)
    while wanted:
        latest = max(wanted, key=lambda activity: ran[activity].end_ns)
        path.append(latest)
        wanted = list_needed(latest, speculated)
    return path


@settings(deadline=None)
@given(turns())
def test_exposed_times_add_up_to_the_gap(turn: Played) -> None:
    """Stages and unexplained add up to the gap to the nanosecond, and none is negative."""
    ran = run(*turn)
    exposed = exposed_by_stage_ns(find_critical_path(ran, T0, t1_of(ran)))
    assert sum(exposed.values()) == t1_of(ran) - T0
    assert min(exposed.values()) >= 0


@settings(deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(list(Activity)),
        st.tuples(st.integers(-500, 2_000), st.integers(0, 1_500)).map(lambda pair: Interval(pair[0], sum(pair))),
    ),
    st.integers(0, 2_500),
)
def test_any_intervals_give_a_path_without_holes(ran: dict[Activity, Interval], gap: int) -> None:
    """Whatever the spans say, with stages absent, overlapping, before t0 or after t1, the path goes from t0 to t1."""
    path = find_critical_path(ran, T0, T0 + gap)
    edges = [T0, *(piece.end_ns for piece in path)]
    assert [piece.start_ns for piece in path] == edges[:-1]
    assert edges[-1] == T0 + gap
    assert all(piece.end_ns > piece.start_ns for piece in path)
    assert all(slack >= 0 for slack in slack_by_activity_ns(ran, T0 + gap).values())
    assert slack_by_activity_ns(ran, T0 + gap).keys() == ran.keys()


@settings(deadline=None)
@given(turns(), st.integers(1, 1_000), st.data())
def test_a_delay_on_the_path_shows_in_its_stage_alone(turn: Played, by: int, data: st.DataObject) -> None:
    """A stage on the path that takes longer raises its own exposed time by just that, and no other's."""
    durations, distances, speculated = turn
    ran = run(durations, distances, speculated)
    activity = data.draw(st.sampled_from(on_path(ran, speculated)))
    after = run(delay(durations, activity, by), distances, speculated)
    exposed = exposed_by_stage_ns(find_critical_path(ran, T0, t1_of(ran)))
    exposed[activity.stage] += by
    assert exposed_by_stage_ns(find_critical_path(after, T0, t1_of(after))) == exposed


@settings(deadline=None)
@given(turns(certain=True), st.sampled_from(list(Activity)), st.integers(0, 1_000))
def test_slack_is_what_an_activity_can_lose(turn: Played, activity: Activity, by: int) -> None:
    """A delay up to the slack leaves t1 and every exposed time alone; a longer one moves t1 by the excess."""
    durations, distances, speculated = turn
    ran = run(durations, distances, speculated)
    slack = slack_by_activity_ns(ran, t1_of(ran))[activity]
    within = run(delay(durations, activity, min(by, slack)), distances, speculated)
    assert t1_of(within) == t1_of(ran)
    if by < slack:
        exposed = exposed_by_stage_ns(find_critical_path(ran, T0, t1_of(ran)))
        assert exposed_by_stage_ns(find_critical_path(within, T0, t1_of(within))) == exposed
    beyond = run(delay(durations, activity, slack + by), distances, speculated)
    assert t1_of(beyond) == t1_of(ran) + by


@settings(deadline=None)
@given(turns())
def test_slack_is_zero_on_the_path(turn: Played) -> None:
    """Nothing on the path can end later without moving t1."""
    ran = run(*turn)
    slack = slack_by_activity_ns(ran, t1_of(ran))
    assert all(slack[activity] == 0 for activity in on_path(ran, turn[2]))


def speculative(**overrides: Interval) -> dict[Activity, Interval]:
    """Work on a provisional end at 130, encoded at 330; confirmed at 300; heard at 360."""
    ran = {
        Activity.FRAMING_IN: Interval(0, 10),
        Activity.TRANSPORT_IN: Interval(10, 12),
        Activity.PROVISIONAL_END: Interval(12, 130),
        Activity.CONFIRMED_END: Interval(12, 300),
        Activity.TRANSCRIPTION: Interval(131, 180),
        Activity.FIRST_TOKEN: Interval(180, 230),
        Activity.FIRST_CLAUSE: Interval(230, 260),
        Activity.FIRST_AUDIO: Interval(260, 320),
        Activity.ENCODING: Interval(320, 330),
        Activity.TRANSPORT_OUT: Interval(332, 340),
        Activity.LEAD_IN: Interval(340, 360),
    }
    return ran | {Activity[name]: interval for name, interval in overrides.items()}


def test_the_path_goes_through_the_work_when_the_work_ends_last() -> None:
    """The confirmation was in time: its stage is exposed up to the provisional end only, and it has slack."""
    ran = speculative()
    assert find_critical_path(ran, 0, 360) == (
        Piece(Stage.FRAMING_IN, 0, 10),
        Piece(Stage.TRANSPORT_IN, 10, 12),
        Piece(Stage.ENDPOINTING, 12, 130),
        Piece(Stage.UNEXPLAINED, 130, 131),
        Piece(Stage.TRANSCRIPTION, 131, 180),
        Piece(Stage.FIRST_TOKEN, 180, 230),
        Piece(Stage.FIRST_CLAUSE, 230, 260),
        Piece(Stage.FIRST_AUDIO, 260, 320),
        Piece(Stage.ENCODING, 320, 330),
        Piece(Stage.UNEXPLAINED, 330, 332),
        Piece(Stage.TRANSPORT_OUT, 332, 340),
        Piece(Stage.LEAD_IN, 340, 360),
    )
    assert slack_by_activity_ns(ran, 360)[Activity.CONFIRMED_END] == 30


def test_the_path_goes_through_the_confirmation_when_the_audio_was_held() -> None:
    """Audio ready before the end was confirmed: no stage of the work is exposed, and all of them have slack."""
    ran = speculative(CONFIRMED_END=Interval(12, 331))
    exposed = exposed_by_stage_ns(find_critical_path(ran, 0, 360))
    assert exposed[Stage.ENDPOINTING] == 319
    assert exposed[Stage.TRANSCRIPTION] == exposed[Stage.FIRST_TOKEN] == exposed[Stage.ENCODING] == 0
    slack = slack_by_activity_ns(ran, 360)
    assert {slack[one] for one in (Activity.TRANSCRIPTION, Activity.FIRST_AUDIO, Activity.ENCODING)} == {1}
    assert slack[Activity.CONFIRMED_END] == slack[Activity.TRANSPORT_IN] == 0


def test_a_confirmation_amid_the_work_was_not_waited_for() -> None:
    """Work that began before the confirmation, or had other work to wait for after it, did not wait for it."""
    for confirmed_ns in (150, 180, 200, 240, 260, 290):
        ran = speculative(CONFIRMED_END=Interval(12, confirmed_ns))
        assert find_critical_path(ran, 0, 360) == find_critical_path(speculative(), 0, 360)
        assert slack_by_activity_ns(ran, 360)[Activity.CONFIRMED_END] == 330 - confirmed_ns


def test_work_that_began_before_t0_is_cut_at_t0() -> None:
    """Of an activity that was under way at t0 only the rest is exposed, and nothing before it is on the path."""
    path = find_critical_path(speculative(), 150, 360)
    assert path[0] == Piece(Stage.TRANSCRIPTION, 150, 180)
    assert exposed_by_stage_ns(path)[Stage.ENDPOINTING] == 0


def test_an_overlap_belongs_to_the_successor() -> None:
    """A prerequisite that was still at work when its successor started is exposed up to that start."""
    exposed = exposed_by_stage_ns(find_critical_path(speculative(FIRST_CLAUSE=Interval(230, 275)), 0, 360))
    assert exposed[Stage.FIRST_CLAUSE] == 30
    assert exposed[Stage.FIRST_AUDIO] == 60


def test_an_activity_nobody_reported_is_unexplained() -> None:
    """Its time is in no span; what it waited for stays on the path."""
    ran = speculative()
    del ran[Activity.FIRST_TOKEN]
    exposed = exposed_by_stage_ns(find_critical_path(ran, 0, 360))
    assert exposed[Stage.UNEXPLAINED] == 3 + 50
    assert exposed[Stage.TRANSCRIPTION] == 49


def test_what_ended_after_its_successor_was_not_waited_for() -> None:
    """A decision made before the frame arrived did not wait for it, so the frame's transport is not on its path."""
    ran = speculative(TRANSPORT_IN=Interval(10, 140), CONFIRMED_END=Interval(140, 300))
    assert find_prerequisites(Activity.PROVISIONAL_END, ran) == ()
    assert exposed_by_stage_ns(find_critical_path(ran, 0, 360))[Stage.TRANSPORT_IN] == 0


@pytest.mark.parametrize("gap", [0, 250])
def test_with_nothing_known_all_is_unexplained(gap: int) -> None:
    """No activity at all: one unexplained piece, or none for a gap of 0."""
    expected = (Piece(Stage.UNEXPLAINED, 7, 7 + gap),) if gap else ()
    assert find_critical_path({}, 7, 7 + gap) == expected
