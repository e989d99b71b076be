"""A machine that lacks a GPU or an engine is refused in one line, before anything is fetched or loaded."""

from __future__ import annotations

import ctypes
import importlib.util
import shutil
from typing import Any

import pytest
from turngap_agent import fitness, profile, weights
from turngap_agent.__main__ import main
from turngap_agent.errors import EngineError


def without_driver(library: str) -> None:
    raise OSError(f"{library}: cannot open shared object file")


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda library: None)


def install(monkeypatch: pytest.MonkeyPatch, *missing: str) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name in missing else object())
    monkeypatch.setattr(shutil, "which", lambda name: None if name in missing else name)


@pytest.mark.parametrize("name", ["a100", "h200", "weightless", "weightless-hf"])
def test_a_machine_without_a_gpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is missing, where to look, and which profile does without."""
    monkeypatch.setattr(ctypes, "CDLL", without_driver)
    with pytest.raises(EngineError) as caught:
        fitness.check(profile.load(name))
    message = str(caught.value)
    assert message.startswith(f"profile '{name}' works on an NVIDIA GPU, and this machine has none")
    assert message.endswith("or take the profile cpu")


@pytest.mark.parametrize("name", ["cpu", "scripted", "weightless-tiny"])
def test_a_profile_that_needs_no_gpu(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody asks for one."""
    monkeypatch.setattr(ctypes, "CDLL", without_driver)
    install(monkeypatch)
    fitness.check(profile.load(name))


def test_all_is_there(driver: None, monkeypatch: pytest.MonkeyPatch) -> None:
    """Then nothing is reported."""
    install(monkeypatch)
    fitness.check(profile.load("a100"))


@pytest.mark.parametrize(
    ("missing", "message"),
    [
        ("faster_whisper", r"^stt: engine faster_whisper is not installed \(no faster_whisper\); .*'turngap\[gpu\]'$"),
        ("transformers", r"^tts: engine csm is not installed \(no transformers\); run: pip install 'turngap\[gpu\]'$"),
        ("vllm", r"^llm: vllm is not installed; run: pip install 'turngap\[gpu\]', or name .* or a running server"),
    ],
)
def test_an_engine_that_is_not_installed(
    driver: None, monkeypatch: pytest.MonkeyPatch, missing: str, message: str
) -> None:
    """The section, the engine, and the extra that brings all of them."""
    install(monkeypatch, missing)
    with pytest.raises(EngineError, match=message):
        fitness.check(profile.load("a100"))


def test_a_model_on_a_server_needs_no_gpu_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Beside it the engines of a CPU are installed by their own extra."""
    install(monkeypatch, "faster_whisper")
    with pytest.raises(EngineError, match=r"pip install 'turngap\[cpu\]'$"):
        fitness.check(
            profile.load("cpu", ("llm={engine: vllm, url: 'http://10.0.0.5:8000/v1', system_prompt: Be brief}",))
        )


def test_the_remedy_is_the_smallest_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile for a laptop is not sent for vLLM."""
    install(monkeypatch, "hibari")
    with pytest.raises(EngineError, match=r"^tts: engine hibari .*'turngap\[cpu\]'$"):
        fitness.check(profile.load("cpu"))


def test_nothing_is_fetched_for_a_machine_that_can_not_run_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`weights pull --here` is what a run does first; without `--here` a cache may be filled for another machine."""
    pulled: list[Any] = []
    monkeypatch.setattr(ctypes, "CDLL", without_driver)
    monkeypatch.setattr(weights, "pull", lambda name: pulled.append(name) or [name])
    assert main(["weights", "pull", "--here", "a100"]) == EngineError.exit_code
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("turngap: error: profile 'a100' works on an NVIDIA GPU")
    assert pulled == []
    assert main(["weights", "pull", "a100"]) == 0
    assert pulled == ["silero-vad", "smart-turn-v3", "whisper-distil-large-v3", "gemma-3-27b-it-w4a16", "csm-1b"]
