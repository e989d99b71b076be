"""Loads the engines a profile names, and warms them up: after `load` nothing is paid for inside a call.

Engines are imported when they are asked for, so that a profile needs only its own engines installed.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from turngap_agent import worker
from turngap_agent.device.installed import require
from turngap_agent.endpointing import TurnModel, VoiceActivityEngine
from turngap_agent.errors import EngineError, TurngapError
from turngap_agent.gpu.sharing import Sharing, in_process
from turngap_agent.llm import KvCache, LanguageModel, ReservesKvCache
from turngap_agent.memory import plan
from turngap_agent.memory.device import Device
from turngap_agent.profile import Llm, Profile, Stt, Tts, Turn, Vad
from turngap_agent.stt import SpeechToText
from turngap_agent.tts import Synthesizer


@dataclass(frozen=True, slots=True)
class Engines:
    """The loaded, warm engines of one profile, shared by all calls."""

    vad: VoiceActivityEngine
    stt: SpeechToText
    llm: LanguageModel
    tts: Synthesizer
    models: dict[str, str]
    """One line on each, by section of the profile: "faster_whisper whisper-tiny.en int8, short window, 1 thread"."""
    memory_mib: dict[str, float] = field(default_factory=dict)
    """By section, how much more of the GPU was in use after it had loaded and warmed up; `cuda` is what the agent's
    process takes before any engine. Empty without a GPU."""
    turn: TurnModel | None = None
    """None where the endpointing policy does not ask."""
    gpu: Sharing | None = None
    """The GPU they share; None where they need none."""

    def kv_cache(self) -> KvCache | None:
        """What the language model reserves for keys and values, and used of it; None where it does not tell."""
        return self.llm.kv_cache() if isinstance(self.llm, ReservesKvCache) else None

    async def close(self) -> None:
        """Free all of them, also where one cannot be; the first fault is raised once all had their turn."""
        await _close_all((self.vad, self.turn, self.stt, self.llm, self.tts, self.gpu))


async def load(profile: Profile) -> Engines:
    """Load and warm up every engine of `profile`, off the event loop.

    Raises:
        ProfileError: the GPU cannot hold what the profile plans.
        EngineError: one is not installed, does not load or fails its first work; those already loaded are closed.
        WeightsError: a model is not there and cannot be fetched.
    """
    loaded: dict[str, Any] = {}
    held: dict[str, float] = {}
    gpu = await Sharing.open(profile)
    device = Device(gpu.choice) if gpu is not None else None
    try:
        before = device.memory() if device is not None else None
        if before is not None:
            plan.check(profile, before.total_mib, before.free_mib, before.card)
        # One after the other: two threads that import large packages at once wait for each other's import locks.
        for stage, settings in _wanted(profile, before.total_mib if before is not None else 0.0).items():
            if stage == CONTEXT:
                await asyncio.to_thread(_open_context, settings)
            else:
                settings = gpu.llm_settings(settings) if gpu is not None else settings
                loaded[stage] = await _explained(stage, settings.engine, asyncio.to_thread(_made, stage, settings))
                await _explained(stage, settings.engine, loaded[stage].warm_up())
            after = device.memory() if device is not None else None
            if before is not None and after is not None:
                held[stage], before = after.used_mib - before.used_mib, after
        if gpu is not None:
            await gpu.check()
    except BaseException:
        with contextlib.suppress(Exception):  # what stopped the loading is the fault to tell
            await _close_all((*loaded.values(), gpu))
        raise
    models = {stage: engine.describe() for stage, engine in loaded.items()}
    return Engines(**loaded, models=models, memory_mib=held, gpu=gpu)


async def _close_all(engines: Iterable[Any]) -> None:
    first: BaseException | None = None
    for engine in engines:
        try:
            if engine is not None:
                await engine.close()
        except BaseException as fault:  # noqa: BLE001 - raised below: a cancelled close must not leave MPS running
            first = first or fault
    if first is not None:
        raise first


def _wanted(profile: Profile, total_mib: float) -> dict[str, Any]:
    """The settings of the engines the profile needs, in the order of loading; `cuda` first where torch uses the GPU.

    Of those on the GPU the largest reservation comes first, while the card is whole: vLLM takes its share at once.
    """
    ending = profile.endpointing
    turn = {} if ending.policy == "silence" or ending.model is None else {"turn": ending.model}
    wanted = {"vad": profile.vad, **turn, "stt": profile.stt, "llm": _llm_settings(profile), "tts": profile.tts}
    on_torch = {section: one for section, one in in_process(profile).items() if one.engine in _ON_TORCH}
    planned = {part.section: part.mib for part in plan.parts(profile, total_mib)}
    order = sorted(wanted, key=lambda stage: -planned.get(stage, 0.0))
    return ({CONTEXT: on_torch} if on_torch else {}) | {stage: wanted[stage] for stage in order}


def _llm_settings(profile: Profile) -> Llm:
    settings = profile.llm
    if settings.engine == "onnx" and settings.conversations is None:
        return settings.model_copy(update={"conversations": profile.limits.simultaneous_calls})
    return settings


def _open_context(on_torch: dict[str, Any]) -> None:
    section, settings = next(iter(on_torch.items()))
    require(settings.engine, "torch")
    from turngap_agent.device import place

    place.open_context(settings.device, settings.engine, section)


def _made(stage: str, settings: Any) -> _Engine:
    threads, most = getattr(settings, "threads", 1), worker.usable_cores()
    if threads > most:
        raise EngineError(
            f"{stage}: threads: {threads} are more than the {most} cores that the process may use, and would wait for "
            "each other; lower it in the profile"
        )
    # Libraries start threads of their own as they load, and those inherit the cores of the thread that loads.
    with worker.on_cores(getattr(settings, "cores", None), stage):
        return _MAKERS[stage](settings)


class _Engine(Protocol):
    def describe(self) -> str: ...

    async def warm_up(self) -> None: ...


async def _explained(stage: str, engine: str, work: Awaitable[Any]) -> Any:
    try:
        return await work
    except TurngapError:
        raise
    except ImportError as fault:
        raise EngineError(
            f"{stage}: engine {engine} is not installed ({_line(fault)}); "
            f"run: pip install 'turngap[{_EXTRAS.get(engine, 'cpu')}]'"
        ) from fault
    except Exception as fault:
        raise EngineError(
            f"{stage}: engine {engine} does not start ({type(fault).__name__}: {_line(fault)}); check its settings in "
            "the profile, and its model with: python -m turngap_agent weights verify"
        ) from fault


def _line(fault: Exception) -> str:
    return " ".join(str(fault).split())


def _vad(settings: Vad) -> _Engine:
    if settings.engine == "energy":
        from turngap_agent.endpointing.energy import EnergyEngine

        return EnergyEngine(settings)
    from turngap_agent.endpointing.silero import SileroEngine

    return SileroEngine(settings)


def _turn(settings: Turn) -> _Engine:
    if settings.engine == "scripted":
        from turngap_agent.endpointing.scripted import ScriptedTurnModel

        return ScriptedTurnModel(settings)
    from turngap_agent.endpointing.smart_turn_onnx import SmartTurn

    return SmartTurn(settings)


def _stt(settings: Stt) -> _Engine:
    if settings.engine == "scripted":
        from turngap_agent.stt.scripted import ScriptedSpeechToText

        return ScriptedSpeechToText(settings)
    if settings.engine == "whisper":
        from turngap_agent.stt import whisper

        return whisper.load(settings)
    from turngap_agent.stt.faster_whisper import FasterWhisper

    return FasterWhisper(settings)


def _llm(settings: Llm) -> _Engine:
    if settings.engine == "scripted":
        from turngap_agent.llm.scripted import ScriptedLanguageModel

        return ScriptedLanguageModel(settings)
    if settings.engine == "gemma":
        from turngap_agent.llm import gemma

        return gemma.load(settings)
    if settings.engine == "vllm":
        from turngap_agent.llm.vllm.engine import VllmChat

        return VllmChat(settings)
    from turngap_agent.llm.onnx.engine import OnnxChat

    return OnnxChat(settings)


def _tts(settings: Tts) -> _Engine:
    if settings.engine == "scripted":
        from turngap_agent.tts.scripted import ScriptedSynthesizer

        return ScriptedSynthesizer(settings)
    if settings.engine == "csm":
        from turngap_agent.tts import csm

        return csm.load(settings)
    from turngap_agent.tts.hibari import Hibari

    return Hibari(settings)


CONTEXT = "cuda"
"""Not an engine: what CUDA takes for the agent's process as such."""
_ON_TORCH = ("whisper", "gemma", "csm")
_EXTRAS = {"vllm": "gpu"}
"""Which extra installs an engine; all others are in `cpu` or say so themselves."""
_MAKERS: dict[str, Callable[[Any], _Engine]] = {
    "vad": _vad,
    "turn": _turn,
    "stt": _stt,
    "llm": _llm,
    "tts": _tts,
}
