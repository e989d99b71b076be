"""Keys and values that are kept: whatever is not computed again, the logits are those of computing all of it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

pytest.importorskip("onnx", reason="needs the extra `cpu`")

from turngap_agent.llm.onnx.decoder import Context, Decoder, common
from turngap_agent.weights import llama_onnx

from tests.pipeline.weights.small_llama import TOKENS, forward, random_weights, write

TENSORS = random_weights()
some_ids = st.lists(st.integers(0, len(TOKENS) - 1), min_size=1, max_size=12)


@pytest.fixture(scope="module")
def decoder(tmp_path_factory: pytest.TempPathFactory) -> Decoder:
    """Of 32 bits, so that what is computed in pieces can be held against the whole."""
    folder = tmp_path_factory.mktemp("model")
    llama_onnx.convert(write(folder / "m.gguf", TENSORS), folder, quantized=False)
    return Decoder(folder / "model.onnx", threads=1, positions=64)


def check(context: Context, ids: list[int], kept: int) -> None:
    expected = forward(TENSORS, ids)[-1]
    np.testing.assert_allclose(context.logits(ids, kept), expected, atol=1e-4)
    assert context.ids == ids


@settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(requests=st.lists(some_ids, min_size=1, max_size=4))
def test_what_two_prompts_share_is_not_computed_again(decoder: Decoder, requests: list[list[int]]) -> None:
    """Prompt after prompt in one context, each from where it leaves the one before: the rest of that does no harm."""
    context = decoder.context()
    for ids in requests:
        check(context, ids, min(common(context.ids, ids), len(ids) - 1))


def test_token_by_token_is_all_at_once(decoder: Decoder) -> None:
    """A reply's tokens, one at a time after the prompt."""
    context, ids = decoder.context(), [7, 8, 9]
    for token in (5, 200, 33, 2):
        ids.append(token)
        check(context, ids, len(context.ids))


def test_two_contexts_do_not_meet(decoder: Decoder) -> None:
    """Requests of two conversations in turns, each as if alone."""
    first, second = decoder.context(), decoder.context()
    check(first, [1, 2, 3], 0)
    check(second, [9, 8, 7, 6], 0)
    check(first, [1, 2, 3, 4], 3)
    check(second, [9, 8, 7, 6, 5], 4)


def test_a_copy_goes_its_own_way(decoder: Decoder) -> None:
    """A new conversation takes over what all have in common, and neither changes the other after that."""
    first, second = decoder.context(), decoder.context()
    check(first, [1, 2, 3, 4], 0)
    second.copy(first, 3)
    assert second.ids == [1, 2, 3]
    check(second, [1, 2, 3, 99], 3)
    check(first, [1, 2, 3, 4, 5], 4)


@given(own=some_ids, other=some_ids)
def test_how_much_is_in_common(own: list[int], other: list[int]) -> None:
    """The longest beginning of both."""
    n = common(own, other)
    assert own[:n] == other[:n]
    assert n == min(len(own), len(other)) or own[n] != other[n]
