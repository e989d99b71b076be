"""Drafts of a reply's next tokens: what followed the last tokens where they stood before."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.llm.onnx.drafts import LONGEST, SHORTEST, find_draft

END = 9


@pytest.mark.parametrize(
    ("ids", "most", "draft"),
    [
        ([1, 2, 3, 4, 5, 1, 2], 3, [3, 4, 5]),
        ([1, 2, 3, 4, 5, 1, 2], 1, [3]),
        ([1, 2, 3, 4, 5, 1, 2], 0, []),
        ([1, 2, 3, 4, 5, 1, 2], -1, []),
        ([1, 2, 3, 1, 2, 4, 5, 1, 2], 2, [4, 5]),  # the latest place
        ([7, 1, 2, 3, 8, 1, 2, 4, 7, 1, 2], 1, [3]),  # the longer match is surer than the later one
        ([1, 2, 3, END, 5, 1, 2], 3, [3]),  # nothing follows the end of a reply
        ([1, 2, END, 1, 2], 3, []),
        ([1, 3, 4, 1], 3, []),  # one token is too little
        ([1, 1, 1], 2, [1]),  # the match may overlap the tokens that are matched
        ([5], 3, []),
        ([], 3, []),
    ],
)
def test_the_draft_is_what_followed(ids: list[int], most: int, draft: list[int]) -> None:
    """Of the longest match, and of these of the latest."""
    assert find_draft(ids, most, {END}) == draft


@given(st.lists(st.integers(0, 3), max_size=30), st.integers(0, 5))
def test_a_draft_has_stood_after_the_last_tokens(ids: list[int], most: int) -> None:
    """Its length is limited, and it holds no end."""
    draft = find_draft(ids, most, {3})
    assert len(draft) <= most
    assert 3 not in draft
    places = [
        start + size
        for size in range(SHORTEST, LONGEST + 1)
        for start in range(len(ids) - size)
        if ids[start : start + size] == ids[-size:]
    ]
    assert not draft or any(ids[place : place + len(draft)] == draft for place in places)
