"""A call over RTP on a clock that jumps: a known delay is measured to the sample, in either kind of G.711."""

from __future__ import annotations

import asyncio
import struct
from typing import Any

import numpy as np
import pytest
from turngap.caller import alaw
from turngap.caller.call import place_call
from turngap.caller.dialects.registry import SIP
from turngap.caller.scheduler import Scheduler
from turngap.clock import NS_PER_MS, FakeClock
from turngap.model.records import CallEnd, CallRecord
from turngap.scenario import PlannedCall
from turngap.scoring.milestones import find_milestones
from turngap_agent.telephony import mulaw

from tests.harness.caller.calls import clip, turn
from tests.harness.caller.dialects.agents import ReferenceAgent, make_reply

DELAY_MS = 300


class RtpAgent(ReferenceAgent):
    """Reads and writes RTP by RFC 3550 alone; `kind` is the payload type of its reply."""

    kind = 0

    def read_audio(self, message: str | bytes) -> np.ndarray[Any, np.dtype[np.int16]] | None:
        assert isinstance(message, bytes)
        version, kind, sequence, timestamp, _ = struct.unpack_from("!BBHII", message)
        assert (version, kind & 0x7F) == (0x80, 0)
        self.log.append({"sequence": sequence, "timestamp": timestamp, "marker": kind >> 7})
        return mulaw.decode(message[12:])

    def write_reply(self) -> list[str | bytes]:
        data = mulaw.encode(make_reply(8000)) if self.kind == 0 else alaw.encode(make_reply(8000))
        return [
            struct.pack("!BBHII", 0x80, self.kind, 65_530 + at // 160 & 0xFFFF, at, 5) + data[at : at + 160]
            for at in range(0, len(data), 160)
        ]

    def _reply(self, at_ns: int) -> None:
        for message in self.write_reply():
            self.write(message, at_ns)


@pytest.mark.parametrize("kind", [0, 8])
def test_a_known_delay_is_measured_to_the_sample(kind: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """300 ms from the arrival of the caller's last loud frame to t1; packets are numbered as RFC 3550 has it."""

    async def main() -> tuple[CallRecord, RtpAgent]:
        clock = FakeClock()
        async with Scheduler(clock).running() as scheduler:
            agent = RtpAgent(clock, scheduler, DELAY_MS)
            agent.kind = kind
            monkeypatch.setattr("turngap.caller.sip.line.open_sip_line", agent.open)
            planned = PlannedCall(3, (turn(),), False)
            record = await place_call(
                "sip:agent@host", planned, {"a": clip()}, clock=clock, scheduler=scheduler, seed=1, dialect=SIP
            )
            return record, agent

    record, agent = asyncio.run(main())
    assert record.end is CallEnd.COMPLETED, record.detail
    assert (record.warnings, record.dialect) == ((), "sip")
    (moments,) = find_milestones(record)
    assert moments.onset_ns is not None
    frame = (record.spoken[0].end_sample - 1) // 160
    assert moments.onset_ns - record.sent_ns[frame] == DELAY_MS * NS_PER_MS
    assert sum(len(message.pcm) for message in record.received) == 3200
    steps = np.diff([[row["sequence"], row["timestamp"]] for row in agent.log], axis=0)
    assert set(steps[:, 0] % 2**16) == {1}
    assert set(steps[:, 1] % 2**32) == {160}
    assert [row["marker"] for row in agent.log] == [1] + [0] * (len(agent.log) - 1)
