"""Faster ways to compute a frame have the reference's codes and samples, or differ as little as they may."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent.device.execution import Execution, Mode
from turngap_agent.errors import EngineError
from turngap_agent.tts.csm import int8
from turngap_agent.tts.csm.context import SpeechPlan
from turngap_agent.tts.csm.fast_paths import REFERENCE, FastPaths
from turngap_agent.tts.csm.sampling import Sampling
from turngap_agent.tts.csm.settings import CsmSettings
from turngap_agent.tts.csm.slot import SharedParts, Slot
from turngap_agent.tts.csm.speech import Speech

if TYPE_CHECKING:
    from conftest import MakeSpeech
    from turngap_agent.tts.csm.model import CsmCheckpoint

CPU = torch.device("cpu")


def test_the_kernels_are_the_reference_in_tritons_interpreter() -> None:
    """`test_kernels.py`, in a process of its own: Triton decides as it is imported whether kernels are interpreted."""
    pytest.importorskip("triton", reason="torch installs it on Linux")
    module = Path(__file__).with_name("test_kernels.py")
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "no:xdist", "-rs", str(module)]
    environment = {**os.environ, "TRITON_INTERPRET": "1", "OMP_NUM_THREADS": "1"}
    result = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout
    assert "skipped" not in result.stdout


def test_fused_kernels_on_a_cpu_are_refused(checkpoint: CsmCheckpoint) -> None:
    """Without the interpreter, whose times mean nothing, in one line."""
    with pytest.raises(EngineError, match=r"fused_kernels need an NVIDIA GPU, not cpu; set tts\.fused_kernels: \[\]"):
        Speech(checkpoint, sampling=Sampling(0.9, 20), fast=FastPaths(fused=frozenset({"sampling"})))


def test_all_options_are_off_unless_they_are_chosen() -> None:
    """None has been measured on a GPU."""
    assert CsmSettings(engine="csm").fast_paths == REFERENCE
    chosen = CsmSettings(engine="csm", fused_kernels=["sampling"], codec_beside=True, depth_weights="int8")
    assert chosen.fast_paths == FastPaths(frozenset({"sampling"}), codec_beside=True, int8_depth=True)


def test_int8_matrices_round_to_the_nearest_of_255_values() -> None:
    """No weight is off by more than half a step of its row; a row of zeros stays zeros."""
    matrix = torch.randn(40, 64, generator=torch.Generator().manual_seed(1)) * torch.logspace(-3, 2, 40).unsqueeze(1)
    matrix[7] = 0
    quantised = int8.quantise(matrix)
    restored = quantised.values.float() * quantised.scale.unsqueeze(1)
    assert bool(((restored - matrix).abs() <= 0.501 * quantised.scale.unsqueeze(1)).all())
    assert torch.equal(restored[7], matrix[7])
    assert int8.count_bytes(quantised) == 40 * 64 + 40 * 4


def test_an_int8_scale_is_exact_and_the_product_rounded_once() -> None:
    """In bf16 too: the product is that of the restored matrix in fp32, rounded to bf16 at the end."""
    generator = torch.Generator().manual_seed(3)
    quantised = int8.quantise(torch.randn(24, 96, generator=generator).bfloat16())
    x = torch.randn(1, 96, generator=generator).bfloat16()
    assert quantised.scale.dtype is torch.float32
    exact = (x.double() @ (quantised.values.double() * quantised.scale.double().unsqueeze(1)).T).bfloat16()
    torch.testing.assert_close(int8.multiply(x, quantised), exact, atol=1e-5, rtol=2**-8)


def test_int8_copies_are_part_of_the_memory_plan() -> None:
    """As many as CSM-1B's depth decoder has: of four layers, each projection once, and a scale a row."""
    from transformers import CsmDepthDecoderConfig
    from turngap_agent.tts.csm.settings import DEPTH_INT8_MIB

    config = CsmDepthDecoderConfig()
    hidden, wide, dim = config.hidden_size, config.intermediate_size, config.head_dim
    qkv = (config.num_attention_heads + 2 * config.num_key_value_heads) * dim
    rows = ((qkv, hidden), (hidden, config.num_attention_heads * dim), (2 * wide, hidden), (hidden, wide))
    needed = config.num_hidden_layers * sum(out * (columns + 4) for out, columns in rows)
    assert needed / 2**20 == pytest.approx(DEPTH_INT8_MIB, abs=1)
    full, small = (
        CsmSettings(engine="csm", weights="random", depth_weights=kind).gpu_memory(80_000) for kind in ("full", "int8")
    )
    assert full is not None
    assert small is not None
    assert small.mib - full.mib == DEPTH_INT8_MIB


@pytest.mark.parametrize("fused", [frozenset(), frozenset({"attention"}), frozenset({"int8"})])
def test_the_int8_kernel_is_a_choice_of_its_own(
    checkpoint: CsmCheckpoint, monkeypatch: pytest.MonkeyPatch, fused: frozenset[Any]
) -> None:
    """Not tied to the attention's."""
    from turngap_agent.tts.csm import speech as speech_module

    monkeypatch.setattr(speech_module, "_require_kernels", lambda *_: None)
    fast = FastPaths(fused=fused, int8_depth=True)
    stack = Speech(checkpoint, sampling=Sampling(0.9, 20), positions=64, fast=fast).depth.stack
    assert {layer.qkv.fused for layer in stack.layers} == {"int8" in fused}
    assert stack.fused_attention == ("attention" in fused)


def test_an_int8_depth_decoder_reads_a_quarter_and_keeps_its_logits(checkpoint: CsmCheckpoint) -> None:
    """Of fp32, that is (half of bf16); from the same hidden state and codes its logits correlate almost wholly."""
    logits, speeches = [], []
    for fast in (REFERENCE, FastPaths(int8_depth=True)):
        speech = Speech(checkpoint, sampling=Sampling(0.0, 20), positions=64, fast=fast)
        depth, stack = speech.depth, speech.depth.stack
        with speech.execution.activate():
            rows = depth.table[torch.arange(3) * 5 + 3]
            hidden = stack.forward(rows, stack.cache(), torch.arange(3), depth.codebooks)
            logits.append(torch.nn.functional.linear(hidden, depth.heads[0]))
        speeches.append(speech)
    full, small = (speech.depth.stack.bytes_read() for speech in speeches)
    assert small < 0.3 * full
    correlation = torch.corrcoef(torch.stack([one.flatten() for one in logits]))[0, 1]
    assert correlation > 0.999


class LateExecution(Execution):
    """A device whose fork works as late as it is allowed to: only when it is joined, or when the host waits for it."""

    def __init__(self) -> None:
        super().__init__(CPU, Mode.EAGER)
        self.queued: list[Callable[[], None]] = []
        self._forking = False

    def prepare_unit(self, run: Callable[[], None], *, forked: bool = False) -> Callable[[], None]:
        def queue() -> None:
            assert self._forking
            self.queued.append(run)

        return queue if forked else run

    def fork(self, work: Callable[[], None]) -> Callable[[], None]:
        with self._in_fork():
            work()
        return self._waits_until(len(self.queued))

    def copy_to_host(self, source: torch.Tensor, host: torch.Tensor) -> Callable[[], None]:
        assert self._forking
        self.queued.append(lambda: host.copy_(source))
        return self._waits_until(len(self.queued))

    def _waits_until(self, count: int) -> Callable[[], None]:
        def wait() -> None:
            for number in range(count):
                run, self.queued[number] = self.queued[number], lambda: None
                run()

        return wait

    @contextmanager
    def _in_fork(self) -> Iterator[None]:
        self._forking = True
        yield
        self._forking = False


def make_late_slot(speech: Speech, lookahead: int) -> Slot:
    execution = LateExecution()
    with execution.activate():
        parts = SharedParts.build(speech.backbone, speech.depth, speech.codec, execution, speech.positions, 0)
        slot = Slot(parts)
    slot._lookahead = lookahead
    slot._host = [torch.zeros_like(slot._host[0]) for _ in range(lookahead + 1)]
    slot._waits = slot._waits[:1] * (lookahead + 1)
    return slot


def read_clauses(slot: Slot, execution: Execution) -> list[Any]:
    """Two clauses, the first of which is left unfinished."""
    frames = []
    with execution.activate():
        for seed, (length, read) in enumerate(((9, 4), (7, 7))):
            slot.start(SpeechPlan((), tuple(range(20, 32 + seed)), length), seed=seed)
            frames += [slot.next_frame() for _ in range(read)]
    return frames


@pytest.mark.parametrize("lookahead", [0, 1])
def test_a_codec_beside_the_next_frame_has_the_samples_of_one_after_the_other(
    make_speech: MakeSpeech, lookahead: int
) -> None:
    """Also if it works as late as the waits allow, and if a clause is left unfinished."""
    speech = make_speech(temperature=0.9)
    expected = read_clauses(speech.slots[0], speech.execution)
    slot = make_late_slot(speech, lookahead)
    actual = read_clauses(slot, slot._parts.execution)
    assert all(np.array_equal(one, other) for one, other in zip(expected, actual, strict=True))


def test_the_waits_are_needed(make_speech: MakeSpeech, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the wait for the codec, the frame that it reads is overwritten: the test above would notice."""
    speech = make_speech(temperature=0.9)
    expected = read_clauses(speech.slots[0], speech.execution)
    slot = make_late_slot(speech, lookahead=1)
    execution = slot._parts.execution
    fork = execution.fork
    monkeypatch.setattr(execution, "fork", lambda work: (fork(work), lambda: None)[1])
    actual = read_clauses(slot, execution)
    assert not all(np.array_equal(one, other) for one, other in zip(expected, actual, strict=True))
