"""A call's memory: what is kept, what is cut, and that no other call shares it."""

import re

import numpy as np
import pytest
from turngap_agent.call.conversation import (
    CONTEXT_TURNS,
    HISTORY_TURNS,
    Conversation,
    has_words,
    heard_text,
    make_call_block,
)
from turngap_agent.llm import Message
from turngap_agent.tts import ContextUtterance

SILENCE = np.zeros(8, np.float32)


def turn(conversation: Conversation, caller: str, agent: str) -> None:
    conversation.add(ContextUtterance("caller", caller, SILENCE), ContextUtterance("agent", agent, SILENCE))


def test_history_alternates_and_is_bounded():
    """The newest turns are kept whole, text for longer than audio."""
    conversation = Conversation()
    for index in range(HISTORY_TURNS + 3):
        turn(conversation, f"q{index}", f"a{index}")
    assert conversation.history[0] == Message("user", "q3")
    assert conversation.history[-1] == Message("assistant", f"a{HISTORY_TURNS + 2}")
    assert len(conversation.history) == 2 * HISTORY_TURNS
    assert [spoken.speaker for spoken in conversation.context] == ["caller", "agent"] * CONTEXT_TURNS


def test_an_interrupted_reply_is_remembered_as_far_as_it_was_heard():
    """The last reply is cut; of one that was not heard at all, the turn is forgotten."""
    conversation = Conversation()
    turn(conversation, "q0", "a0")
    turn(conversation, "q1", "one two three")
    conversation.cut_last("one", 3)
    assert conversation.history[-1] == Message("assistant", "one")
    caller, agent = conversation.context[-2:]
    assert (caller.text, len(caller.audio)) == ("q1", 8)
    assert (agent.text, len(agent.audio)) == ("one", 3)
    conversation.cut_last("", 0)
    assert [message.text for message in conversation.history] == ["q0", "a0"]
    assert [spoken.text for spoken in conversation.context] == ["q0", "a0"]


@pytest.mark.parametrize(
    ("samples", "heard"),
    [
        (0, ""),
        (-5, ""),
        (50, "one"),
        (100, "one two,"),
        (130, "one two,"),
        (150, "one two, three"),
        (200, "one two, three four."),
    ],
)
def test_heard_text_counts_whole_clauses_then_words(samples, heard):
    """A clause counts in full once its audio has played; the one in the middle by its share of words."""
    assert heard_text([("one two,", 100), ("three four.", 100)], samples) == heard


def test_a_clause_without_audio_was_not_heard():
    """Text that was not sent when the caller spoke is not part of the reply."""
    assert heard_text([("one two,", 100), ("three four.", 0)], 99) == "one"


def test_the_block_is_unique_from_its_first_token_on():
    """16 random letters, each a word, are first: 16 tokens pass before two calls can have anything in common."""
    blocks = {make_call_block() for _ in range(50)}
    assert len({block[:16] for block in blocks}) == 50
    assert all(re.fullmatch(r"([A-Z] ){16}is the reference of this call\.", block) for block in blocks)


@pytest.mark.parametrize("words", ["", "...", "Mm-hm.", "Mm-hmm.", "Mhm", "Hmm...", "Uh-huh.", "Um, uh", "Er", "M-hm"])
def test_a_mere_sound_needs_no_answer(words):
    """What a listener or a thinker lets out, as transcribers write it."""
    assert not has_words(words)


@pytest.mark.parametrize("words", ["Yes.", "Hm, no.", "I", "He", "Him", "Hum a tune", "Room 12", "Oh", "7"])
def test_a_word_is_something_to_answer(words):
    """However short it is, and whatever sounds come with it."""
    assert has_words(words)
