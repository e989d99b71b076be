"""What held the agent's process up while a turn was answered: parts of `turns.jsonl` and `run.json`."""

from __future__ import annotations

from pydantic import Field
from turngap_agent.documents import FrozenModel


class LoopBlock(FrozenModel):
    """The agent's event loop stood still: it handled nothing, no audio either."""

    start_ms: float
    """From t0."""
    length_ms: float
    ran_ms: float
    """Of it, its thread ran code."""
    queued_ms: float
    """Of it, its thread waited for a core. The rest waited for the interpreter, or for something outside."""
    stack: tuple[str, ...] = ()
    """Where its thread was, as "function (file:line)", outermost first; () if it was not seen."""


class TurnHealth(FrozenModel):
    """From the end of the caller's speech to the answer (without one: 2 s); null where it was not measured."""

    blocks: tuple[LoopBlock, ...] = ()
    """Longest first, at most 5, each of 10 ms or more."""
    loop_blocked_ms: float = 0.0
    """All of them together, the part in the turn."""
    interpreter_wait_ms: float = 0.0
    """The longest time for which a thread waited for the interpreter (the GIL), if it was 10 ms or more."""
    queued_ms: float | None = None
    """How long the agent's threads could have run, but waited for a core: all threads together."""
    loop_queued_ms: float | None = None
    """Of it, the event loop's thread."""
    major_faults: float | None = None
    """Pages read from the disk."""
    minor_faults: float | None = None
    throttled_ms: float | None = None
    """How long the container's CPU limit held it back."""
    stolen_ms: float | None = None
    """How long the machine's host gave its cores to others, all cores together."""


class HealthFigures(FrozenModel):
    """Of the run: in how many of the scored turns what was found, and what this machine does not tell."""

    turns: int
    """Scored turns that were watched."""
    blocked_turns: int = 0
    """With an event loop that stood for 10 ms or more."""
    longest_block_ms: float | None = None
    longest_block_in: str = ""
    """The function, as "function (file:line)"."""
    interpreter_turns: int = 0
    """With a wait for the interpreter of 10 ms or more."""
    queued_p95_ms: float | None = None
    """Of all threads together, a turn."""
    loop_queued_p95_ms: float | None = None
    major_fault_turns: int = 0
    throttled_turns: int = 0
    stolen_turns: int = 0
    """In which 10 ms or more were stolen, the unit in which the kernel counts."""
    not_readable: dict[str, str] = Field(default_factory=dict)
    """What was not measured, and why."""


class EnergyPart(FrozenModel):
    """What one part of the machine used."""

    joules: float
    """From the agent's start of service to its end, pauses between calls included."""
    watts: float
    call_j: float | None
    """Joules / calls with scored turns."""
    answered_turn_j: float | None
    call_minute_j: float | None
    """Joules / minutes of those calls."""


class EnergyFigures(FrozenModel):
    """Energy of the run."""

    seconds: float
    """How long it was counted."""
    calls: int
    """Calls with scored turns in that time."""
    gpu: EnergyPart | None = None
    """The agent's GPU, by its own counter."""
    package: EnergyPart | None = None
    """The processors and what is on their chips (RAPL), all processes together."""
    not_readable: dict[str, str] = Field(default_factory=dict)
    """By part: why it is not known."""


class TraceFile(FrozenModel):
    """A trace of one turn."""

    file: str
    """In the run folder."""
    call: int
    turn: int
    samples: int
    """Changes of the threads' stacks in it; 0: it has the stages alone, and the run's notes say why."""
