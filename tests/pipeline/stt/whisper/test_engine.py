"""Whisper through transformers: fixed work with random weights, a checkpoint's own words, errors of one line."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent.errors import EngineError
from turngap_agent.stt.whisper import model
from turngap_agent.stt.whisper.engine import Whisper, cache_argument
from turngap_agent.stt.whisper.settings import WhisperSettings


def settings(**changes: object) -> WhisperSettings:
    tiny = {"engine": "whisper", "weights": "tiny", "device": "cpu", "window_s": 10}
    return WhisperSettings.model_validate(tiny | changes)


def noise(seconds: float) -> Any:
    return np.asarray(np.random.default_rng(1).normal(0, 0.1, round(8000 * seconds)), np.float32)


def test_random_weights_return_the_script_after_the_work_it_takes() -> None:
    """The decoder runs once for each token of the script, and twice more; the encoder once a window."""
    engine = settings(script="one two three").build()
    assert isinstance(engine, Whisper)
    runs = {"encoder": 0, "decoder": 0}
    network = engine._checkpoint.network
    for part in runs:
        getattr(network.model, part).register_forward_hook(lambda *_, part=part: runs.__setitem__(part, runs[part] + 1))
    transcript = asyncio.run(engine.transcribe(noise(2)))
    assert (transcript.text, transcript.scripted) == ("one two three", True)
    assert runs == {"encoder": 1, "decoder": 5}
    asyncio.run(engine.transcribe(noise(12)))
    assert runs == {"encoder": 3, "decoder": 15}
    asyncio.run(engine.close())


def test_the_words_of_a_turn_determine_the_work() -> None:
    """As many tokens as they have and two more, if the decoder has room; the profile's script is not used."""
    engine = settings(script="one two three").build()
    runs: list[int] = []
    engine._checkpoint.network.model.decoder.register_forward_hook(lambda *_: runs.append(1))
    assert asyncio.run(engine.transcribe_as(noise(2), "four five")).text == "four five"
    assert len(runs) == 4
    runs.clear()
    asyncio.run(engine.transcribe_as(noise(2), "word " * 500))
    assert len(runs) == engine._checkpoint.network.config.max_target_positions - 4
    asyncio.run(engine.close())


def test_no_audio_has_no_words() -> None:
    """Nothing is decoded."""
    engine = settings().build()
    assert asyncio.run(engine.transcribe(noise(0))).text == ""


def test_a_folder_is_read_as_transformers_reads_it(tmp_path: Path) -> None:
    """A saved checkpoint takes the same path as any: its own tokens, as transformers reads them."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from transformers import WhisperForConditionalGeneration

    saved = model.load("tiny", torch.device("cpu"), torch.float32, 30)
    saved.network.save_pretrained(tmp_path)
    vocabulary = {f"w{n}": n for n in range(128)}
    Tokenizer(WordLevel(vocabulary, unk_token="w0")).save(str(tmp_path / "tokenizer.json"))
    loaded = model.load(str(tmp_path), torch.device("cpu"), torch.float32, 10)
    whole = WhisperForConditionalGeneration.from_pretrained(tmp_path)
    assert len(loaded.network.model.encoder.embed_positions.weight) == 500
    torch.testing.assert_close(
        loaded.network.model.encoder.embed_positions.weight, whole.model.encoder.embed_positions.weight[:500]
    )
    assert loaded.tokenizer.decode([5]) == "w5"


def test_a_folder_without_a_whisper_is_one_line(tmp_path: Path) -> None:
    """An empty folder, and another model's."""
    with pytest.raises(EngineError, match=r"no config\.json.*stt\.weights"):
        settings(weights=str(tmp_path)).build()
    (tmp_path / "config.json").write_text('{"model_type": "mimi"}')
    with pytest.raises(EngineError, match=r"mimi.*stt\.weights"):
        settings(weights=str(tmp_path)).build()


def test_the_random_one_is_distil_large_v3() -> None:
    """756 million parameters."""
    from transformers import WhisperForConditionalGeneration

    with torch.device("meta"):
        network = WhisperForConditionalGeneration(model.distil_large_v3())
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(756e6, rel=0.01)


def test_a_missing_gpu_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the reason, and what to check."""
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(EngineError, match=r"whisper: stt\.device is cuda, but torch sees no NVIDIA GPU"):
        settings(device="cuda").build()


def test_a_pinned_checkpoint_is_loaded_by_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An entry of `weights.toml` means the folder that it was fetched into."""
    requested: list[str] = []
    monkeypatch.setattr(model.pinned, "get", lambda name: (requested.append(name), tmp_path)[1])
    with pytest.raises(EngineError, match=rf"{tmp_path} .*no config\.json"):
        settings(weights="distil-whisper-large-v3").build()
    assert requested == ["distil-whisper-large-v3"]


def test_a_pickle_is_not_loaded(tmp_path: Path) -> None:
    """A checkpoint in the old form could run code: only safetensors are read."""
    saved = model.load("tiny", torch.device("cpu"), torch.float32, 30)
    saved.network.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save(saved.network.state_dict(), tmp_path / "pytorch_model.bin")
    with pytest.raises(EngineError, match="whisper"):
        model.load(str(tmp_path), torch.device("cpu"), torch.float32, 10)


def test_the_cache_has_the_name_that_this_transformers_has() -> None:
    """Releases that deprecate `past_key_values` call it `cache`; with warnings as errors the older name would fail."""

    class Older:
        def forward(self, decoder_input_ids: object, past_key_values: object = None) -> None: ...

    class Newer:
        def forward(self, decoder_input_ids: object, cache: object = None, past_key_values: object = None) -> None: ...

    assert cache_argument(Older()) == "past_key_values"
    assert cache_argument(Newer()) == "cache"
