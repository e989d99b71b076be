"""Words kept at pauses: when they are used, and what is heard after them."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.call.question import WordsSoFar

SECOND = 8000


def keep_words(*ends_s: float, whole_s: float | None = 7) -> WordsSoFar:
    words = WordsSoFar(whole_s)
    for index, end_s in enumerate(ends_s):
        words.keep(round(end_s * SECOND), f"part {index}")
    return words


def test_a_short_turn_is_heard_whole() -> None:
    """Whatever was kept of it."""
    assert keep_words(2, 4).split(0, 7 * SECOND) == (0, "")


def test_of_a_long_turn_as_much_as_fits_is_heard() -> None:
    """The first pause that leaves no more than the limit."""
    assert keep_words(2, 4, 6).split(0, 10 * SECOND) == (4 * SECOND, "part 1")


def test_where_no_rest_fits_the_last_pause_is_nearest() -> None:
    """A rest longer than the limit is heard from the last pause on."""
    assert keep_words(2, 4).split(0, 20 * SECOND) == (4 * SECOND, "part 1")


def test_a_rest_of_a_word_is_heard_with_what_was_before() -> None:
    """Transcription does not start at a pause just before the end."""
    assert keep_words(2, 19).split(0, 20 * SECOND) == (2 * SECOND, "part 0")
    assert keep_words(19).split(0, 20 * SECOND) == (0, "")


def test_without_a_limit_every_turn_is_heard_whole() -> None:
    """null turns it off."""
    assert keep_words(2, 4, 6, whole_s=None).split(0, 30 * SECOND) == (0, "")


def test_a_new_turn_knows_nothing_of_the_one_before() -> None:
    """And a pause without words leaves nothing to keep."""
    words = keep_words(2, 4)
    words.reset()
    words.keep(25 * SECOND, "")
    assert words.split(20 * SECOND, 30 * SECOND) == (20 * SECOND, "")


@given(st.lists(st.floats(0.5, 29), max_size=6).map(sorted), st.floats(1, 30))
def test_the_rest_is_inside_the_turn(ends_s: list[float], length_s: float) -> None:
    """It begins in the turn, ends with it, and is never empty."""
    ends_s = [end for end in ends_s if end < length_s]
    start, _ = keep_words(*ends_s).split(0, round(length_s * SECOND))
    assert 0 <= start < round(length_s * SECOND)
