"""The next token: the likeliest, but for what is held against it."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from turngap_agent.llm.onnx.choice import Choice

logits = arrays.arrays(np.float32, (8,), elements=st.floats(-20, 20, width=32))


@given(st.lists(logits, min_size=1, max_size=6))
def test_with_nothing_held_against_any_it_is_the_largest(steps: list[npt.NDArray[np.float32]]) -> None:
    """The first of several."""
    choice = Choice(ends=(), least=0, penalty=1)
    assert [choice.next(step) for step in steps] == [int(step.argmax()) for step in steps]


def test_a_token_that_was_given_is_less_likely() -> None:
    """A positive logit is divided by the penalty, a negative one multiplied; what was not given keeps its own."""
    choice = Choice(ends=(), least=0, penalty=2)
    assert choice.next(np.array([4, 3, 0], np.float32)) == 0
    assert choice.next(np.array([4, 3, 0], np.float32)) == 1  # 2, 3, 0
    assert choice.next(np.array([4, 5, 2.6], np.float32)) == 2  # 2, 2.5, 2.6
    assert choice.next(np.array([-1, -4, -4], np.float32)) == 0  # -2, -8, -8


def test_the_logits_stay_as_they_are() -> None:
    """They belong to whoever computed them."""
    given_logits = np.array([1, 2], np.float32)
    choice = Choice(ends=(1,), least=2, penalty=1.5)
    choice.next(given_logits)
    choice.next(given_logits)
    np.testing.assert_array_equal(given_logits, [1, 2])


@given(st.lists(logits, min_size=1, max_size=6), st.integers(0, 6))
def test_no_end_comes_too_soon(steps: list[npt.NDArray[np.float32]], least: int) -> None:
    """Before `least` tokens none of the ends, after them as likely as any."""
    ends = {0, 5}
    choice = Choice(ends, least, penalty=1)
    for at, step in enumerate(steps):
        chosen = choice.next(step)
        assert chosen == int(step.argmax()) if at >= least else chosen not in ends
