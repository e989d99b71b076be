"""The static decoder and the features on the device: transformers' ids and features, whatever was decoded before."""

from __future__ import annotations

import asyncio
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent.device import random_weights
from turngap_agent.device.execution import Execution, Mode
from turngap_agent.device.operation_counts import Operations
from turngap_agent.stt.whisper import decoder, model
from turngap_agent.stt.whisper.decoder import StaticDecoder
from turngap_agent.stt.whisper.engine import Whisper
from turngap_agent.stt.whisper.mel import LogMel
from turngap_agent.stt.whisper.settings import WhisperSettings

EAGER = Execution(torch.device("cpu"), Mode.EAGER)


def noise(seconds: float, seed: int = 1) -> Any:
    return np.asarray(np.random.default_rng(seed).normal(0, 0.1, round(16_000 * seconds)), np.float32)


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch) -> Whisper:
    """A tiny Whisper whose ids differ from token to token."""
    load = model.load

    def load_lively(*arguments: Any) -> Any:
        checkpoint = load(*arguments)
        random_weights.fill(checkpoint.network, seed=3, scale=0.4)
        return checkpoint

    monkeypatch.setattr(model, "load", load_lively)
    options = {"engine": "whisper", "weights": "tiny", "device": "cpu", "window_s": 10, "decoder": "static"}
    engine = WhisperSettings.model_validate(options).build()
    assert isinstance(engine, Whisper)
    return engine


def encode(engine: Whisper, audio: Any) -> Any:
    return engine._checkpoint.network.model.encoder(engine._log_mel.compute(audio))


@pytest.mark.parametrize("read_every", [1, 8])
@pytest.mark.parametrize("count", [1, 7, 60])
def test_ids_are_those_of_transformers(engine: Whisper, count: int, read_every: int) -> None:
    """Utterance after utterance with one cache, to the decoder's last position, however often the ids are read."""
    assert engine._decoder is not None
    engine._decoder._read_every = read_every
    distinct: set[int] = set()
    with EAGER.activate():
        for seed in range(4):
            states = encode(engine, noise(3 + seed, seed))
            for reads_end in (False, True):
                expected = engine._decode_in_transformers(states, count, reads_end=reads_end)
                actual = engine._decoder.decode(states.last_hidden_state, count, reads_end=reads_end)
                assert actual == expected
                distinct |= set(actual)
    assert len(distinct) > min(count - 1, 5)


def test_the_end_token_ends_the_ids(engine: Whisper, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not among them, nor what was decoded past it."""
    static = engine._decoder
    assert static is not None
    with EAGER.activate():
        states = encode(engine, noise(2)).last_hidden_state
        ids = static.decode(states, 20, reads_end=False)
        end = ids[11]
        monkeypatch.setattr(static, "_end", end)
        for read_every in (1, 8):
            monkeypatch.setattr(static, "_read_every", read_every)
            assert static.decode(states, 20, reads_end=True) == ids[: ids.index(end)]


def test_a_token_reads_nothing_back(engine: Whisper) -> None:
    """So that it can be captured."""
    assert engine._decoder is not None
    with EAGER.activate(), Operations() as operations:
        engine._decoder._prompt_unit()
        engine._decoder._step_unit()
    assert operations.count > 50
    assert operations.host_reads == 0


def test_the_engine_has_the_words_work(engine: Whisper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Through the interface: one unit for the prompt, and one for each token after its first."""
    assert engine._decoder is not None
    runs: list[int] = []
    step = engine._decoder._step_unit
    monkeypatch.setattr(engine._decoder, "_step_unit", lambda: (runs.append(1), step())[1])
    transcript = asyncio.run(engine.transcribe_as(noise(1)[::2], "one two three"))
    assert (transcript.text, transcript.scripted, len(runs)) == ("one two three", True, 4)
    assert "static decoder" in engine.describe()
    asyncio.run(engine.close())


@pytest.mark.parametrize("seconds", [0.01, 3.2, 10, 11])
def test_features_are_those_of_transformers(engine: Whisper, seconds: float) -> None:
    """Shorter and longer than the window: padded with silence, and cut off."""
    audio = noise(seconds)
    extractor = engine._checkpoint.extractor
    expected = extractor(audio, sampling_rate=16_000, return_tensors="pt").input_features
    actual = LogMel(extractor, torch.device("cpu")).compute(audio)
    assert actual.shape == expected.shape == (1, 16, 1000)
    torch.testing.assert_close(actual, expected, atol=1e-5, rtol=0)


def test_a_decoder_of_another_kind_is_refused(engine: Whisper) -> None:
    """With the setting that works."""
    engine._checkpoint.network.config.activation_function = "relu"
    with pytest.raises(Exception, match=r"set stt\.decoder: transformers"):
        engine._make_decoder()
    with pytest.raises(ValueError, match="GELU"):
        StaticDecoder(engine._checkpoint.network, (1,), EAGER)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs an NVIDIA GPU")
def test_graphs_have_the_eager_ids() -> None:
    """On a GPU: a captured token has the ids of the same token launched kernel by kernel."""
    device = torch.device("cuda")
    checkpoint = model.load("tiny", device, torch.float32, 10)
    random_weights.fill(checkpoint.network, seed=3, scale=0.4)
    ids = []
    for mode in (Mode.EAGER, Mode.GRAPHS):
        execution = Execution(device, mode)
        with execution.activate():
            states = checkpoint.network.model.encoder(LogMel(checkpoint.extractor, device).compute(noise(3)))
            static = decoder.StaticDecoder(checkpoint.network, checkpoint.prompt, execution)
            ids.append(static.decode(states.last_hidden_state, 40, reads_end=False))
    assert ids[0] == ids[1]
