"""The profiles `a100`, `h200` and `cluster`: whole production settings as data, from pinned models."""

from __future__ import annotations

from typing import Any

import pytest
from turngap_agent import profile
from turngap_agent.errors import EngineError
from turngap_agent.llm.vllm import engine as vllm
from turngap_agent.llm.vllm.settings import VllmSettings
from turngap_agent.tts.csm.settings import CsmSettings
from turngap_agent.weights import pins

PRICED = [name for name in profile.names() if profile.load(name).price is not None]
PRODUCTION = sorted({"a100", "h200", *PRICED})
pytestmark = pytest.mark.parametrize("name", PRODUCTION)


def unwrap(settings: Any) -> tuple[Any, int]:
    """The engine itself, and how many replicas there are of it."""
    return (settings.of, settings.replication.number) if settings.engine == "replicas" else (settings, 1)


def test_every_model_is_pinned(name: str) -> None:
    """Everything such a profile uses is pinned."""
    assert [pin.name for pin in pins.of_profile(name)] == [
        "silero-vad",
        "smart-turn-v3",
        "whisper-distil-large-v3",
        "gemma-3-27b-it-w4a16",
        "csm-1b",
    ]


def test_the_settings_that_decide_time_and_memory_are_written_out(name: str) -> None:
    """Number formats, shares, context, and calls are the profile's own, not a default that may change."""
    loaded = profile.load(name)
    written: dict[str, Any] = loaded.model_dump(exclude_unset=True)
    written = {name: value.get("of", value) if isinstance(value, dict) else value for name, value in written.items()}
    assert {"device", "compute_type", "window"} <= set(written["stt"])
    assert {"dtype", "gpu_memory_share", "max_context", "max_sequences", "max_tokens"} <= set(written["llm"])
    assert {"device", "dtype", "mode", "slots", "context_positions"} <= set(written["tts"])
    assert "preset" in written["network"]
    assert loaded.limits.gated_calls == loaded.limits.simultaneous_calls
    assert loaded.price is not None
    assert "assumption" in loaded.price.source


def test_no_pause_of_400_ms_is_taken_for_the_end(name: str) -> None:
    """What has a price is for callers, who pause inside a turn; work begins before the end is certain, and sooner than
    where two cores have to pay for what is thrown away."""
    ending, small = profile.load(name).endpointing, profile.load("cpu").endpointing
    assert min(ending.min_silence_ms, ending.max_silence_ms) >= 416
    assert ending.model is not None, "a GPU machine has cores to spare for the turn model"
    assert ending.provisional_ms <= small.provisional_ms
    alike = ("policy", "min_silence_ms", "speculate", "drop_db", "noise_ms", "threshold", "doubt", "min_speech_ms")
    assert {key: getattr(ending, key) for key in alike} == {key: getattr(small, key) for key in alike}


def test_a_call_has_a_slot_to_be_spoken_to(name: str) -> None:
    """The synthesiser and the language model take on as many as the agent does."""
    loaded = profile.load(name)
    (tts, speakers), (llm, models) = unwrap(loaded.tts), unwrap(loaded.llm)
    assert isinstance(tts, CsmSettings)
    assert isinstance(llm, VllmSettings)
    assert tts.slots * speakers >= loaded.limits.simultaneous_calls
    assert llm.max_sequences * models >= loaded.limits.simultaneous_calls


def test_vllm_serves_the_verified_folder(name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    """The pinned entry is fetched and verified by us, and vLLM is given its folder; the report has the entry's name."""
    monkeypatch.setattr(vllm.shutil, "which", lambda command: command)
    monkeypatch.setattr(vllm.weights, "get", lambda entry: tmp_path)
    settings, _ = unwrap(profile.load(name).llm)
    assert isinstance(settings, VllmSettings)
    chat = vllm.VllmChat(settings)
    assert chat.server is not None
    assert str(tmp_path) in chat.server._command
    assert "--revision" not in chat.server._command
    assert chat.describe().startswith("vllm gemma-3-27b-it-w4a16, supervised")


def test_missing_vllm_is_reported_before_its_model_is_fetched(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nineteen gigabytes are not fetched for nothing."""
    monkeypatch.setattr(vllm.shutil, "which", lambda command: None)
    monkeypatch.setattr(vllm.weights, "get", lambda entry: pytest.fail("not needed here"))
    settings, _ = unwrap(profile.load(name).llm)
    assert isinstance(settings, VllmSettings)
    with pytest.raises(EngineError, match=r"vllm is not installed; run `pip install 'turngap\[gpu\]'`"):
        vllm.VllmChat(settings)
