"""A turn without words that was too short to be asked about at once: asked about when the caller waits in silence."""

from __future__ import annotations

from turngap_agent import tracing
from turngap_agent.stt import Transcript

from tests.pipeline.call.test_apology_in_time import JumpingLoop, jumping_loop, place_call
from tests.pipeline.call.test_faults import Fault, Hearing, give, raise_memory

__all__ = ["jumping_loop"]  # a fixture
COUGH_S = 0.6
NO_WORDS = give(Transcript(" "))


def call(loop: JumpingLoop, faults: list[Fault], *more_s: tuple[float, float]):
    """A call whose caller makes a sound of 0.6 s, and others at `more_s`; the recogniser does one of `faults` each."""
    engines = {"stt": Hearing(*faults)}
    sent, agent = loop.run_until_complete(place_call(loop, (), engines, ((0, COUGH_S), *more_s)))
    loop.close()
    return sent, agent


def test_a_caller_who_waits_is_asked_to_repeat(jumping_loop):
    """As long after the end of the turn as a caller may hear silence, and once: what follows is the caller's move."""
    sent, agent = call(jumping_loop, [NO_WORDS])
    question = agent.announcements["not_understood"]
    assert [payload for _, payload in sent.audio] == list(question)
    silent, asked = agent.exporter.turns
    confirmed_s = silent.attributes[tracing.CONFIRMED_NS] / 1e9
    assert round(sent.audio[0][0] - confirmed_s, 3) == agent.profile.deadlines.silence_ms / 1000
    assert sent.audio[0][0] - COUGH_S < 5
    assert (silent.attributes[tracing.HEARD], asked.attributes[tracing.HEARD]) == (False, True)
    assert (asked.attributes[tracing.FAULT_STAGE], asked.attributes[tracing.FAULT_KIND]) == ("stt", "nothing")
    assert asked.attributes[tracing.REPLY] == agent.profile.announcements.not_understood
    assert "agent waited" in silent.attributes[tracing.ERROR]


def test_a_caller_who_goes_on_is_answered_and_not_asked(jumping_loop):
    """Whether the next words come soon, or just before the question would: theirs is a turn of its own."""
    sent, agent = call(jumping_loop, [NO_WORDS], (4.0, 5.0))
    silent, answered = agent.exporter.turns
    assert not silent.attributes[tracing.HEARD]
    assert answered.attributes[tracing.TRANSCRIPT] == "words"
    assert b"".join(agent.announcements["not_understood"]) not in b"".join(payload for _, payload in sent.audio)
    assert min(at_s for at_s, _ in sent.audio) > 5.0


def test_every_sound_without_words_is_asked_about(jumping_loop):
    """A line that brings none is no reason to end the call: a television talks too."""
    sent, agent = call(jumping_loop, [NO_WORDS] * 2, (6.6, 7.2))
    question = b"".join(agent.announcements["not_understood"])
    assert b"".join(payload for _, payload in sent.audio) == 2 * question
    assert len(agent.exporter.turns) == 4


def test_a_failed_turn_is_apologised_for_and_not_asked_about_too(jumping_loop):
    sent, agent = call(jumping_loop, [raise_memory])
    assert b"".join(payload for _, payload in sent.audio) == b"".join(agent.announcements["apology"])
