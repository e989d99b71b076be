"""An agent that is broken in one known way: each way is named as what it is, and no budget passes with it.

Real calls over a real socket to the reference agent's process; what it did to one turn is judged as 59 of its kind.
"""

from __future__ import annotations

import asyncio
import dataclasses
from dataclasses import dataclass

import numpy as np
import pytest
from turngap.calibration.calibrate import ReferenceAgent
from turngap.calibration.reference_agent import ReplyBehaviour, ReplyOrder, make_reply
from turngap.calibration.utterances import make_burst
from turngap.caller.call import place_call
from turngap.caller.playout import Playout
from turngap.caller.scheduler import Scheduler
from turngap.clock import NS_PER_MS, SystemClock
from turngap.model.records import CallRecord, Spoken
from turngap.model.result import Verdict
from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario import PlannedCall, Turn
from turngap.scoring.score import score_call
from turngap.verdict import gate
from turngap.verdict.budget import Budget, Limit
from turngap.verdict.gate import Evidence
from turngap_agent import tracing
from turngap_agent.telephony import FRAME_SAMPLES
from turngap_agent.tracing import Span

pytestmark = pytest.mark.xdist_group("broken-agents")

BUDGET = Budget(name="edge500", limits=(Limit(metric="turn_gap_ms", at_most=500),))
TURN = Turn(id="u", say="a burst of noise", expect="please send me the bill", pause_ms=100, answer_within_ms=2500)
QUIET_MS = 4000
NOTHING = np.zeros(0, np.int16)


@dataclass
class Way:
    """One way to answer."""

    delay_ms: float = 100.0
    behaviour: ReplyBehaviour = ReplyBehaviour.EXACT
    chunks_early: int = 0
    """Orders the reply this many frames before the one that holds t0."""

    def chunk(self, spoken: Spoken) -> int:
        """The media message (from 1) whose arrival starts the delay."""
        return (spoken.end_sample - 1) // FRAME_SAMPLES + 1 - self.chunks_early


WAYS = {
    "good": Way(),
    "late": Way(delay_ms=900.0),
    "silent head": Way(behaviour=ReplyBehaviour.SILENT_HEAD),
    "stall": Way(behaviour=ReplyBehaviour.STALL),
    "early": Way(delay_ms=0.0, chunks_early=15),
    "never": Way(behaviour=ReplyBehaviour.NEVER),
    "half": Way(),
}


@pytest.fixture(scope="module")
def calls() -> dict[str, CallRecord]:
    """One call to an agent of each kind, all at once.

    The caller hangs up only after `QUIET_MS` without a sound: an agent that stalls and is held up besides is heard out.
    """
    return asyncio.run(_place_all())


async def _place_all() -> dict[str, CallRecord]:
    reference, clock = await ReferenceAgent.start(), SystemClock()

    async def one(index: int, way: Way, scheduler: Scheduler) -> CallRecord:
        def order(call_sid: str, turn: int, spoken: Spoken) -> None:
            reference.order(ReplyOrder(call_sid, turn, way.chunk(spoken), way.delay_ms, behaviour=way.behaviour))

        planned = PlannedCall(index, (TURN,), probe=False, quiet_ms=QUIET_MS)
        clips = {TURN.key: make_burst(1800, seed=index)}  # longer than an order can be held up
        return await place_call(
            reference.url, planned, clips, clock=clock, scheduler=scheduler, seed=1, auth_token="", on_spoken=order
        )

    async with Scheduler(clock).running() as scheduler:
        records = await asyncio.gather(*(one(index, way, scheduler) for index, way in enumerate(WAYS.values())))
    await reference.stop()
    return {name: punctual(record, WAYS[name]) for name, record in zip(WAYS, records, strict=True)}


def punctual(record: CallRecord, way: Way) -> CallRecord:
    """The call as it is due: a busy test machine is late on either side, which would hide the agent's own faults."""
    due_ns = record.started_ns + (np.arange(len(record.sent_ns), dtype=np.int64) + 1) * 20_000_000
    first_ns = int(due_ns[way.chunk(record.spoken[0]) - 1]) + round(way.delay_ms * NS_PER_MS)
    playout = Playout()
    # Not strict: a call that lacks a piece fails the test that looks at it, not all of them.
    for (after_ms, _), message in zip(
        make_reply(way.behaviour, NOTHING, NOTHING).pieces, record.received, strict=False
    ):
        playout.receive(message.pcm, first_ns + round(after_ms * NS_PER_MS))
    playout.truncate(record.ended_ns)
    return dataclasses.replace(record, sent_ns=due_ns, received=playout.received, stalls=np.zeros((0, 2), np.int64))


def spans(record: CallRecord, transcript: str) -> list[Span]:
    """What an agent would report that answered `transcript`."""
    sent_ns = record.received[0].recv_ns - 200_000 if record.received else 0
    common = {tracing.SENT_NS: sent_ns, tracing.HEARD: True, tracing.TRANSCRIPT: transcript, tracing.SPANS: 1}
    turn = Span(tracing.TURN_SPAN, sent_ns - 1000, sent_ns, record.call_sid, 0, 0, dict(common))
    call = Span(tracing.CALL_SPAN, 0, record.ended_ns, record.call_sid, 0, 0, {tracing.ATTEMPTS: 1})
    return [turn, call]


def judge(record: CallRecord, transcript: str) -> tuple[TurnRecord, Verdict]:
    (turn,) = score_call(
        record, spans(record, transcript), PlannedCall(0, (TURN,), probe=False), network_ms=95.0, cold=False
    )
    many = [turn.model_copy(update={"call": index, "utterance_id": f"u{index}"}) for index in range(59)]
    return turn, gate.judge_run(
        many, Evidence(59, complete=True, calibration_bias_ms=0.0, sentinel_bias_ms=0.0), BUDGET
    ).verdict


@pytest.mark.parametrize(
    ("way", "outcome", "verdict"),
    [
        ("good", Outcome.ANSWERED, Verdict.PASS),
        ("late", Outcome.ANSWERED, Verdict.FAIL),
        ("silent head", Outcome.ANSWERED, Verdict.FAIL),
        ("stall", Outcome.BROKEN, Verdict.FAIL),
        ("early", Outcome.CUT_OFF, Verdict.FAIL),
        ("never", Outcome.MISSED, Verdict.FAIL),
        ("half", Outcome.TRUNCATED, Verdict.FAIL),
    ],
)
def test_each_fault_is_named_and_fails(
    calls: dict[str, CallRecord], way: str, outcome: Outcome, verdict: Verdict
) -> None:
    """Late and silent-headed answers are answers over budget; the others are no answers at all."""
    transcript = "please send me" if way == "half" else "please send me the bill"
    turn, actual_verdict = judge(calls[way], transcript)
    assert (turn.outcome, actual_verdict) == (outcome, verdict)


def test_silence_at_the_head_is_no_answer(calls: dict[str, CallRecord]) -> None:
    """Its first byte arrives at once, its first sound after a second and a half."""
    turn, _ = judge(calls["silent head"], "please send me the bill")
    assert turn.first_byte_ms is not None
    assert turn.turn_gap_ms is not None
    assert turn.turn_gap_ms - turn.first_byte_ms == pytest.approx(1500, abs=1)
