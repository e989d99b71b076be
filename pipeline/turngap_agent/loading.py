"""Loads and warms up the engines of a profile, so that no call waits for what is only slow once."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from turngap_agent import building, clock, memory
from turngap_agent.endpointing import TurnModel, VoiceActivityEngine
from turngap_agent.engines import EngineKind, EngineSettings, LoadedEngine, Placement
from turngap_agent.errors import EngineError, TurngapError
from turngap_agent.gpu import memory_plan
from turngap_agent.gpu.sharing import Sharing
from turngap_agent.gpu.usage import Memory, read_memory
from turngap_agent.llm import KvCache, LanguageModel, ReservesKvCache
from turngap_agent.profile import Profile
from turngap_agent.stt import SpeechToText
from turngap_agent.tts import Synthesizer

Wrap = Callable[[EngineKind, LoadedEngine], LoadedEngine]
"""Returns an engine of that stage with something around it."""
CONTEXT = "cuda"
"""Not an engine: what CUDA takes for the agent's process as such."""


CLOSE_S = 5.0
"""An engine that does not close within this time is left: its thread is stuck."""
_log = logging.getLogger("turngap.engines")


@dataclass(slots=True)
class Engines:
    """The loaded, warm engines of one profile, shared by all calls. One that is stuck is replaced by a fresh one."""

    vad: VoiceActivityEngine
    stt: SpeechToText
    llm: LanguageModel
    tts: Synthesizer
    models: dict[str, str]
    """One line for each, by stage: "faster_whisper whisper-tiny.en int8, short window, 1 thread"."""
    memory_mib: dict[str, float] = field(default_factory=dict)
    """By stage, how much more of the GPU was in use after it had loaded and warmed up; `cuda` is what the agent's
    process takes before any engine. Empty without a GPU."""
    turn: TurnModel | None = None
    """None where the endpointing policy uses none."""
    gpu: Sharing | None = None
    """The GPU that they share; None if they use none."""
    settings: dict[EngineKind, EngineSettings] = field(default_factory=dict)
    """By stage, what an engine was built from, and a fresh one can be."""
    host_mib: dict[str, float] = field(default_factory=dict)
    """By stage, how much more of the host's memory the process held after it had loaded and warmed up."""
    load_s: dict[str, float] = field(default_factory=dict)
    """By stage, how long it took to load and warm up."""
    wrap: Wrap | None = None
    """What is put around each engine, a fresh one too."""

    def kv_cache(self) -> KvCache | None:
        """What the language model reserves for keys and values, and used of it; None where it does not report it."""
        return self.llm.kv_cache() if isinstance(self.llm, ReservesKvCache) else None

    async def close(self) -> None:
        """Close all of them, even if one raises or hangs; the first error is raised after all have been closed."""
        await close_all((self.vad, self.turn, self.stt, self.llm, self.tts, self.gpu))


async def load(profile: Profile, wrap: Wrap | None = None) -> Engines:
    """Load and warm up every engine of `profile`, off the event loop; `wrap` puts something around each.

    Raises:
        ProfileError: the GPU cannot hold what the profile plans.
        EngineError: one is not installed, does not load or fails its first work; those already loaded are closed.
        WeightsError: a model is missing and cannot be fetched.
    """
    loaded: dict[str, Any] = {}
    resolved: dict[EngineKind, EngineSettings] = {}
    host: dict[str, float] = {}
    load_s: dict[str, float] = {}
    held: dict[str, float] = {}
    gpu = await Sharing.open(profile)
    try:
        before = read_memory(gpu.choice) if gpu is not None else None
        if before is not None:
            memory_plan.check(profile, before.total_mib, before.free_mib, before.card)
        # One after the other: two threads that import large packages at once wait for each other's import locks.
        in_order = _order_for_loading(profile, before.total_mib if before is not None else 0.0)
        on_torch = [one for one in in_order.values() if one.on_torch and one.placement() is Placement.GPU]
        if on_torch:
            await _explain_failure(on_torch[0], asyncio.to_thread(_open_context, on_torch[0]))
            before = _note_held(held, CONTEXT, gpu, before)
        for stage, chosen in in_order.items():
            settings = chosen.for_calls(profile.limits.simultaneous_calls)
            settings = gpu.with_environment(settings) if gpu is not None else settings
            resolved[stage], rss, started_ns = settings, memory.resident_mib(), clock.now_ns()
            engine = await _explain_failure(settings, asyncio.to_thread(_build, settings))
            loaded[stage] = wrap(stage, engine) if wrap is not None else engine
            await _explain_failure(settings, loaded[stage].warm_up())
            host[stage] = memory.resident_mib() - rss
            load_s[stage] = (clock.now_ns() - started_ns) / 1e9
            before = _note_held(held, stage, gpu, before)
        if gpu is not None:
            await gpu.check()
    except BaseException:
        with contextlib.suppress(Exception):  # the error that stopped the loading is the one to report
            await close_all((*loaded.values(), gpu))
        raise
    models = {stage: engine.describe() for stage, engine in loaded.items()}
    engines = Engines(**loaded, models=models, memory_mib=held, gpu=gpu, settings=resolved, wrap=wrap)
    engines.host_mib, engines.load_s = host, load_s
    return engines


async def load_one(settings: EngineSettings) -> Any:
    """Load one engine, off the event loop; `warm_up_one` makes it warm.

    Raises:
        EngineError: it is not installed, or does not load.
        WeightsError: its model is missing and cannot be fetched.
    """
    return await _explain_failure(settings, asyncio.to_thread(_build, settings))


async def warm_up_one(settings: EngineSettings, engine: LoadedEngine) -> None:
    """Warm up an engine that `load_one` returned; close it if that fails.

    Raises:
        EngineError: it failed its first work.
    """
    try:
        await _explain_failure(settings, engine.warm_up())
    except BaseException:
        await engine.close()
        raise


def _note_held(held: dict[str, float], section: str, gpu: Sharing | None, before: Memory | None) -> Memory | None:
    """Enter into `held` how much more of the GPU is in use than `before`; return what is in use now."""
    after = read_memory(gpu.choice) if gpu is not None else None
    if before is not None and after is not None:
        held[section] = after.used_mib - before.used_mib
        return after
    return before


async def close_all(engines: Iterable[Any]) -> None:
    """Close them, and leave those that do not close in time."""
    first: BaseException | None = None
    for engine in engines:
        try:
            if engine is not None:
                closing = asyncio.ensure_future(engine.close())
                await asyncio.wait({closing}, timeout=CLOSE_S)
                if closing.done():
                    closing.result()
                else:
                    _log.error("%s does not close within %g s, and is left", type(engine).__name__, CLOSE_S)
        except BaseException as error:  # noqa: BLE001 - raised below: a cancelled close must not leave MPS running
            first = first or error
    if first is not None:
        raise first


def _order_for_loading(profile: Profile, total_mib: float) -> dict[EngineKind, EngineSettings]:
    """The largest reservation on the GPU first, while the card is whole: vLLM takes its share at once."""
    planned = {part.section: part.mib for part in memory_plan.parts(profile, total_mib)}
    return dict(sorted(profile.engines().items(), key=lambda item: -planned.get(item[0], 0.0)))


def _open_context(settings: EngineSettings) -> None:
    settings.require_packages()
    from turngap_agent.device import execution

    execution.open_cuda_context(getattr(settings, "device", "cuda"), settings.engine, settings.stage)


def own_process(settings: EngineSettings) -> LoadedEngine:
    """Return the engine in a process of its own; blocks until that is warm.

    Raises:
        EngineError: it cannot be moved, or does not load there.
    """
    if settings.stage == "vad" or settings.placement() in (Placement.REMOTE, Placement.OWN_PROCESS):
        why = "hears every frame" if settings.stage == "vad" else "is a process already"
        raise EngineError(f"{settings.stage}: own_process: {settings.engine} {why}; leave own_process out")
    from turngap_agent.own_process.engine import ProcessEngine  # few profiles need it

    return ProcessEngine(settings)


def _build(settings: EngineSettings) -> LoadedEngine:
    return own_process(settings) if settings.own_process else building.build_here(settings)


async def _explain_failure(settings: EngineSettings, work: Awaitable[Any]) -> Any:
    """Await the engine's `work`; what it raises becomes one line with stage, engine and remedy."""
    try:
        return await work
    except TurngapError:
        raise
    except ImportError as error:
        raise EngineError(
            f"{settings.stage}: engine {settings.engine} is not installed ({_line(error)}); "
            f"run: pip install '{settings.install}'"
        ) from error
    except Exception as error:
        raise EngineError(
            f"{settings.stage}: engine {settings.engine} does not start ({type(error).__name__}: {_line(error)}); "
            "check its settings in the profile, and its model with: python -m turngap_agent weights verify"
        ) from error


def _line(error: Exception) -> str:
    return " ".join(str(error).split())
