"""Matrices of 4-bit integers: torch's packed product equals that of the numbers they stand for."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent.device import amx
from turngap_agent.llm import Request
from turngap_agent.llm.gemma import architectures, int4
from turngap_agent.llm.gemma.engine import GemmaChat
from turngap_agent.llm.gemma.network import Gemma
from turngap_agent.llm.gemma.settings import GemmaSettings

POSITIONS = 96


@pytest.fixture(autouse=True)
def _hidden_amx() -> None:
    amx.hide_from_torch(torch.cpu)


def test_integers_are_the_nearest_in_their_group() -> None:
    """No weight is off by more than half a step of its group; the largest of a group keeps its sign."""
    matrix = torch.randn(32, 256, generator=torch.Generator().manual_seed(1)) * torch.logspace(-3, 1, 32).unsqueeze(1)
    values, scale = int4.round_groups(matrix, 128)
    assert scale.shape == (32, 2)
    assert (int(values.min()), int(values.max())) == (1, 15)
    step = scale.repeat_interleave(128, dim=1)
    assert bool(((int4.restore(values, scale) - matrix).abs() <= 0.53 * step).all())  # scales are rounded to bf16


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.bfloat16, 2e-2)])
@pytest.mark.parametrize(("rows", "group"), [(1, 128), (5, 32), (40, 128)])
def test_the_packed_product_is_that_of_the_restored_matrix(
    dtype: torch.dtype, tolerance: float, rows: int, group: int
) -> None:
    """For one row and several, in groups of either size."""
    generator = torch.Generator().manual_seed(rows)
    matrix = torch.randn(48, 256, generator=generator) / 16
    x = torch.randn(rows, 256, generator=generator).to(dtype)
    packed = int4.quantise(matrix.to(dtype), group)
    expected = x.float() @ int4.restore(*int4.round_groups(matrix.to(dtype), group)).T
    torch.testing.assert_close(int4.multiply(x, packed).float(), expected, atol=tolerance, rtol=tolerance)
    assert packed.packed.numel() * packed.packed.element_size() == 48 * 256 // 2


@pytest.mark.parametrize("shape", [(48, 100), (40, 128)])
def test_a_matrix_that_cannot_be_packed_is_an_error(shape: tuple[int, int]) -> None:
    """Columns that are no whole groups, rows that are no multiple of 16."""
    with pytest.raises(ValueError, match="cannot be packed in groups of 128"):
        int4.quantise(torch.zeros(shape))


def test_a_network_in_int4_is_the_one_with_restored_matrices() -> None:
    """All layers: the same logits and greedy tokens, in a prompt and in a step; the full matrices are given up."""
    reference = architectures.build(architectures.tiny(), torch.device("cpu"), torch.float32, scale=0.3)
    gemma = Gemma(reference, POSITIONS)
    for layer in gemma.layers:
        for name in ("qkv", "output", "gate_up", "down"):
            matrix = getattr(layer, name)
            matrix.copy_(int4.restore(*int4.round_groups(matrix, int4.SMALL_GROUP)))
    small_network = architectures.build(architectures.tiny(), torch.device("cpu"), torch.float32, scale=0.3)
    small = Gemma(small_network, POSITIONS, int4=True)
    assert all(parameter.is_meta for parameter in small_network.model.layers.parameters())
    prompt = torch.randint(0, 512, (40,), generator=torch.Generator().manual_seed(1))
    hidden, tokens = [], []
    with torch.inference_mode():
        for network in (gemma, small):
            cache = network.cache()
            states = network.forward(prompt, cache, torch.arange(40), POSITIONS)
            hidden.append(states)
            token, read = network.likeliest_token(states[-1:]), []
            for place in range(40, 60):
                read.append(int(token))
                token = network.likeliest_token(network.forward(token, cache, torch.tensor([place]), POSITIONS))
            tokens.append(read)
    torch.testing.assert_close(hidden[1], hidden[0], atol=2e-3, rtol=2e-3)
    assert tokens[0] == tokens[1]


def test_layers_are_filled_one_by_one() -> None:
    """Before its turn a layer takes no memory; the result is a whole network, with its frequencies."""
    network, fill_layer = architectures.build_in_layers(architectures.tiny(), torch.device("cpu"), torch.float32)
    assert all(parameter.is_meta for parameter in network.model.layers.parameters())
    filled: list[int] = []

    def fill(number: int) -> None:
        assert all(parameter.is_meta for layer in network.model.layers for parameter in layer.parameters())
        filled.append(number)
        fill_layer(number)

    gemma = Gemma(network, POSITIONS, int4=True, fill_layer=fill)
    assert filled == [0, 1, 2]
    whole = Gemma(architectures.build(architectures.tiny(), torch.device("cpu"), torch.float32), POSITIONS)
    for local in (True, False):
        torch.testing.assert_close(gemma.tables[local], whole.tables[local])
    with torch.inference_mode():
        hidden = gemma.forward(torch.arange(9), gemma.cache(), torch.arange(9), POSITIONS)
    assert bool(hidden.isfinite().all())
    assert hidden.std() > 0


def settings(**changes: Any) -> GemmaSettings:
    base = {"engine": "gemma", "system_prompt": "Be brief.", "layer_weights": "int4"}
    return GemmaSettings.model_validate(base | changes)


def test_the_engine_replies_in_int4() -> None:
    """The script, and the ready line says which weights it has."""

    async def work() -> str:
        engine = settings(architecture="tiny", device="cpu", positions=512).build()
        assert isinstance(engine, GemmaChat)
        assert "layers in int4" in engine.describe()
        await engine.warm_up()
        request = Request(call_block="A call.", history=(), words="Hello?", max_tokens=24)
        reply = "".join([piece async for piece in engine.reply(request)])
        await engine.close()
        return reply

    assert asyncio.run(asyncio.wait_for(work(), 60)) == settings().reply


def test_the_memory_plan_counts_4_bits() -> None:
    """As the architecture has: 16 GB of weights in place of 54; and the note says what they do not show."""
    config = architectures.gemma_3_27b()
    weights = architectures.needed_bytes(config, torch.bfloat16, 0, int4=True)
    full = settings(layer_weights="full").gpu_memory(80_000)
    plan = settings().gpu_memory(80_000)
    assert plan is not None
    assert full is not None
    positions = plan.mib * 2**20 - weights
    assert positions == pytest.approx(full.mib * 2**20 - 54.0e9, rel=0.05)
    assert weights == pytest.approx(16.4e9, rel=0.01)
    note = GemmaSettings.note_on_random_weights({"layer_weights": "int4"})
    assert "int4" in note
    assert "whose kernels are others" in note


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
@pytest.mark.parametrize("rows", [1, 40])
def test_the_gpus_packed_product_is_that_of_the_restored_matrix(rows: int) -> None:
    """Its layout is another: two columns a byte, the even one in the upper half."""
    generator = torch.Generator("cuda").manual_seed(rows)
    matrix = (torch.randn(64, 256, generator=generator, device="cuda") / 16).bfloat16()
    x = torch.randn(rows, 256, generator=generator, device="cuda").bfloat16()
    expected = x.float() @ int4.restore(*int4.round_groups(matrix, 128)).T
    product = int4.multiply(x, int4.quantise(matrix, 128))
    torch.testing.assert_close(product.float(), expected, atol=2e-2, rtol=2e-2)
