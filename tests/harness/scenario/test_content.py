"""Which words of a reply carry content."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.scenario.content import Openings, Word, default_openings, make_openings, split_words
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
    plain = [tuple(word.plain for word in split_words(entry)) for entry in default_openings()]
    assert len(plain) == len(set(plain)), sorted(plain)
