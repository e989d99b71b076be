"""The repeat check: what a window too short makes of an utterance, and what people really say."""

from __future__ import annotations

import pytest
from turngap_agent.stt.repeats import repeats_itself


@pytest.mark.parametrize(
    "text",
    [
        "Please enter your number. Please enter your number.",
        "Thank you for calling us today, thank you for calling us today, thank you",
        "I would like to go to the to the to the",
        "We are open. We are open from nine to five, and we are open from nine to five.",
    ],
)
def test_repeats_are_seen(text: str) -> None:
    """Whole texts, tails and phrases that come again and again."""
    assert repeats_itself(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Hello?",
        "No, no.",
        "Press one for sales, press two for support, or press zero for the operator.",
        "If you know your party's extension, you may dial it at any time.",
        "I went to the bank and then to the shop.",
    ],
)
def test_ordinary_speech_is_not(text: str) -> None:
    """Short answers, menus and sentences that use a phrase twice."""
    assert not repeats_itself(text)
