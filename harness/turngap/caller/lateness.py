"""How late the caller itself was in a call: in sending its frames, and in reading."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from turngap_agent.telephony import FRAME_NS

from turngap.clock import NS_PER_MS
from turngap.model.figures import Lateness
from turngap.model.records import CallRecord

Floats = npt.NDArray[np.float64]


def send_late_ms(call: CallRecord) -> Floats:
    """Return how late each frame was sent, ms, shape (frames,)."""
    due_ns = call.frame_due_ns(0) + np.arange(len(call.sent_ns)) * FRAME_NS
    return np.asarray((call.sent_ns - due_ns) / NS_PER_MS, np.float64)


def recv_late_ms(call: CallRecord) -> Floats:
    """Return the longest stall of the event loop during each frame, ms, shape (frames,)."""
    late = np.zeros(len(call.sent_ns))
    for at_ns, late_ns in call.stalls:
        first = max(0, int((at_ns - late_ns - call.started_ns) // FRAME_NS))
        last = int((at_ns - call.started_ns) // FRAME_NS) + 1
        late[first:last] = np.maximum(late[first:last], late_ns / NS_PER_MS)
    return late


def summarise_lateness(late_ms: Sequence[Floats]) -> Lateness | None:
    """Return percentiles over all frames; None without frames."""
    late = np.concatenate([np.empty(0), *late_ms])
    if not len(late):
        return None
    p50, p99, largest = (float(value) for value in np.percentile(late, [50, 99, 100]))
    return Lateness(p50_ms=p50, p99_ms=p99, max_ms=largest)
