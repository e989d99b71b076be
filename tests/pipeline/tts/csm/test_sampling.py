"""Codes drawn from logits: the right distribution, of only the likeliest k; greedy ones without noise."""

from __future__ import annotations

import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent.tts.csm.sampling import NOISE_ROW, Sampling, make_noise_buffer, sample


def test_draws_follow_the_softmax_of_the_likeliest() -> None:
    """20,000 draws at temperature 0.7 from 5 codes, the best 3 of them: within 2 % of the renormalised softmax."""
    logits = torch.tensor([[1.0, 0.2, 2.0, -1.0, 1.5]])
    noise = torch.rand(20_000, NOISE_ROW, generator=torch.Generator().manual_seed(1))
    drawn = sample(logits.expand(len(noise), -1), noise, Sampling(0.7, 3))
    share = torch.bincount(drawn, minlength=5) / len(noise)
    kept = torch.tensor([1.0, -torch.inf, 2.0, -torch.inf, 1.5])
    assert torch.allclose(share, (kept / 0.7).softmax(0), atol=0.02)


def test_greedy_codes_are_the_likeliest() -> None:
    """Temperature 0 is the argmax."""
    logits = torch.randn(4, 64, generator=torch.Generator().manual_seed(1))
    noise = torch.rand(4, NOISE_ROW)
    assert torch.equal(sample(logits, noise, Sampling(0, 50)), logits.argmax(-1))


def test_the_ends_of_the_noise_are_finite() -> None:
    """Uniform noise is sometimes 0; the code is still one of the likeliest."""
    logits = torch.tensor([[0.0, 9.0, 8.0]])
    for value in (0.0, 1.0):
        assert int(sample(logits, torch.full((1, NOISE_ROW), value), Sampling(1.0, 2))) in (1, 2)


@pytest.mark.parametrize("top_k", [1, 64, 65])
def test_noise_rows_are_aligned(top_k: int) -> None:
    """Every row starts at a multiple of 256 bytes and is long enough."""
    noise = make_noise_buffer(4, Sampling(1.0, top_k), torch.device("cpu"))
    assert noise.shape[1] >= top_k
    assert noise.stride(0) * 4 % 256 == 0
