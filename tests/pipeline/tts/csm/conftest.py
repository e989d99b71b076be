"""A tiny CSM for the tests: the whole architecture, 0.3 million parameters, on the CPU in fp32."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from turngap_agent.tts.csm.model import CsmCheckpoint
    from turngap_agent.tts.csm.speech import Speech

MakeSpeech = Callable[..., "Speech"]


@pytest.fixture(autouse=True)
def _one_torch_thread() -> Iterator[None]:
    try:
        import torch
    except ImportError:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def checkpoint() -> CsmCheckpoint:
    """Random weights large enough that codes differ from frame to frame; treated as real ones."""
    import torch
    from turngap_agent.device.stand_in_tokenizer import StandInTokenizer
    from turngap_agent.tts.csm import model, random_weights

    with model.silence_transformers():
        network = random_weights.build(random_weights.tiny(), torch.device("cpu"), torch.float32, scale=0.3)
    model.trim_heads(network)
    return model.CsmCheckpoint(network, StandInTokenizer(256), "tiny", random=False)


@pytest.fixture
def make_speech(checkpoint: CsmCheckpoint) -> MakeSpeech:
    """Return a function that makes a Speech over the tiny checkpoint, greedy by default."""
    from turngap_agent.device.execution import Mode
    from turngap_agent.tts.csm.fast_paths import REFERENCE, FastPaths
    from turngap_agent.tts.csm.sampling import Sampling
    from turngap_agent.tts.csm.speech import Speech

    def make(
        *,
        temperature: float = 0.0,
        slots: int = 1,
        mode: Mode = Mode.EAGER,
        positions: int = 512,
        fast: FastPaths = REFERENCE,
    ) -> Speech:
        speech = Speech(checkpoint, sampling=Sampling(temperature, 20), positions=positions, fast=fast)
        speech.prepare(mode, slots)
        return speech

    return make
