"""The kernels in Triton's interpreter: the codes and numbers of torch's operations. Run by `test_fast_paths.py`."""

from __future__ import annotations

import multiprocessing
import os
from typing import TYPE_CHECKING, NamedTuple

import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")
if os.environ.get("TRITON_INTERPRET") != "1":
    pytest.skip("test_fast_paths.py runs it, with TRITON_INTERPRET=1", allow_module_level=True)

from turngap_agent.device.attention import attend, rotate
from turngap_agent.device.execution import Mode
from turngap_agent.errors import EngineError
from turngap_agent.tts.csm import depth_kernel, int8, kernels
from turngap_agent.tts.csm.context import SpeechPlan
from turngap_agent.tts.csm.depth import DepthDecoder
from turngap_agent.tts.csm.depth_kernel import DepthKernel
from turngap_agent.tts.csm.fast_paths import REFERENCE, FastPaths
from turngap_agent.tts.csm.sampling import Sampling, sample
from turngap_agent.tts.csm.speech import Speech

if TYPE_CHECKING:
    from turngap_agent.tts.csm.model import CsmCheckpoint


def run_codes(speech: Speech, frames: int) -> list[list[int]]:
    with speech.execution.activate():
        speech.slots[0].start(SpeechPlan((), tuple(range(20, 32)), frames), seed=1)
        codes = []
        while speech.slots[0].next_frame() is not None:
            codes.append(speech.slots[0].last_codes().tolist())
    return codes


@pytest.mark.parametrize(("codes", "top_k"), [(64, 20), (67, 1), (100, 50), (128, 64)])
def test_the_sampling_kernel_draws_the_reference_codes(codes: int, top_k: int) -> None:
    """For logits of either sign, sizes that are no power of two, and every k."""
    generator = torch.Generator().manual_seed(codes)
    for scale in (0.5, 5.0):
        logits = torch.randn(1, codes, generator=generator) * scale
        noise = torch.rand(1, 64, generator=generator)
        expected = sample(logits, noise, Sampling(0.9, top_k))
        assert torch.equal(sample(logits, noise, Sampling(0.9, top_k, fused=True)), expected)


@pytest.mark.parametrize(("heads", "kv_heads", "places"), [(8, 2, 33), (4, 4, 150)])
def test_the_attention_kernel_is_the_reference(heads: int, kv_heads: int, places: int) -> None:
    """At the first place and the last, in blocks and between; it writes the same keys and values."""
    generator, dim = torch.Generator().manual_seed(heads), 16
    cache = [torch.randn(kv_heads, places, dim, generator=generator) for _ in range(2)]
    for at in (0, 1, 32, places - 1):
        qkv = torch.randn(1, (heads + 2 * kv_heads) * dim, generator=generator)
        cos, sin = torch.randn(2, 1, dim, generator=generator).unbind(0)
        position = torch.tensor([at])
        keys, values = (tensor.clone() for tensor in cache)
        own = [tensor.clone() for tensor in cache]
        rotary, value = qkv.view(1, -1, dim).split((heads + kv_heads, kv_heads), dim=1)
        query, key = rotate(rotary, cos.unsqueeze(1), sin.unsqueeze(1)).split((heads, kv_heads), dim=1)
        keys.index_copy_(1, position, key.transpose(0, 1))
        values.index_copy_(1, position, value.transpose(0, 1))
        hidden = (torch.arange(places) > position.unsqueeze(1)).repeat(heads // kv_heads, 1)
        expected = attend(query, keys, values, hidden, dim**-0.5)
        actual = kernels.attend_row(qkv, cos, sin, *own, position, heads)
        torch.testing.assert_close(actual, expected, atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(own, [keys, values], atol=1e-6, rtol=1e-6)


def test_a_whole_frame_with_fused_kernels_has_the_reference_codes(checkpoint: CsmCheckpoint) -> None:
    """Backbone and depth decoder, sampled, frame after frame."""
    codes = []
    for fast in (REFERENCE, FastPaths(fused=frozenset({"sampling", "attention"}))):
        speech = Speech(checkpoint, sampling=Sampling(0.9, 8), positions=64, fast=fast)
        speech.prepare(Mode.EAGER, 1)
        codes.append(run_codes(speech, frames=3))
    assert codes[0] == codes[1]
    assert len({tuple(frame) for frame in codes[0]}) == 3


def test_the_int8_kernel_is_the_reference() -> None:
    """For sizes that are no multiple of its blocks; several rows take torch's product."""
    generator = torch.Generator().manual_seed(2)
    quantised = int8.quantise(torch.randn(21, 530, generator=generator), fused=True)
    x = torch.randn(1, 530, generator=generator)
    expected = int8.multiply(x, quantised._replace(fused=False))
    torch.testing.assert_close(int8.multiply(x, quantised), expected, atol=1e-4, rtol=1e-5)
    assert int8.multiply(x.repeat(3, 1), quantised).shape == (3, 21)


class FrameInputs(NamedTuple):
    """What a frame of the depth decoder gets."""

    hidden: torch.Tensor
    code: torch.Tensor
    noise: torch.Tensor


def frame_inputs(depth: DepthDecoder, seed: int) -> FrameInputs:
    generator = torch.Generator().manual_seed(seed)
    width = depth.projection.shape[1]
    noise = torch.rand(depth.codebooks, 64, generator=generator)
    return FrameInputs(torch.randn(1, width, generator=generator), torch.tensor([seed]), noise)


def make_depth(checkpoint: CsmCheckpoint, sampling: Sampling) -> tuple[DepthDecoder, DepthKernel]:
    """Return the reference and the kernel over the same weights; with blocks that take the interpreter less time."""
    return DepthDecoder(checkpoint.network, sampling), DepthKernel(DepthDecoder(checkpoint.network, sampling), rows=16)


@pytest.mark.parametrize(("sampling", "seeds"), [(Sampling(0.9, 8), (3, 7)), (Sampling(0.0, 8), (3,))])
def test_the_depth_kernel_has_the_reference_codes(
    checkpoint: CsmCheckpoint, sampling: Sampling, seeds: tuple[int, ...]
) -> None:
    """Frame after frame, drawn and likeliest; it uses what the frame before it has left in memory for nothing."""
    depth, kernel = make_depth(checkpoint, sampling)
    with torch.inference_mode():
        for seed in seeds:
            inputs = frame_inputs(depth, seed)
            expected = depth.decode_frame(*inputs, lambda function, _: function)
            assert torch.equal(kernel.decode_frame(*inputs), expected)


def test_the_depth_kernel_is_an_option_of_the_engine(
    checkpoint: CsmCheckpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The slots' frames are then the kernel's."""
    asked: list[torch.Size] = []

    def decode_frame(
        kernel: DepthKernel, hidden: torch.Tensor, code: torch.Tensor, noise: torch.Tensor
    ) -> torch.Tensor:
        asked.append(hidden.shape)
        return kernel.codes.fill_(5)

    monkeypatch.setattr(DepthKernel, "decode_frame", decode_frame)
    speech = Speech(checkpoint, sampling=Sampling(0.9, 8), positions=64, fast=FastPaths(fused=frozenset({"depth"})))
    speech.prepare(Mode.EAGER, 1)
    assert run_codes(speech, frames=2) == [[5] * 4] * 2
    assert asked == [(1, 64)] * 2


def share_memory(kernel: DepthKernel) -> None:
    for tensor in (*kernel.buffers, kernel.counter, kernel.codes):
        tensor.share_memory_()
    for pair in kernel._depth.cache:
        for tensor in pair:
            tensor.share_memory_()
    kernel._caches = torch.tensor([[part.data_ptr() for part in pair] for pair in kernel._depth.cache])


@pytest.mark.parametrize("waiting", [True, False])
def test_programs_that_wait_for_each_other_have_the_reference_codes(
    checkpoint: CsmCheckpoint, monkeypatch: pytest.MonkeyPatch, waiting: bool
) -> None:
    """Two programs at once, each a process, on memory that both see; without their waits the codes are others."""
    depth, kernel = make_depth(checkpoint, Sampling(0.9, 8))
    inputs = frame_inputs(depth, 5)
    with torch.inference_mode():
        expected = depth.decode_frame(*inputs, lambda function, _: function).tolist()
    kernel.programs = 2
    share_memory(kernel)
    for buffer in kernel.buffers:
        buffer.fill_(1.0)
    if not waiting:
        monkeypatch.setattr(depth_kernel, "_wait_for_all", lambda counter, passed, programs: passed)
    workers = [
        multiprocessing.get_context("fork").Process(target=kernel.run_programs, args=(*inputs, number, 1))
        for number in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert (kernel.codes.tolist() == expected) == waiting


def test_the_depth_kernel_takes_full_weights_only(checkpoint: CsmCheckpoint) -> None:
    """In one line."""
    fast = FastPaths(fused=frozenset({"depth"}), int8_depth=True)
    with pytest.raises(EngineError, match=r"the kernel depth reads full weights; set tts\.depth_weights: full"):
        Speech(checkpoint, sampling=Sampling(0.9, 8), positions=64, fast=fast)
