"""Injected delays: parsed, kept in order, and measured in the stage they were put into."""

import asyncio
from itertools import pairwise

import pytest
from turngap_agent import clock, tracing
from turngap_agent.errors import UsageError
from turngap_agent.inject import DelayLine, Injection
from turngap_agent.telephony import mulaw
from turngap_agent.tracing import INJECTABLE, Stage

DELAY_MS = 40
DELAY_NS = DELAY_MS * 1_000_000
SPANS = (
    Stage.ENDPOINTING,
    Stage.TRANSCRIPTION,
    Stage.FIRST_TOKEN,
    Stage.FIRST_CLAUSE,
    Stage.FIRST_AUDIO,
    Stage.ENCODING,
)


@pytest.fixture
def jumping_clock(monkeypatch):
    """The agent's clock, which moves only when someone sleeps."""
    times = [0]

    async def sleep_until_ns(deadline_ns: int) -> None:
        await asyncio.sleep(0)
        times[0] = max(times[0], deadline_ns)

    monkeypatch.setattr(clock, "now_ns", lambda: times[0])
    monkeypatch.setattr(clock, "sleep_until_ns", sleep_until_ns)
    return times


def test_delays_are_read_by_stage():
    """STAGE=MS, the last one of a stage counts, and no other stage is delayed."""
    injection = Injection.parse(["first_token=100", "lead_in=2.5", "first_token=80"])
    assert injection.delay_ns(Stage.FIRST_TOKEN) == 80_000_000
    assert injection.delay_ns(Stage.LEAD_IN) == 2_500_000
    assert injection.delay_ns(Stage.ENCODING) == 0
    assert str(injection) == "first_token +80 ms, lead_in +2.5 ms"


@pytest.mark.parametrize(
    "argument",
    [
        "first_token",
        "first_token=",
        "=5",
        "framing_in=5",
        "first_token=-1",
        "encoding=inf",
        "encoding=nan",
        "encoding=60001",
    ],
)
def test_an_invalid_delay_is_refused(argument):
    """An unknown stage or a value that is not a number of milliseconds is an error of one line."""
    with pytest.raises(UsageError) as refused:
        Injection.parse([argument])
    assert refused.value.code == "usage.inject"
    assert argument in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.anyio
async def test_without_a_delay_nothing_waits(jumping_clock):
    """No delay: no time passes, and a delay line delivers at once and needs no task."""
    delivered = []

    async def deliver(item):
        delivered.append(item)

    await Injection().wait(Stage.ENCODING)
    line = DelayLine(0, deliver)
    await line.put("a")
    assert (line.needs_task, delivered, jumping_clock) == (False, ["a"], [0])


@pytest.mark.anyio
async def test_a_delay_line_keeps_order_and_spacing(jumping_clock):
    """Each item arrives its delay after it was put, so that the gaps between items are those of their putting."""
    delivered = []

    async def deliver(item):
        delivered.append((item, clock.now_ns()))

    line = DelayLine(1000, deliver)
    for at, item in ((0, "a"), (20, "b"), (25, "c")):
        jumping_clock[0] = at
        await line.put(item)
    task = asyncio.create_task(line.run())
    for _ in range(20):
        await asyncio.sleep(0)
    task.cancel()
    assert delivered == [("a", 1000), ("b", 1020), ("c", 1025)]


@pytest.mark.anyio
@pytest.mark.parametrize("stage", INJECTABLE)
async def test_a_delay_lands_in_its_stage(serve, stage):
    """The delayed stage is at least the delay long, and the stages still follow each other without a hole."""
    async with serve(inject=[f"{stage}={DELAY_MS}"]) as served, served.phone() as phone:
        begun_ns = clock.now_ns()
        await phone.ask()
        first = await phone.receive()
        received_ns = clock.now_ns()
        await phone.reply()
        await phone.hang_up()
        await served.idle()
    spans = served.traces.stages()
    facts = served.traces.turns[0].attributes
    arrivals = facts[tracing.ARRIVALS_NS]
    assert set(spans) == set(SPANS)
    following = [spans[part] for part in SPANS[1:]]
    assert all(one.end_ns == next_.start_ns for one, next_ in pairwise(following))
    match stage:
        case Stage.TRANSPORT_IN:
            assert arrivals[0] - begun_ns >= DELAY_NS
        case Stage.TRANSPORT_OUT:
            assert received_ns - facts[tracing.SENT_NS] >= DELAY_NS
        case Stage.LEAD_IN:
            assert first.payload == mulaw.SILENCE * 8 * DELAY_MS
        case _:
            assert spans[stage].end_ns - spans[stage].start_ns >= DELAY_NS
    if stage is not Stage.LEAD_IN:
        assert first.payload != mulaw.SILENCE * len(first.payload)
