"""The base classes of engine settings: what a profile configures of an engine, and what the agent asks of it."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal, Protocol, Self, get_args

from pydantic import Field

from turngap_agent.documents import FrozenModel
from turngap_agent.engines.gpu_memory import GpuMemory
from turngap_agent.errors import EngineError
from turngap_agent.tracing import Stage

EngineKind = Literal["vad", "turn", "stt", "llm", "tts"]
"""Where an engine works: `vad`, `stt`, `llm` and `tts` are sections of a profile, `turn` is `endpointing.model`."""
StreamPriority = Literal["high", "normal"]
"""Of an engine's work on the GPU beside that of the agent's other engines: high goes first where both wait."""
WholeSeconds = Annotated[float | None, Field(gt=2)]


class Placement(StrEnum):
    """Where an engine does its work."""

    CPU = "cpu"
    GPU = "gpu"
    """On a GPU, in the agent's own process."""
    OWN_PROCESS = "own_process"
    """In a process that the agent starts, on the GPU if there is one."""
    REMOTE = "remote"
    """In a server that somebody else runs."""


class LoadedEngine(Protocol):
    """What every engine does. The stage's own Protocol, in `endpointing`, `stt`, `llm` or `tts`, has the rest."""

    def describe(self) -> str:
        """One line for the ready message and the report: name, model, and the settings that decide its speed."""
        ...

    async def warm_up(self) -> None:
        """Do the first work, so that no caller waits for what is only slow once."""
        ...

    async def close(self) -> None:
        """Free threads and memory."""
        ...


class CoreSettings(FrozenModel):
    """For engines that work on threads of their own."""

    cores: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(None, min_length=1)
    """The cores its threads may run on, as Linux counts them; null: all that the process may use."""


class EngineSettings(FrozenModel):
    """Base of every engine's settings. Subclass the class of the stage instead."""

    stage: ClassVar[EngineKind]
    install: ClassVar[str] = "turngap"
    """What `pip install` needs to install this engine's packages."""
    packages: ClassVar[tuple[str, ...]] = ()
    """Import names of what the engine cannot run without."""
    on_torch: ClassVar[bool] = False
    """Whether it runs on torch, whose CUDA context is then opened, and counted, before any engine."""
    lower_gpu_memory: ClassVar[str] = ""
    """The setting that lowers `gpu_memory`, as an instruction: "lower tts.slots". Shown where a plan does not fit."""
    governing: ClassVar[Mapping[Stage, str]] = {}
    """By stage, the field that decides how long the stage takes; for others it is `model`, or else `engine`."""
    random_weights_note: ClassVar[str] = ""
    """Where random weights of this engine show less than others: ends "Weightless: timing and memory only, …"."""

    engine: str
    """The engine's name in a profile. A subclass narrows it: `engine: Literal["mine"]`."""
    own_process: bool = False
    """Work in a process of its own, which may be killed, and is started again, while the agent serves."""

    @classmethod
    def note_on_random_weights(cls, data: Mapping[str, Any]) -> str:
        """Return `random_weights_note`, or what settings given as `data` say instead; "" for none."""
        return cls.random_weights_note

    def build(self) -> LoadedEngine:
        """Load the engine with these settings. Blocks; runs on a worker thread. Import the engine's packages here.

        Raises:
            EngineError: it cannot run here as these settings say.
            WeightsError: its model is missing and cannot be fetched.
        """
        raise NotImplementedError

    def pinned_weights(self) -> str | None:
        """The entry of `weights.toml` that it needs, None for none; a name that is not pinned counts as none."""
        return None

    def placement(self) -> Placement:
        """Where it works. By default, what a setting `device` says."""
        return Placement.GPU if str(getattr(self, "device", "cpu")).startswith("cuda") else Placement.CPU

    def gpu_memory(self, total_mib: float) -> GpuMemory | None:
        """What it will hold of a GPU of `total_mib`; None for nothing, or nothing that counts."""
        return None

    def gpu_problem(self, total_mib: float, card: str) -> str | None:
        """Why it cannot work on that GPU and what to do about it, as one line; None where nothing speaks against it."""
        return None

    def machine_problem(self) -> str | None:
        """What this machine lacks beside `packages`, and what to do about it, as one line; None if nothing."""
        return None

    def for_calls(self, simultaneous: int) -> Self:
        """These settings, completed for so many simultaneous calls."""
        return self

    def with_environment(self, environment: Mapping[str, str]) -> Self:
        """These settings with `environment` for the process that the engine starts."""
        return self

    def require_packages(self, install: str | None = None) -> None:
        """Check that `packages` are installed, without importing them; the message names `install` as the remedy.

        Raises:
            EngineError: one is not installed.
        """
        for package in self.packages:
            if not _is_installed(package):
                raise EngineError(
                    f"{self.stage}: engine {self.engine} is not installed (no {package}); "
                    f"run: pip install '{install or self.install}'"
                )


class VadSettings(EngineSettings):
    """Base of voice activity detectors; `build` returns a `turngap_agent.endpointing.VoiceActivityEngine`."""

    stage = "vad"


class TurnSettings(EngineSettings):
    """Base of turn models; `build` returns a `turngap_agent.endpointing.TurnModel`."""

    stage = "turn"
    reads_words: ClassVar[bool] = False
    """Whether it takes the words of a pause too: what `build` returns is then a `JudgesPauses`."""


class SttSettings(EngineSettings):
    """Base of speech-to-text; `build` returns a `turngap_agent.stt.SpeechToText`."""

    stage = "stt"

    whole_s: WholeSeconds = None
    """Of a longer turn, what was transcribed at a pause is kept, and only the rest is transcribed at the end; null:
    every turn is transcribed whole."""


class LlmSettings(EngineSettings):
    """Base of language models; `build` returns a `turngap_agent.llm.LanguageModel`."""

    stage = "llm"
    keeps_prompts: ClassVar[bool] = False
    """Whether it keeps what it computed for a prompt (a prefix cache), so that a later prompt may cost less."""

    max_tokens: int = Field(24, ge=1)
    """The longest reply."""
    early_phrase: bool = True
    """The first clause may end before "to", "what" and the like too, so that speech begins some tokens sooner."""
    apology: str = ""
    """Spoken in place of `announcements.apology` where a reply fails; "": that one is."""


class TtsSettings(EngineSettings):
    """Base of synthesisers; `build` returns a `turngap_agent.tts.Synthesizer`."""

    stage = "tts"
    says_words: ClassVar[bool] = True
    """Its sound is speech; False for tones, in which a recogniser finds no words."""


def _is_installed(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # of "a.b": `a` is missing
        return False


def engine_name(settings: type[EngineSettings]) -> str | None:
    """The name of the class's engine: the one value of `engine: Literal["…"]`; None without one."""
    names = get_args(settings.model_fields["engine"].annotation)
    return names[0] if len(names) == 1 else None
