"""`turngap talk`: start or reach the agent, open the device, and print each turn as it ends."""

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
from turngap_agent.tracing import Stage

from turngap.caller.scheduler import Scheduler
from turngap.clock import NS_PER_MS, Clock, SystemClock
from turngap.model.plural import plural
from turngap.model.records import CallRecord
from turngap.model.turn import TurnRecord
from turngap.processes.agent import check_url
from turngap.processes.span_receiver import SpanReceiver
from turngap.progress import PipeConsole
from turngap.scenario import PlannedCall, Turn
from turngap.scoring.score import score_call
from turngap.session.agent_processes import start_profile
from turngap.session.preparation import fetch_weights
from turngap.store.folder import SPANS
from turngap.talk import devices
from turngap.talk.call import INPUT_FINISHED, USER_HUNG_UP, TalkCall
from turngap.talk.devices import Device, FileDevice, SoundDevice

DEFAULT_PROFILE = "cpu"
SPANS_TRIES, SPANS_RETRY_NS = 15, 200 * NS_PER_MS
"""How often, and at which interval, a turn's spans are looked for."""
LATE_MS = 5.0
"""Lateness from this on is printed."""
NOT_STARTED = "interrupted before the agent was ready"
HEADPHONES = "speak after the next line; use headphones, or the agent hears itself; Ctrl-C hangs up"


@dataclass(frozen=True, slots=True)
class TalkOptions:
    """The options of the command."""

    profile: str | None = None
    overrides: tuple[str, ...] = ()
    url: str | None = None
    input_device: str | None = None
    output_device: str | None = None
    input_file: Path | None = None
    """Replaces the microphone; needs `output_file`."""
    output_file: Path | None = None
    """Replaces the loudspeaker; needs `input_file`."""
    as_json: bool = False


def print_devices() -> None:
    """Print the machine's sound devices.

    Raises:
        UsageError: no PortAudio, or no devices.
    """
    print(devices.describe_devices())


def run(options: TalkOptions) -> int:
    """Talk; return the exit code. Errors of the device are raised before an agent is started.

    Raises:
        UsageError: options contradict each other, a device or file does not exist, or the whole file was played and
            has no speech (`usage.audio`).
        AgentError: the agent did not start, cannot be reached, or did not answer at all (`agent.no-answer`).
        KeyboardInterrupt: interrupted before the agent was ready, or while a file was played and nothing was answered.
    """
    if options.url is not None and (options.profile is not None or options.overrides):
        raise UsageError("--url talks to an agent that runs already: drop --profile and --set")
    url = check_url(options.url) if options.url is not None else None
    profile = profiles.load(options.profile or DEFAULT_PROFILE, options.overrides) if url is None else None
    clock = SystemClock()
    device = _open_device(options, clock)
    console = PipeConsole(stderr=True)
    if profile is not None:
        fetch_weights(profile.model_dump(mode="json"))
    turns: list[TurnRecord] = []
    try:
        reason = asyncio.run(_talk(profile, url, device, clock, console, turns, as_json=options.as_json))
    finally:
        if options.as_json:
            print(json.dumps([turn.model_dump(mode="json") for turn in turns], indent=2))
    _check_answers(turns, reason, from_file=options.input_file is not None)
    return 0


def _check_answers(turns: Sequence[TurnRecord], reason: str, *, from_file: bool) -> None:
    """Raise an error if the agent answered no turn, unless a person hung up without having spoken."""
    if any(turn.turn_gap_ms is not None for turn in turns):
        return
    if turns:
        raise AgentError(
            f"the agent answered none of {plural(len(turns), 'turn')}: does it send audio on the stream, and what does "
            "its log say?",
            code="agent.no-answer",
        )
    if reason == NOT_STARTED or (reason == USER_HUNG_UP and from_file):
        raise KeyboardInterrupt
    if reason == INPUT_FINISHED:
        raise UsageError(
            "no speech was found in the recording: is it silent, or cut off too early?", code="usage.audio"
        )
    if reason != USER_HUNG_UP:
        raise AgentError(f"{reason}, without an answer: what does its log say?", code="agent.no-answer")


def format_turn_lines(number: int, turn: TurnRecord, output_latency_ms: float) -> list[str]:
    """Return one turn, counted from 1, in a few lines: how long the person waited, for what, what was understood."""
    if turn.turn_gap_ms is None:
        return [f"turn {number}: {turn.outcome.value}{f' ({turn.detail})' if turn.detail else ''}"]
    uncertainty = f"end of your speech estimated, {turn.label_high_ms:+.0f} to {turn.label_low_ms:+.0f} ms"
    lines = [f"turn {number}: the agent answered after {turn.turn_gap_ms:.0f} ms ({uncertainty})"]
    if turn.stages:
        exposed = [(stage, turn.stages[stage].exposed_ms) for stage in Stage if stage in turn.stages]
        stages = [f"{stage.value.replace('_', ' ')} {ms:.0f}" for stage, ms in exposed if round(ms)]
        lines.append(f"  exposed time: {' · '.join(stages)} ms")
    else:
        lines.append(f"  no stages: {turn.stages_note}")
    if turn.lateness_send_ms > LATE_MS:
        lines.append(f"  up to {turn.lateness_send_ms:.0f} ms of the gap come from this computer's sound input")
    if output_latency_ms:
        lines.append(f"  the loudspeaker adds {output_latency_ms:.0f} ms, as the device reports")
    if turn.transcript is not None:
        lines.append(f"  transcript “{turn.transcript}”" + (f", reply “{turn.reply}”" if turn.reply else ""))
    return lines


@dataclass(slots=True)
class TurnPrinter:
    """Scores each turn as it ends, and prints it once its spans have arrived."""

    receiver: SpanReceiver | None
    device: Device
    clock: Clock
    console: Console
    turns: list[TurnRecord]
    """The turns printed so far."""
    _printing: list[asyncio.Task[None]] = field(default_factory=list)

    def on_turn(self, record: CallRecord) -> None:
        """Score and print a turn: the call so far, with that turn as its only utterance."""
        previous = self._printing[-1] if self._printing else None
        self._printing.append(asyncio.create_task(self._print(record, previous)))

    async def finish(self) -> None:
        """Wait until every turn is printed."""
        await asyncio.gather(*self._printing)

    async def _print(self, record: CallRecord, previous: asyncio.Task[None] | None) -> None:
        if previous is not None:
            await previous
        turn = self._score(record)
        for _ in range(SPANS_TRIES if self.receiver is not None else 0):
            if turn.stages is not None or turn.turn_gap_ms is None:
                break
            await self.clock.sleep_ns(SPANS_RETRY_NS)
            turn = self._score(record)
        self.turns.append(turn.model_copy(update={"turn": len(self.turns), "scored": False}))
        for line in format_turn_lines(len(self.turns), turn, self.device.output_latency_ms):
            self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _score(self, record: CallRecord) -> TurnRecord:
        planned = PlannedCall(0, (Turn(id="microphone", say="(a person)"),), probe=False)
        spans = self.receiver.current_spans(record.call_sid) if self.receiver is not None else ()
        (turn,) = score_call(record, spans, planned, network_ms=0.0, cold=False)
        return turn


def _open_device(options: TalkOptions, clock: Clock) -> Device:
    if (options.input_file is None) != (options.output_file is None):
        raise UsageError("--in and --out go together: a file that is spoken, and one for the agent's audio")
    if options.input_file is not None and options.output_file is not None:
        if options.input_device is not None or options.output_device is not None:
            raise UsageError("--in and --out replace the devices: drop --input-device and --output-device")
        return FileDevice(options.input_file, options.output_file, clock)
    return SoundDevice(options.input_device, options.output_device, clock)


async def _talk(
    profile: Profile | None,
    url: str | None,
    device: Device,
    clock: Clock,
    console: Console,
    turns: list[TurnRecord],
    *,
    as_json: bool,
) -> str:
    """Talk until the call ends and return the reason; each turn is appended to `turns` as it ends."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)

    def show(line: str) -> None:
        console.print(f"talk: {line}", highlight=False, markup=False, soft_wrap=True)

    show(device.description)
    token = os.environ.get("TWILIO_AUTH_TOKEN") if url is not None else None  # our own agent requires no signature
    async with _reach_agent(profile, url, stop) as (agent_url, receiver), Scheduler(clock).running() as scheduler:
        if stop.is_set():
            return NOT_STARTED
        printer = TurnPrinter(receiver, device, clock, PipeConsole(stderr=as_json), turns)
        call = TalkCall(device, clock, scheduler, printer.on_turn)
        if not isinstance(device, FileDevice):
            show(HEADPHONES)
        headers = {signature.HEADER: signature.sign(token, agent_url)} if token else {}
        reason = await call.run(agent_url, headers, stop, lambda: show(f"connected to {agent_url}"))
        await printer.finish()
        show(f"{reason}; {plural(len(turns), 'turn')}")
        if not turns and call.has_unanswered_speech():
            raise AgentError(
                f"{agent_url} did not answer: nothing audible came after your speech; look into the agent's log, and "
                "check that its `media` messages have the stream's `streamSid`",
                code="agent.no-answer",
            )
        return reason


@asynccontextmanager
async def _reach_agent(
    profile: Profile | None, url: str | None, stop: asyncio.Event
) -> AsyncIterator[tuple[str, SpanReceiver | None]]:
    """Yield the agent's URL, and the receiver of its spans if we start it; `stop` also ends the wait for its start."""
    if profile is None:
        assert url is not None
        yield url, None
        return
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="turngap-talk-")))
        receiver = await SpanReceiver.start(folder / SPANS)
        stack.push_async_callback(receiver.stop)
        data = profile.model_dump(mode="json")
        starting = asyncio.create_task(start_profile(data, folder, endpoint=receiver.endpoint, live_spans=True))
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({starting, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        if not starting.done():
            starting.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await starting
            yield "", None
            return
        agent = starting.result()
        stack.push_async_callback(agent.stop)
        yield agent.ready.url, receiver
