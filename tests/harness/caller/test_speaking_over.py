"""When the caller speaks over the agent: barge-ins, backchannels, and replies that are over too soon."""

from __future__ import annotations

from turngap.caller.conversation import PROBE_NS
from turngap.clock import NS_PER_MS
from turngap.scenario import QUIET_MS, Expectation

from tests.harness.caller.conversations import FRAME, Call, sound


def test_a_barge_in_begins_while_the_agent_is_audible() -> None:
    """So long after its first audible sample, within two frames; the record says that it was over the agent."""
    call = Call({"pause_ms": 0}, {"agent": "stop", "over_agent_ms": 700})
    call.lead(400)
    call.hear(sound(3000))
    onset_ns = call.playout.received[0].play_ns
    call.lead(1000)
    assert 700 <= (call.time_ns(call.last.start_sample) - onset_ns) / NS_PER_MS < 740
    assert (call.last.expectation, call.last.over_agent) == (Expectation.STOP, True)
    assert call.talk.spoken[0].over_agent is False


def test_the_answer_to_a_barge_in_follows_the_yield() -> None:
    """Its old sentence going on past t0 is no answer: a probe hangs up on the new one only."""
    call = Call({"pause_ms": 0}, {"agent": "stop", "over_agent_ms": 100}, probe=True)
    call.lead(400)
    call.hear(sound(20_000))
    call.lead(1500)
    assert len(call.talk.spoken) == 2
    call.playout.clear(call.now_ns)
    call.lead(800)
    assert call.over_ns is None
    call.hear(sound(500))
    onset_ns = call.playout.received[-1].play_ns
    call.lead(1000)
    assert call.over_ns is not None
    assert 0 <= call.over_ns - (onset_ns + PROBE_NS) <= FRAME


def test_an_agent_that_falls_silent_without_a_clear_has_yielded() -> None:
    """200 ms of silence end the reply; what follows is the answer."""
    call = Call({"pause_ms": 0}, {"agent": "stop", "over_agent_ms": 100}, probe=True)
    call.lead(400)
    call.hear(sound(900))
    call.lead(1400)
    call.hear(sound(400))
    call.lead(1000)
    assert call.over_ns is not None


def test_an_agent_that_never_yields_is_waited_for_until_the_deadline() -> None:
    """The turn ends with its time, and the call continues once the agent is quiet."""
    call = Call({"pause_ms": 0}, {"agent": "stop", "over_agent_ms": 100}, {"pause_ms": 0})
    call.lead(400)
    call.hear(sound(8000))
    end_ns = call.playout.end_ns
    call.lead(9500)
    assert len(call.talk.spoken) == 3
    assert call.time_ns(call.last.start_sample) >= end_ns + QUIET_MS * NS_PER_MS


def test_after_a_backchannel_the_sentence_is_let_finish() -> None:
    """No answer is waited for, but the turn's time is listened through, and the sentence heard to its end."""
    call = Call({"pause_ms": 0}, {"agent": "ignore", "over_agent_ms": 200, "answer_within_ms": 800}, {"pause_ms": 0})
    call.lead(400)
    call.hear(sound(4000))
    end_ns = call.playout.end_ns
    call.lead(5500)
    assert len(call.talk.spoken) == 3
    assert call.time_ns(call.last.start_sample) >= end_ns + QUIET_MS * NS_PER_MS
    assert call.talk.spoken[1].expectation is Expectation.IGNORE


def test_the_last_backchannel_does_not_hang_up_on_the_sentence() -> None:
    """Nor does a probe, which would else hang up on what it takes for an answer."""
    call = Call({"pause_ms": 0}, {"agent": "ignore", "over_agent_ms": 200, "answer_within_ms": 800}, probe=True)
    call.lead(400)
    call.hear(sound(4000))
    end_ns = call.playout.end_ns
    call.lead(6000)
    assert call.over_ns is not None
    assert call.over_ns >= end_ns + QUIET_MS * NS_PER_MS


def test_two_may_speak_over_one_reply() -> None:
    """After a backchannel `over_agent_ms` still counts from the beginning of the reply."""
    call = Call({"pause_ms": 0}, {"agent": "ignore", "over_agent_ms": 300}, {"agent": "stop", "over_agent_ms": 1500})
    call.lead(400)
    call.hear(sound(6000))
    onset_ns = call.playout.received[0].play_ns
    call.lead(2500)
    starts_ms = [(call.time_ns(one.start_sample) - onset_ns) / NS_PER_MS for one in call.talk.spoken[1:]]
    assert 300 <= starts_ms[0] < 340
    assert 1500 <= starts_ms[1] < 1540


def test_a_reply_that_is_too_short_is_not_spoken_over() -> None:
    """The turn is played after it, the record says that it spoke over nobody, and a note why."""
    call = Call({"pause_ms": 0}, {"pause_ms": 0, "agent": "stop", "over_agent_ms": 2000})
    call.lead(400)
    call.hear(sound(500))
    call.lead(1500)
    assert call.last.over_agent is False
    assert "2000 ms into its reply" in call.talk.notes[0]
    assert "was over by then" in call.talk.notes[0]


def test_a_missing_reply_is_not_spoken_over() -> None:
    """The turn is played once the wait for the reply is over, and a note says so."""
    call = Call({"pause_ms": 0}, {"pause_ms": 0, "agent": "ignore", "over_agent_ms": 200})
    call.lead(3500)
    assert call.last.over_agent is False
    assert "the reply never started" in call.talk.notes[0]
