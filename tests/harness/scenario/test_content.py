"""Which words of a reply carry content."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.scenario.content import Openings, Word, default_openings, expand_entry, make_openings, split_words
from turngap.scenario.model import Scenario

SHIPPED = make_openings(default_openings())


def content(text: str, openings: Openings = SHIPPED) -> str:
    words = split_words(text)
    return " ".join(word.text for word in words[openings.count(words) :])


@pytest.mark.parametrize(
    ("reply", "rest"),
    [
        ("Um, the office is open.", "the office is open."),
        ("Ummm... it is.", "it is."),
        ("uh the office", "the office"),
        ("Thank you, it is room 12.", "it is room 12."),
        ("Thank you.", ""),
        ("Thank you for calling.", "Thank you for calling."),
        ("One moment please, I have it.", "I have it."),
        ("Okay - um — sure, yes!", "yes!"),
        ("So far so good.", "So far so good."),
        ("Well done!", "Well done!"),
        ("Mm-hm. Yes.", "Yes."),
        ("Yes.", "Yes."),
        ("", ""),
    ],
)
def test_openings_are_taken_off_the_start(reply: str, rest: str) -> None:
    """One after the other, the longest first; one with a comma only where it stands alone."""
    assert content(reply) == rest


OPENING_TABLE = [
    # Requests to wait after an acknowledgement, with and without marks: nothing is answered yet.
    ("Okay let me check that for you", ""),
    ("Okay, let me check that for you. It is open.", "It is open."),
    ("Sure let me check", ""),
    ("Sure, let me just check. Room 12.", "Room 12."),
    ("Let me just check", ""),
    ("Let me quickly check that for you, one second.", ""),
    ("Well let's see", ""),
    ("Well, let's see, we open at nine.", "we open at nine."),
    ("So let me see. Nine.", "Nine."),
    ("Oh um one moment", ""),
    ("Thank you one moment please", ""),
    ("Great just one second", ""),
    ("No problem. Hold on a moment.", ""),
    ("No problem let me look that up for you", ""),
    ("Right, bear with me. Room 12.", "Room 12."),
    ("Please hold.", ""),
    ("Please give me just a moment.", ""),
    ("I see. One sec.", ""),
    ("All right so, um, nine.", "nine."),
    # "Yes" answers, unless a request to wait follows: then nobody knows yet what it agrees to.
    ("Yes, one moment please.", ""),
    ("Yeah um let me check.", ""),
    ("Yes let me check that for you, it is open.", "it is open."),
    ("Yes.", "Yes."),
    ("Yes, we are open.", "Yes, we are open."),
    ("Yes, of course.", "Yes, of course."),
    ("Yeah.", "Yeah."),
    ("No.", "No."),
    # Acknowledgements alone: the caller knows no more than before.
    ("Okay.", ""),
    ("No problem.", ""),
    ("Thank you so much.", ""),
    # Words that begin like an opening and go on: the sentence is the content, from its first word.
    ("Thank you for calling the office.", "Thank you for calling the office."),
    ("One moment of silence is held at noon.", "One moment of silence is held at noon."),
    ("Right now we are closed.", "Right now we are closed."),
    ("No problem was found.", "No problem was found."),
    ("Sure things are rare.", "Sure things are rare."),
    ("Well water is safe.", "Well water is safe."),
    ("Let me check the calendar for Monday.", "Let me check the calendar for Monday."),
    ("So far so good.", "So far so good."),
    # Only the list counts: what is in no entry has content, whatever it is worth.
    ("I will find that out for you.", "I will find that out for you."),
    # Known to be late by two words, never early: an entry without a mark counts before anything.
    ("One moment I have it.", "I have it."),
]


@pytest.mark.parametrize(("reply", "rest"), OPENING_TABLE)
def test_where_content_starts_in_forty_replies(reply: str, rest: str) -> None:
    """Openings, and content that begins like one."""
    assert content(reply) == rest


def test_the_table_has_forty_replies() -> None:
    """Each of them once."""
    assert len(dict(OPENING_TABLE)) == len(OPENING_TABLE) == 40


def test_an_entry_s_marks() -> None:
    """Optional words, and where the entry counts."""
    own = Openings(["let me (just) check", "fine,", "aye +", "fine print ="])
    assert content("Let me just check this", own) == content("Let me check this", own) == "this"
    assert content("fine let me check", own) == content("fine", own) == ""
    assert content("fine wine", own) == "fine wine"
    assert content("fine print, let me check", own) == "fine print, let me check"
    assert content("Aye.", own) == "Aye."
    assert content("Aye, let me check.", own) == ""


def test_a_pause_sets_an_opening_apart() -> None:
    """A recogniser writes no mark where the speaker paused."""
    words = [Word("thank"), Word("you", stands_last=True), Word("for"), Word("waiting")]
    assert SHIPPED.count(words) == 2
    assert SHIPPED.count([Word("thank"), Word("you"), Word("for"), Word("waiting")]) == 0


@given(
    st.lists(st.sampled_from(["um,", "one moment,", "sure,", "thank you,", "er"])), st.sampled_from(["room 12", "no"])
)
def test_any_sequence_of_openings_leaves_the_content(fillers: list[str], rest: str) -> None:
    """However many there are."""
    assert content(" ".join([*fillers, rest])) == rest


def test_a_scenario_may_have_its_own_list() -> None:
    """It replaces the one that ships; an entry without a word is refused."""
    turns = [{"say": "hello"}]
    own = Scenario.model_validate({"name": "own", "turns": turns, "contentless": ["hello"]})
    assert content("Hello um no", make_openings(own.contentless)) == "um no"
    assert Scenario.model_validate({"name": "own", "turns": turns}).contentless == default_openings()
    with pytest.raises(ValueError, match=r"'\.\.\.' has no words"):
        Scenario.model_validate({"name": "own", "turns": turns, "contentless": ["..."]})


def test_the_list_that_ships_has_no_entry_twice() -> None:
    """An entry with a comma beside the same one without would decide nothing."""
    variants = [variant for entry in default_openings() for variant in expand_entry(entry)]
    plain = [tuple(word.plain for word in split_words(variant)) for variant in variants]
    assert len(plain) == len(set(plain)), sorted(plain)
