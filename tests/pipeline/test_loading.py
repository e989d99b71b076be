"""Loading a profile's engines: all of them, described; and one clear line when one cannot be had."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest
from turngap_agent import loading, profile, worker
from turngap_agent.errors import EngineError, ProfileError
from turngap_agent.gpu.choice import choose
from turngap_agent.gpu.sharing import Sharing
from turngap_agent.llm.onnx.settings import OnnxSettings
from turngap_agent.llm.scripted import ScriptedLanguageModel, ScriptedLlmSettings
from turngap_agent.llm.vllm.settings import VllmSettings
from turngap_agent.stt.scripted import ScriptedSpeechToText, ScriptedSttSettings
from turngap_agent.tts.hibari.settings import HibariSettings

from tests.pipeline.gpu.fake_nvml import GIB, nvml


def test_the_scripted_profile_loads_and_describes_its_engines() -> None:
    """Four engines, one line on each."""

    async def models() -> dict[str, str]:
        loaded = await loading.load(profile.load("scripted"))
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
    monkeypatch.delitem(sys.modules, "turngap_agent.tts.hibari.engine", raising=False)
    mixed = profile.load("scripted").model_copy(update={"tts": HibariSettings(engine="hibari")})
    with pytest.raises(EngineError, match=r"tts: engine hibari .* pip install 'turngap\[cpu\]'"):
        asyncio.run(loading.load(mixed))


def test_the_remedy_names_the_engines_own_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """vLLM's client is in the extra `gpu`."""
    monkeypatch.setitem(sys.modules, "httpx", None)
    monkeypatch.delitem(sys.modules, "turngap_agent.llm.vllm.engine", raising=False)
    monkeypatch.delitem(sys.modules, "turngap_agent.llm.vllm.client", raising=False)
    mixed = profile.load("scripted").model_copy(update={"llm": VllmSettings(engine="vllm", system_prompt="")})
    with pytest.raises(EngineError, match=r"llm: engine vllm is not installed .* pip install 'turngap\[gpu\]'"):
        asyncio.run(loading.load(mixed))


def test_an_engine_that_does_not_start_is_named_and_the_others_are_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """Stage, engine, cause and remedy in one line; what was loaded before it is freed."""
    closed: list[str] = []

    class Loaded(ScriptedSpeechToText):
        async def close(self) -> None:
            closed.append("stt")

    def broken(settings: object) -> None:
        raise ValueError("not a\nmodel")

    monkeypatch.setattr(ScriptedSttSettings, "build", lambda settings: Loaded(settings))
    monkeypatch.setattr(ScriptedLlmSettings, "build", broken)
    with pytest.raises(
        EngineError, match=r"^llm: engine scripted does not start \(ValueError: not a model\); .*verify$"
    ):
        asyncio.run(loading.load(profile.load("scripted")))
    assert closed == ["stt"]


@pytest.mark.parametrize("while_loading", [False, True])
def test_an_engine_that_can_not_be_closed_leaves_no_other_open(
    monkeypatch: pytest.MonkeyPatch, while_loading: bool
) -> None:
    """All are closed, the GPU's sharing last; the first fault is raised, that of the loading before any of closing."""
    card = Card(monkeypatch)

    async def stuck() -> None:
        raise EngineError("stt: stuck")

    async def refused() -> None:
        raise EngineError("llm: refused")

    async def ended(sharing: Sharing) -> None:
        card.closed.append("gpu")

    monkeypatch.setattr(Sharing, "close", ended)
    card.changes["stt"] = {"close": stuck}
    if while_loading:
        card.changes["vad"] = {"warm_up": refused}
        with pytest.raises(EngineError, match="llm: refused"):
            asyncio.run(loading.load(profile.load("weightless-hf")))
        assert card.closed == ["llm", "tts", "vad", "gpu"]
        return
    loaded = asyncio.run(loading.load(profile.load("weightless-hf")))
    with pytest.raises(EngineError, match="stt: stuck"):
        asyncio.run(loaded.close())
    assert card.closed == ["vad", "turn", "llm", "tts", "gpu"]


def test_the_scripted_profile_needs_no_extra() -> None:
    """Loading it imports none of the packages that only the `cpu` extra brings."""
    code = (
        "import asyncio, sys; from turngap_agent import loading, profile;"
        "asyncio.run(loading.load(profile.load('scripted')));"
        "extra = {'ctranslate2', 'faster_whisper', 'hibari', 'onnx', 'onnxruntime', 'tokenizers'} & {*sys.modules};"
        "sys.exit(', '.join(extra) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(("policy", "loaded"), [("silence", False), ("smart_turn", True), ("speculative", True)])
def test_the_turn_model_is_loaded_where_the_policy_asks_it(policy: str, loaded: bool) -> None:
    """`silence` needs none."""

    async def models() -> dict[str, str]:
        engines = await loading.load(
            profile.load("scripted", (f"endpointing.policy={policy}", "endpointing.min_silence_ms=200"))
        )
        await engines.close()
        return engines.models

    assert ("turn" in asyncio.run(models())) is loaded


def test_cores_that_do_not_exist_name_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    """A profile made for another machine is refused in one line."""
    other = HibariSettings(engine="hibari", cores=(4095,))
    mixed = profile.load("scripted").model_copy(update={"tts": other})
    with pytest.raises(EngineError, match=r"^tts: cores 4095: not among"):
        asyncio.run(loading.load(mixed))


SIZES_GIB = {"vad": 0.0, "turn": 0.0, "stt": 1.7, "llm": 55.3, "tts": 3.8, "cuda": 0.5}


class Card:
    """A faked GPU that engines of set sizes are loaded on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, used_gib: float = 0.5) -> None:
        self.used_gib, self.loaded, self.closed = used_gib, list[str](), list[str]()
        self.changes: dict[str, dict[str, Any]] = {}
        monkeypatch.setattr(loading, "_build", lambda settings: self.engine(settings.stage))
        monkeypatch.setattr(loading, "_open_context", lambda settings: self.load("cuda"))
        monkeypatch.setattr(loading.Sharing, "open", self.open)

    def engine(self, stage: str) -> Any:
        async def warm_up() -> None:
            self.load(stage)

        async def close() -> None:
            self.closed.append(stage)

        methods = {"warm_up": warm_up, "close": close, "describe": lambda: stage}
        return SimpleNamespace(**methods | self.changes.get(stage, {}))

    def load(self, stage: str) -> None:
        self.loaded.append(stage)
        self.used_gib += SIZES_GIB[stage]

    async def open(self, loading: profile.Profile) -> Sharing:
        def memory(handle: str, version: int | None = None) -> SimpleNamespace:
            return SimpleNamespace(total=141 * GIB, used=round(self.used_gib * GIB))

        return Sharing(choose(environment={}, nvml=nvml(nvmlDeviceGetMemoryInfo=memory)), loading, None, {})


def test_engines_hold_what_the_device_counts_more_and_the_largest_loads_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """CUDA's context belongs to no engine; with what was there before, the parts are the device's figure."""
    card = Card(monkeypatch)
    loaded = asyncio.run(loading.load(profile.load("weightless-hf")))
    assert card.loaded == ["cuda", "llm", "tts", "stt", "vad", "turn"]
    assert loaded.memory_mib == {stage: pytest.approx(size * 1024, abs=0.01) for stage, size in SIZES_GIB.items()}
    assert 512 + sum(loaded.memory_mib.values()) == pytest.approx(card.used_gib * 1024, rel=0.03)
    asyncio.run(loaded.close())
    assert sorted(card.closed) == ["llm", "stt", "tts", "turn", "vad"]


def test_a_plan_that_can_not_fit_is_refused_before_anything_loads(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even CUDA's context."""
    card = Card(monkeypatch, used_gib=100.0)
    with pytest.raises(ProfileError, match=r"of GPU memory, .* are free on NVIDIA A100"):
        asyncio.run(loading.load(profile.load("weightless-hf")))
    assert card.loaded == []


@pytest.mark.parametrize(("calls", "conversations", "kept"), [(3, None, 3), (3, 1, 1)])
def test_every_call_keeps_its_context_unless_fewer_are_configured(
    monkeypatch: pytest.MonkeyPatch, calls: int, conversations: int | None, kept: int
) -> None:
    """The embedded language model has room for as many conversations as the profile takes calls."""
    given: list[int | None] = []

    class Model(ScriptedLanguageModel):
        def __init__(self, settings: Any) -> None:
            given.append(settings.conversations)
            super().__init__(ScriptedLlmSettings(engine="scripted"))

    monkeypatch.setattr(OnnxSettings, "build", lambda settings: Model(settings))
    cpu = profile.load("cpu", (f"limits.simultaneous_calls={calls}", f"llm.conversations={conversations or 'null'}"))
    mixed = profile.load("scripted").model_copy(update={"llm": cpu.llm, "limits": cpu.limits})

    async def load() -> None:
        await (await loading.load(mixed)).close()

    asyncio.run(load())
    assert given == [kept]


def test_more_threads_than_cores_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """They would wait for each other, and every turn for them."""
    monkeypatch.setattr(worker, "usable_cores", lambda: 2)
    cpu = profile.load("cpu", ("llm.threads=3",))
    mixed = profile.load("scripted").model_copy(update={"llm": cpu.llm})
    with pytest.raises(EngineError, match=r"^llm: threads: 3 are more than the 2 cores .* lower it in the profile$"):
        asyncio.run(loading.load(mixed))
