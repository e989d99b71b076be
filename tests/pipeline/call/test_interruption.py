"""What a voice over the agent means, decided from voicings alone."""

from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.call.interruption import HeldEvents, Interruption, Move
from turngap_agent.endpointing import EndpointEvent, EventKind, Voicing
from turngap_agent.endpointing.windows import WINDOW_SAMPLES
from turngap_agent.profile.sections import BargeInSettings, EndpointingSettings

SETTINGS = BargeInSettings(pause_ms=64, backchannel_ms=480, go_on_ms=256)


def moves(
    voices: str, over: str | bool = True, settings: BargeInSettings = SETTINGS, *, going_on: bool = False
) -> dict[int, Move]:
    """The moves by window: `voices` has `x` for a voiced one, `X` for a sure one; `over` has `x` for an agent heard."""
    interruption = Interruption(settings, EndpointingSettings())
    by_index = {}
    for index, voice in enumerate(voices):
        audible = over if isinstance(over, bool) else over[index] == "x"
        voicing = Voicing((index + 1) * WINDOW_SAMPLES, {"x": 0.7, "X": 0.9}.get(voice, 0.1))
        if (move := interruption.push(voicing, audible, going_on=going_on)) is not None:
            by_index[index] = move
    return by_index


def test_a_backchannel_pauses_and_is_gone_on_from():
    """Voice for 64 ms silences the agent; 256 ms of silence after 400 ms of it, and it resumes."""
    assert moves("xxxxxxxxxxxx........") == {1: Move.PAUSE, 19: Move.RESUME}


def test_a_voice_that_lasts_is_a_barge_in():
    """At 480 ms of voice the agent yields, while the caller still speaks."""
    assert moves("x" * 30) == {1: Move.PAUSE, 14: Move.YIELD}


def test_a_caller_who_goes_on_is_yielded_to_at_the_first_word():
    """It is no reaction to the reply, so 96 ms of speech are enough; a click is not."""
    assert moves("x" * 6 + "." * 20, going_on=True) == {1: Move.PAUSE, 2: Move.YIELD}
    assert moves("X." + "." * 20, going_on=True) == {0: Move.PAUSE, 8: Move.RESUME}


def test_it_yields_once():
    """Until the agent is silent it gets no further move; its next words can be interrupted again."""
    assert moves("x" * 36, over="x" * 20 + "." + "x" * 15) == {
        1: Move.PAUSE,
        14: Move.YIELD,
        21: Move.PAUSE,
        22: Move.YIELD,
    }


def test_a_short_breath_does_not_end_a_barge_in():
    """Gaps shorter than the silence after a backchannel belong to the voice."""
    assert moves("xxxxx....xxxxxx.....") == {1: Move.PAUSE, 14: Move.YIELD}


def test_one_window_is_not_enough():
    """32 ms of voice are no reason to fall silent."""
    assert moves("x.x.x.x.x.x") == {}


def test_one_sure_window_is_enough():
    """A window that surely is speech silences the agent by itself."""
    assert moves("X" + "." * 9) == {0: Move.PAUSE, 8: Move.RESUME}


def test_no_agent_no_interruption():
    """Voice while nothing is to be heard of the agent is left to the endpointer."""
    assert moves("x" * 60, over=False) == {}


def test_an_agent_that_starts_to_speak_over_a_voice_yields_at_once():
    """A caller who has talked for long is a barge-in from the agent's first sound on."""
    assert moves("x" * 30, over="." * 20 + "x" * 10) == {20: Move.PAUSE, 21: Move.YIELD}


def test_each_backchannel_is_judged_by_itself():
    """Two with the agent's speech between them are two pauses."""
    voices = "xxxxxxxx........" * 2
    assert moves(voices) == {1: Move.PAUSE, 15: Move.RESUME, 17: Move.PAUSE, 31: Move.RESUME}


def test_clicks_do_not_silence_the_agent_for_ever():
    """Voice that is never long enough for speech lets the agent resume in the end, however often it recurs."""
    assert moves("xx" + "..xx" * 10)[29] is Move.RESUME


def test_the_pause_is_no_later_than_an_utterance_begins():
    """With a pause set longer than the shortest speech the shorter counts."""
    late = BargeInSettings(pause_ms=400)
    assert moves("x" * 4, settings=late) == {2: Move.PAUSE}


@given(st.text("xX.", max_size=200), st.text("x.", min_size=200, max_size=200))
def test_every_pause_has_one_end(voices, over):
    """Pauses and their ends alternate; only the last pause may be open."""
    in_order = [move for _, move in sorted(moves(voices, over=over).items())]
    assert all(move is Move.PAUSE for move in in_order[::2])
    assert all(move in (Move.RESUME, Move.YIELD) for move in in_order[1::2])


@given(st.text("xX.", max_size=200))
def test_no_pause_outlives_the_silence_after_it(voices):
    """256 ms after the last voice the agent has resumed or yielded."""
    in_order = [move for _, move in sorted(moves(voices + "." * 8).items())]
    assert not in_order or in_order[-1] is not Move.PAUSE


def event(kind: EventKind, speech_end: int = 0) -> EndpointEvent:
    return EndpointEvent(kind, speech_end, 0, speech_end)


STARTED, PROVISIONAL, CONFIRMED, RESUMED = (
    event(kind)
    for kind in (
        EventKind.SPEECH_STARTED,
        EventKind.PROVISIONAL_END,
        EventKind.CONFIRMED_END,
        EventKind.RESUMED,
    )
)


def test_events_pass_unless_held():
    """Without a voice over the agent the endpointer's word counts at once."""
    withheld = HeldEvents()
    assert withheld.admit(STARTED, True) == [STARTED]
    withheld.hold()
    assert withheld.admit(PROVISIONAL, True) == []


def test_a_barge_in_counts_from_its_beginning():
    """All events since the pause, in order."""
    withheld = HeldEvents()
    withheld.hold()
    assert [*withheld.admit(STARTED, True), *withheld.admit(PROVISIONAL, True)] == []
    assert withheld.release() == [STARTED, PROVISIONAL]
    assert withheld.admit(CONFIRMED, True) == [CONFIRMED]


def test_a_backchannel_is_not_a_turn_even_if_its_end_is_late():
    """Its end is dropped, whether it arrives before the agent resumes or after; the next utterance counts."""
    for early in (True, False):
        withheld = HeldEvents()
        withheld.hold()
        events = [STARTED, PROVISIONAL, CONFIRMED]
        passed = [each for one in events[: 3 if early else 2] for each in withheld.admit(one, True)]
        withheld.drop(1000)
        passed += [each for one in events[3 if early else 2 :] for each in withheld.admit(one, True)]
        assert passed == []
        assert withheld.admit(STARTED, True) == [STARTED]


def test_a_backchannel_that_becomes_a_barge_in_before_its_end_is_whole():
    """After a silence the agent resumes, and the same utterance continues and lasts: it counts from its beginning."""
    withheld = HeldEvents()
    withheld.hold()
    withheld.admit(STARTED, True)
    withheld.admit(PROVISIONAL, True)
    withheld.drop(1000)
    assert withheld.admit(RESUMED, True) == []
    withheld.hold()
    assert withheld.release() == [STARTED, PROVISIONAL, RESUMED]


def test_what_follows_a_backchannel_when_the_agent_has_ended_counts():
    """The utterance continues after the agent's last word: with its next event it counts, as a whole."""
    withheld = HeldEvents()
    withheld.hold()
    withheld.admit(STARTED, True)
    withheld.drop(1000)
    end = event(EventKind.CONFIRMED_END, 5000)
    assert withheld.admit(end, False) == [STARTED, end]
    assert withheld.admit(STARTED, False) == [STARTED]


def test_a_backchannel_that_ends_after_the_agent_does_not_count():
    """Nothing was heard since the agent resumed: the end of the utterance is that of the backchannel."""
    withheld = HeldEvents()
    withheld.hold()
    withheld.admit(STARTED, True)
    withheld.drop(1000)
    assert withheld.admit(CONFIRMED, False) == []
    assert withheld.admit(STARTED, False) == [STARTED]
