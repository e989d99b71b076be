"""One agent under test in a session of the instrument: what is asked of it, what stands for it, and its books."""

from __future__ import annotations

from dataclasses import dataclass, field

from turngap.model.result import RunRecord
from turngap.processes.agent import Agent
from turngap.processes.sampler import Sampler
from turngap.processes.span_receiver import SpanReceiver
from turngap.scenario import PlannedCall
from turngap.session.plan import Request
from turngap.session.run_record import Progress
from turngap.session.scoring_process import ScoringProcess
from turngap.store.folder import RunFolder


@dataclass(frozen=True, slots=True)
class AgentProcesses:
    """What stands for one agent; the settler is the session's."""

    receiver: SpanReceiver
    sampler: Sampler
    settler: ScoringProcess
    agent: Agent


@dataclass(slots=True)
class AgentRun:
    """One of the agents that a session measures; a run has one, a sweep one for each setting."""

    request: Request
    folder: RunFolder
    opening: RunRecord
    """`run.json` as it stands so far."""
    progress: Progress
    began_ns: int
    """On the host's monotonic clock; what the run lasts is counted from here."""
    name: str = ""
    """Tells it from the session's others; "" where there are none."""
    placed: int = field(default=0, init=False)
    """Calls it has had in this session."""

    def named(self, text: str) -> str:
        """The text, with the agent_run's name before it where it has one."""
        return f"{self.name}: {text}" if self.name else text


@dataclass(frozen=True, slots=True)
class AssignedCall:
    """A call, and who is called."""

    agent_run: AgentRun
    call: PlannedCall
