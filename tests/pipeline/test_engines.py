"""Loading a profile's engines: all of them, described; and one clear line when one cannot be had."""

from __future__ import annotations

import asyncio
import subprocess
import sys

import pytest

from pipeline import engines, profile
from pipeline.errors import EngineError
from pipeline.profile.tts import HibariSettings
from pipeline.profile.vllm import VllmSettings
from pipeline.stt.scripted import ScriptedSpeechToText


def test_the_scripted_profile_loads_and_says_what_it_runs() -> None:
    """Four engines, one line on each."""

    async def models() -> dict[str, str]:
        loaded = await engines.load(profile.load("scripted"))
        await loaded.close()
        return loaded.models

    assert {stage: text.split(",")[0] for stage, text in asyncio.run(models()).items()} == {
        "vad": "energy",
        "stt": "scripted",
        "llm": "scripted",
        "tts": "scripted",
    }


def test_an_engine_that_is_not_installed_names_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    """The message has the stage, the engine and the command that installs it."""
    monkeypatch.setitem(sys.modules, "hibari", None)
    monkeypatch.delitem(sys.modules, "pipeline.tts.hibari", raising=False)
    mixed = profile.load("scripted").model_copy(update={"tts": HibariSettings(engine="hibari")})
    with pytest.raises(EngineError, match=r"tts: engine hibari .* pip install 'turngap\[cpu\]'"):
        asyncio.run(engines.load(mixed))


def test_the_remedy_names_the_engines_own_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM's client is in the extra `gpu`."""
    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.delitem(sys.modules, "pipeline.llm.vllm.engine", raising=False)
    monkeypatch.delitem(sys.modules, "pipeline.llm.vllm.client", raising=False)
    mixed = profile.load("scripted").model_copy(update={"llm": VllmSettings(engine="vllm", system_prompt="")})
    with pytest.raises(EngineError, match=r"llm: engine vllm is not installed .* pip install 'turngap\[gpu\]'"):
        asyncio.run(engines.load(mixed))


def test_an_engine_that_does_not_start_is_named_and_the_others_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stage, engine, cause and remedy in one line; what was loaded before it is freed."""
    closed: list[str] = []

    class Loaded(ScriptedSpeechToText):
        async def close(self) -> None:
            closed.append("stt")

    def broken(settings: object) -> None:
        raise ValueError("not a\nmodel")

    monkeypatch.setitem(engines._MAKERS, "stt", Loaded)
    monkeypatch.setitem(engines._MAKERS, "llm", broken)
    with pytest.raises(
        EngineError, match=r"^llm: engine scripted does not start \(ValueError: not a model\); .*verify$"
    ):
        asyncio.run(engines.load(profile.load("scripted")))
    assert closed == ["stt"]


def test_the_scripted_profile_needs_no_extra() -> None:
    """Loading it imports none of the packages that only the `cpu` extra brings."""
    code = (
        "import asyncio, sys; from pipeline import engines, profile;"
        "asyncio.run(engines.load(profile.load('scripted')));"
        "extra = {'ctranslate2', 'faster_whisper', 'hibari', 'onnxruntime', 'tokenizers'} & {*sys.modules};"
        "sys.exit(', '.join(extra) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("policy", "loaded"), [("silence", False), ("smart_turn", True), ("speculative", True)])
def test_the_turn_model_is_loaded_where_the_policy_asks_it(policy: str, loaded: bool) -> None:
    """`silence` needs none."""

    async def models() -> dict[str, str]:
        found = await engines.load(
            profile.load("scripted", (f"endpointing.policy={policy}", "endpointing.min_silence_ms=200"))
        )
        await found.close()
        return found.models

    assert ("turn" in asyncio.run(models())) is loaded


def test_cores_that_do_not_exist_name_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile made for another machine is refused in one line."""
    monkeypatch.setitem(engines._MAKERS, "tts", ScriptedSpeechToText)
    other = HibariSettings(engine="hibari", cores=(4095,))
    mixed = profile.load("scripted").model_copy(update={"tts": other})
    with pytest.raises(EngineError, match=r"^tts: cores 4095: not among"):
        asyncio.run(engines.load(mixed))
