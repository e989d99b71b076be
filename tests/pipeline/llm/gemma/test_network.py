"""Gemma 3 with fixed shapes generates the same tokens as transformers' module, in one piece or token by token."""

from __future__ import annotations

from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent.llm.gemma import architectures
from turngap_agent.llm.gemma.network import Gemma

POSITIONS = 160


@pytest.fixture(scope="module")
def reference() -> Any:
    return architectures.build(architectures.tiny(), torch.device("cpu"), torch.float32, scale=0.3)


@pytest.fixture(scope="module")
def gemma(reference: Any) -> Gemma:
    return Gemma(reference, POSITIONS)


def ids(length: int) -> Any:
    return torch.randint(0, 512, (length,), generator=torch.Generator().manual_seed(length))


@pytest.mark.parametrize("length", [1, 40, 130])
def test_a_prompt_has_the_hidden_states_of_transformers(reference: Any, gemma: Gemma, length: int) -> None:
    """Also longer than the sliding window: local layers do not attend to what is before it."""
    prompt = ids(length)
    with torch.inference_mode():
        expected = reference(prompt.unsqueeze(0)).logits[0]
        hidden = gemma.forward(prompt, gemma.cache(), torch.arange(length), POSITIONS)
        logits = torch.nn.functional.linear(hidden, gemma.embeddings)
    torch.testing.assert_close(logits, expected, atol=2e-3, rtol=2e-3)


def test_token_by_token_is_greedy_generation(reference: Any, gemma: Gemma) -> None:
    """A prompt in two pieces, then 40 steps across the edge of the window: transformers' greedy tokens."""
    prompt = ids(48)
    with torch.inference_mode():
        expected = reference.generate(
            prompt.unsqueeze(0), max_new_tokens=40, min_new_tokens=40, do_sample=False, pad_token_id=0
        )[0, 48:]
        cache = gemma.cache()
        gemma.forward(prompt[:20], cache, torch.arange(20), POSITIONS)
        hidden = gemma.forward(prompt[20:], cache, torch.arange(20, 48), POSITIONS)[-1:]
        tokens = []
        for place in range(48, 88):
            token = gemma.likeliest_token(hidden)
            tokens.append(int(token))
            hidden = gemma.forward(token, cache, torch.tensor([place]), POSITIONS)
    assert tokens == expected.tolist()


def test_positions_after_a_row_have_no_weight(gemma: Gemma) -> None:
    """Stale keys and values of an earlier, longer use of the cache change nothing."""
    with torch.inference_mode():
        fresh, used = gemma.cache(), gemma.cache()
        gemma.forward(ids(100), used, torch.arange(100), POSITIONS)
        prompt = ids(10)
        first = gemma.forward(prompt, fresh, torch.arange(10), POSITIONS)
        again = gemma.forward(prompt, used, torch.arange(10), POSITIONS)
    torch.testing.assert_close(first, again)


def test_the_large_one_is_gemma_3_27b() -> None:
    """27.0 billion parameters; 54 GB in bf16, and 0.5 MB of keys and values a position."""
    config = architectures.gemma_3_27b()
    weights = architectures.needed_bytes(config, torch.bfloat16, 0)
    assert weights == pytest.approx(54.0e9, rel=0.01)
    assert architectures.needed_bytes(config, torch.bfloat16, 1000) - weights == pytest.approx(508e6, rel=0.01)
