"""A count and its noun agree."""

from __future__ import annotations

import pytest
from turngap.model.plural import plural


@pytest.mark.parametrize(("count", "text"), [(0, "0 turns"), (1, "1 turn"), (2, "2 turns"), (1234, "1,234 turns")])
def test_a_noun_takes_its_s_but_for_one(count: int, text: str) -> None:
    """Thousands are set apart."""
    assert plural(count, "turn") == text


def test_an_irregular_plural_is_passed() -> None:
    """The verb as well."""
    assert plural(1, "turn carries", "turns carry") == "1 turn carries"
    assert plural(3, "turn carries", "turns carry") == "3 turns carry"
