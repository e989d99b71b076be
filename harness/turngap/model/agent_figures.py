"""The agent as a run saw it: its process and the GPU it uses. Parts of `run.json`."""

from __future__ import annotations

from pydantic import ConfigDict, Field
from turngap_agent.documents import FrozenModel


class KvCacheFigures(FrozenModel):
    """Memory for keys and values, as the language model's server counts it."""

    reserved_mib: float
    used_peak_mib: float
    """The most that requests were seen to hold of it at once."""


class AgentGpu(FrozenModel):
    """The GPU that the agent says it uses, and how its processes share it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    uuid: str
    """Of the card, or of the MIG slice."""
    name: str = ""
    mps: bool = False
    """Its processes share the GPU by CUDA's Multi-Process Service; without it they take turns."""
    agent_active_thread_pct: int | None = None
    """Of the GPU's threads that the agent's own process may use under MPS; null: all."""
    llm_active_thread_pct: int | None = None
    external_llm: bool = False
    """Its language model is a server that the agent did not start (`llm.url`); it may be on the same GPU."""


class AgentFigures(FrozenModel):
    """The agent's process; null where it is not ours to look into (`--url`)."""

    url: str
    ready_s: float | None = None
    rss_mib: float | None = None
    """Largest seen."""
    cpu_s: float | None = None
    loop_lag_p99_ms: float | None = None
    models: dict[str, str] = Field(default_factory=dict)
    memory_mib: dict[str, float] = Field(default_factory=dict)
    """By section of the profile, how much more of the GPU was in use once its engine had loaded and warmed up."""
    kv_cache: KvCacheFigures | None = None
    """None where the agent does not tell of one."""
    gpu: AgentGpu | None = None
    """Null where no engine uses one, and where the agent does not say."""


class GpuFigures(FrozenModel):
    """One GPU over the run."""

    name: str
    total_mib: float
    used_peak_mib: float
    used_before_mib: float
    number: int | None = None
    """In `gpu.csv`; null in runs that did not record it."""


class GpuWatch(FrozenModel):
    """The agent's GPU inside the windows of the scored turns: from 500 ms before the end of speech to the answer."""

    turns: int
    """Scored turns ..."""
    watched_turns: int
    """... of these, those with a sample in their window ..."""
    known_turns: int
    """... and of these, those in which NVML always told which processes are on the GPU."""
    foreign_turns: int
    """Turns beside which another's process was on the GPU."""
    foreign: tuple[str, ...] = ()
    """Those processes, as "PID NAME"."""
    held_back: dict[str, int] = Field(default_factory=dict)
    """By reason (heat, or the power there is), turns in which the card was slower than it is."""
    power_capped_turns: int = 0
    """Turns in which the card was at its own power limit."""
    before_mib: float | None = None
    """In use before the agent started, without what the driver keeps for itself; null where it does not tell."""
    sees_all: bool = False
    """The list of processes is that of the whole machine; false: of a container."""
    external_llm: bool = False
    """One of the processes that are not the run's may be the language model's server at `llm.url`."""
