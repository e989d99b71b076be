"""The agent's process and its GPU during a run: parts of `run.json`."""

from __future__ import annotations

from pydantic import ConfigDict, Field
from turngap_agent.documents import FrozenModel


class KvCacheFigures(FrozenModel):
    """Memory for keys and values, as the language model's server reports it."""

    reserved_mib: float
    used_peak_mib: float
    """The most that requests used of it at once."""


class AgentGpu(FrozenModel):
    """The GPU that the agent reports, and how its processes share it."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    uuid: str
    """Of the card, or of the MIG slice."""
    name: str = ""
    mps: bool = False
    """Its processes share the GPU by CUDA's Multi-Process Service; without it they alternate."""
    agent_active_thread_pct: int | None = None
    """Share of the GPU's threads that the agent's own process may use under MPS; null: all."""
    llm_active_thread_pct: int | None = None
    external_llm: bool = False
    """Its language model is a server that the agent did not start (`llm.url`); it may be on the same GPU."""


class AgentFigures(FrozenModel):
    """The agent's process; null for external agents (`--url`)."""

    url: str
    dialect: str = "twilio"
    """The wire format of its socket."""
    ready_s: float | None = None
    rss_mib: float | None = None
    """Largest seen."""
    cpu_s: float | None = None
    loop_lag_p99_ms: float | None = None
    models: dict[str, str] = Field(default_factory=dict)
    memory_mib: dict[str, float] = Field(default_factory=dict)
    """By section of the profile: the GPU memory in use by its engine after loading and warming up."""
    kv_cache: KvCacheFigures | None = None
    """None if the agent does not report one."""
    gpu: AgentGpu | None = None
    """Null if no engine uses one, and if the agent does not report it."""


class GpuFigures(FrozenModel):
    """One GPU over the run."""

    name: str
    total_mib: float
    used_peak_mib: float
    used_before_mib: float
    number: int | None = None
    """Its number in `gpu.csv`; null in runs that did not record it."""


class GpuWatch(FrozenModel):
    """The agent's GPU inside the windows of the scored turns: from 500 ms before the end of speech to the answer."""

    turns: int
    """Scored turns ..."""
    watched_turns: int
    """... of these, those with a sample in their window ..."""
    known_turns: int
    """... and of these, those in which NVML always listed the processes on the GPU."""
    foreign_turns: int
    """Turns during which another process was on the GPU."""
    foreign: tuple[str, ...] = ()
    """Those processes, as "PID NAME"."""
    held_back: dict[str, int] = Field(default_factory=dict)
    """By reason (heat, power supply): turns in which the card was slowed down."""
    power_capped_turns: int = 0
    """Turns in which the card was at its own power limit."""
    before_mib: float | None = None
    """Memory in use before the agent started, without the driver's own; null if not reported."""
    sees_all: bool = False
    """The list of processes is that of the whole machine; false: only of a container."""
    external_llm: bool = False
    """One of the other processes may be the language model's server at `llm.url`."""
