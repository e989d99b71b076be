"""How late the instrument itself was: in sending the caller's frames, and in reading what the agent sent. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from turngap_agent.telephony import FRAME_SAMPLES

from turngap.clock import NS_PER_SAMPLE
from turngap.model.records import CallRecord


@dataclass(frozen=True, slots=True)
class Lateness:
    """The instrument's own worst in a window."""

    send_ns: int
    """A frame's hand-over after its deadline."""
    recv_ns: int
    """Absence of the event loop that reads."""


def lateness(record: CallRecord, from_ns: int, to_ns: int) -> Lateness:
    """The worst send and receive lateness that touches the time from `from_ns` to `to_ns`; 0 where there was none."""
    sent_ns = record.sent_ns
    due_ns = record.frame_due_ns(0) + np.arange(len(sent_ns)) * FRAME_SAMPLES * NS_PER_SAMPLE
    late_ns = (sent_ns - due_ns)[(due_ns <= to_ns) & (sent_ns >= from_ns)]
    at_ns, away_ns = record.stalls.reshape(-1, 2).T
    absences_ns = away_ns[(at_ns >= from_ns) & (at_ns - away_ns <= to_ns)]
    return Lateness(max(0, int(late_ns.max(initial=0))), int(absences_ns.max(initial=0)))
