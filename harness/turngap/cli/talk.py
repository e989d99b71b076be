"""`turngap talk`: starts or connects to the agent, opens the device, and prints each turn as it ends."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import tempfile
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from turngap_agent import profile as profiles
from turngap_agent.errors import AgentError, UsageError
from turngap_agent.profile import Profile
from turngap_agent.telephony import signature

from turngap.caller.scheduler import Scheduler
from turngap.clock import NS_PER_MS, Clock, SystemClock
from turngap.model.plural import plural
from turngap.model.records import CallRecord
from turngap.model.turn import TurnRecord
from turngap.processes.agent import checked_url
from turngap.processes.span_receiver import SpanReceiver
from turngap.scenario import PlannedCall, Turn
from turngap.scoring.score import score_call
from turngap.session.agent_processes import start_profile
from turngap.session.preparation import fetch_weights
from turngap.store.folder import SPANS
from turngap.talk import devices
from turngap.talk.call import TalkCall
from turngap.talk.devices import Device, FileDevice, SoundDevice
from turngap.talk.telling import told

DEFAULT_PROFILE = "cpu"
SPANS_TRIES, SPANS_RETRY_NS = 15, 200 * NS_PER_MS
"""Together, how long a turn waits for its spans."""
HEADPHONES = "speak after the line below; use headphones, or the agent hears itself; Ctrl-C hangs up"


@dataclass(frozen=True, slots=True)
class TalkOptions:
    """The options of the command."""

    profile: str | None = None
    overrides: tuple[str, ...] = ()
    url: str | None = None
    input_device: str | None = None
    output_device: str | None = None
    said: Path | None = None
    """A file in place of a microphone ..."""
    played: Path | None = None
    """... and one in place of a loudspeaker."""
    as_json: bool = False


def list_devices() -> None:
    """Print the machine's sound devices.

    Raises:
        UsageError: no PortAudio, or no devices.
    """
    print(devices.listing())


def run(options: TalkOptions) -> int:
    """Talk, and return the exit code; an unusable device is reported before an agent is started.

    Raises:
        UsageError: an option does not fit, or names something that does not exist.
        AgentError: the agent did not start, cannot be reached, or answered nothing.
    """
    if options.url is not None and (options.profile is not None or options.overrides):
        raise UsageError("--url talks to an agent that runs already: drop --profile and --set")
    url = checked_url(options.url) if options.url is not None else None
    agent = profiles.load(options.profile or DEFAULT_PROFILE, options.overrides) if url is None else None
    clock = SystemClock()
    device = _device(options, clock)
    news = Console(stderr=True)
    if agent is not None:
        fetch_weights(agent.model_dump(mode="json"))
    turns = asyncio.run(_talk(agent, url, device, clock, news, as_json=options.as_json))
    if options.as_json:
        print(json.dumps([turn.model_dump(mode="json") for turn in turns], indent=2))
    _refuse_silence(turns, spoken=bool(turns) or options.said is not None)
    return 0


def _refuse_silence(turns: Sequence[TurnRecord], *, spoken: bool) -> None:
    """Raise an error where something was said and the agent answered none of it."""
    if not spoken or any(turn.turn_gap_ms is not None for turn in turns):
        return
    if not turns:
        raise UsageError("no speech was found in what was said: is the recording silent, or is it cut off too early?")
    remedy = "is its voice on, does it send audio back on the stream, and what does its log say?"
    raise AgentError(f"the agent answered none of {plural(len(turns), 'turn')}: {remedy}")


@dataclass(slots=True)
class TurnPrinter:
    """Scores each turn as it ends, and prints it when its spans have arrived."""

    receiver: SpanReceiver | None
    device: Device
    clock: Clock
    console: Console
    turns: list[TurnRecord] = field(default_factory=list)
    _tasks: list[asyncio.Task[None]] = field(default_factory=list)

    def on_turn(self, record: CallRecord) -> None:
        """Score the last turn of the call; `record` is the call as if nothing else had been said in it."""
        before = self._tasks[-1] if self._tasks else None
        self._tasks.append(asyncio.create_task(self._print_turn(record, before)))

    async def finish(self) -> None:
        """Return when every turn has been printed."""
        await asyncio.gather(*self._tasks)

    async def _print_turn(self, record: CallRecord, before: asyncio.Task[None] | None) -> None:
        if before is not None:
            await before
        turn = self._score(record)
        for _ in range(SPANS_TRIES if self.receiver is not None else 0):
            if turn.stages is not None or turn.turn_gap_ms is None:
                break
            await self.clock.sleep_ns(SPANS_RETRY_NS)
            turn = self._score(record)
        self.turns.append(turn.model_copy(update={"turn": len(self.turns), "scored": False}))
        for line in told(len(self.turns), turn, self.device.output_latency_ms):
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _score(self, record: CallRecord) -> TurnRecord:
        planned = PlannedCall(0, (Turn(id="microphone", say="(a person)"),), probe=False)
        spans = self.receiver.current_spans(record.call_sid) if self.receiver is not None else ()
        (turn,) = score_call(record, spans, planned, network_ms=0.0, cold=False)
        return turn


def _device(options: TalkOptions, clock: Clock) -> Device:
    if (options.said is None) != (options.played is None):
        raise UsageError("--in and --out go together: a file to be said, and one for what is heard")
    if options.said is not None and options.played is not None:
        if options.input_device is not None or options.output_device is not None:
            raise UsageError("--in and --out take the place of devices: drop --input-device and --output-device")
        return FileDevice(options.said, options.played, clock)
    return SoundDevice(options.input_device, options.output_device, clock)


async def _talk(
    agent: Profile | None, url: str | None, device: Device, clock: Clock, news: Console, *, as_json: bool
) -> list[TurnRecord]:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    news.print(f"talk: {device.description}", highlight=False, markup=False, soft_wrap=True)
    token = os.environ.get("TWILIO_AUTH_TOKEN") if url is not None else None  # ours asks for no signature
    async with _start_agent(agent, url, stop) as (where, receiver), Scheduler(clock).running() as scheduler:
        if stop.is_set():
            return []
        printer = TurnPrinter(receiver, device, clock, Console(stderr=as_json))
        call = TalkCall(device, clock, scheduler, printer.on_turn)
        if not isinstance(device, FileDevice):
            news.print(f"talk: {HEADPHONES}", highlight=False, markup=False, soft_wrap=True)

        def connected() -> None:
            news.print(f"talk: connected to {where}", highlight=False, markup=False, soft_wrap=True)

        headers = {signature.HEADER: signature.sign(token, where)} if token else {}
        why = await call.run(where, headers, stop, connected)
        await printer.finish()
        news.print(f"talk: {why}; {plural(len(printer.turns), 'turn')}", highlight=False, markup=False, soft_wrap=True)
        return printer.turns


@asynccontextmanager
async def _start_agent(
    agent: Profile | None, url: str | None, stop: asyncio.Event
) -> AsyncIterator[tuple[str, SpanReceiver | None]]:
    """Yield the agent's URL, and the receiver of its spans if it was started here; `stop` ends that, too."""
    if agent is None:
        assert url is not None
        yield url, None
        return
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="turngap-talk-")))
        receiver = await SpanReceiver.start(folder / SPANS)
        stack.push_async_callback(receiver.stop)
        profile = agent.model_dump(mode="json")
        starting = asyncio.create_task(start_profile(profile, folder, endpoint=receiver.endpoint, live_spans=True))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not starting.done():
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
            yield "", None
            return
        ours = starting.result()
        stack.push_async_callback(ours.stop)
        yield ours.ready.url, receiver
