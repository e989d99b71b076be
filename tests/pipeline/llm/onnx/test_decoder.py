"""The decoder: logits do not depend on what is kept instead of computed again; and the choice of the next token."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

pytest.importorskip("onnx", reason="needs the extra `cpu`")

from turngap_agent.llm.onnx.decoder import Context, Decoder, TokenChoice, common_length
from turngap_agent.weights import llama_onnx

from tests.pipeline.weights.small_llama import TOKENS, forward, random_weights, write

pytestmark = pytest.mark.xdist_group("onnx")

TENSORS = random_weights()
some_ids = st.lists(st.integers(0, len(TOKENS) - 1), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    """Of 32 bits, so that pieces can be compared with the whole."""
    folder = tmp_path_factory.mktemp("model")
    llama_onnx.convert(write(folder / "m.gguf", TENSORS), folder, quantized=False)
    return Decoder(folder / "model.onnx", threads=1, positions=64)


def check(context: Context, ids: list[int], kept: int) -> None:
    expected = forward(TENSORS, ids)[-1]
    np.testing.assert_allclose(context.compute_logits(ids, kept), expected, atol=1e-4)
    assert context.ids == ids


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(some_ids, min_size=1, max_size=4))
def test_what_two_prompts_share_can_be_kept(decoder: Decoder, requests: list[list[int]]) -> None:
    """Prompts in one context, each computed from where it differs from the one before."""
    context = decoder.new_context()
    for ids in requests:
        check(context, ids, min(common_length(context.ids, ids), len(ids) - 1))


def test_a_reply_token_by_token_has_the_logits_of_the_whole(decoder: Decoder) -> None:
    """A reply's tokens, one at a time after the prompt."""
    context, ids = decoder.new_context(), [7, 8, 9]
    for token in (5, 200, 33, 2):
        ids.append(token)
        check(context, ids, len(context.ids))


def test_two_contexts_are_independent(decoder: Decoder) -> None:
    """Alternating requests of two conversations, each as if alone."""
    first, second = decoder.new_context(), decoder.new_context()
    check(first, [1, 2, 3], 0)
    check(second, [9, 8, 7, 6], 0)
    check(first, [1, 2, 3, 4], 3)
    check(second, [9, 8, 7, 6, 5], 4)


def test_a_copy_is_independent(decoder: Decoder) -> None:
    """A new conversation takes over the common prefix, and neither changes the other after that."""
    first, second = decoder.new_context(), decoder.new_context()
    check(first, [1, 2, 3, 4], 0)
    second.copy_from(first, 3)
    assert second.ids == [1, 2, 3]
    check(second, [1, 2, 3, 99], 3)
    check(first, [1, 2, 3, 4, 5], 4)


@given(own=some_ids, other=some_ids)
def test_the_common_length_is_that_of_the_longest_common_prefix(own: list[int], other: list[int]) -> None:
    """All before it is the same, and what follows differs."""
    n = common_length(own, other)
    assert own[:n] == other[:n]
    assert n == min(len(own), len(other)) or own[n] != other[n]


some_logits = arrays.arrays(np.float32, (8,), elements=st.floats(-20, 20, width=32))


@given(st.lists(some_logits, min_size=1, max_size=6))
def test_without_penalties_the_largest_logit_is_chosen(steps: list[npt.NDArray[np.float32]]) -> None:
    """Of equal ones the first."""
    choice = TokenChoice(ends=(), min_tokens=0, penalty=1)
    assert [choice.choose(step) for step in steps] == [int(step.argmax()) for step in steps]


def test_a_repeated_token_is_less_likely() -> None:
    """A positive logit is divided by the penalty, a negative one multiplied; other tokens keep theirs."""
    choice = TokenChoice(ends=(), min_tokens=0, penalty=2)
    assert choice.choose(np.array([4, 3, 0], np.float32)) == 0
    assert choice.choose(np.array([4, 3, 0], np.float32)) == 1  # 2, 3, 0
    assert choice.choose(np.array([4, 5, 2.6], np.float32)) == 2  # 2, 2.5, 2.6
    assert choice.choose(np.array([-1, -4, -4], np.float32)) == 0  # -2, -8, -8


def test_the_logits_are_not_changed() -> None:
    """They are the session's own memory."""
    values = np.array([1, 2], np.float32)
    choice = TokenChoice(ends=(1,), min_tokens=2, penalty=1.5)
    choice.choose(values)
    choice.choose(values)
    np.testing.assert_array_equal(values, [1, 2])


@given(st.lists(some_logits, min_size=1, max_size=6), st.integers(0, 6))
def test_no_reply_ends_too_early(steps: list[npt.NDArray[np.float32]], min_tokens: int) -> None:
    """Before `min_tokens` tokens no end is chosen, after them an end like any other token."""
    ends = {0, 5}
    choice = TokenChoice(ends, min_tokens, penalty=1)
    for at, step in enumerate(steps):
        token = choice.choose(step)
        assert token == int(step.argmax()) if at >= min_tokens else token not in ends
