"""One smoke run: what stands beside it, the checks before dialling, the calls one by one, the verdict."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

from harness.calibration.calibrate import calibrate
from harness.caller.call import place_call
from harness.caller.priority import ahead
from harness.caller.scheduler import Scheduler
from harness.clock import NS_PER_MS, Clock
from harness.corpus import clips as corpus
from harness.legs import LegTimes, LiveFigures
from harness.live import dial, figures, preflight, turns, witness
from harness.live.agent_leg import AgentLeg, Answerer
from harness.live.answerers import Echo, KnownDelay
from harness.live.caller_leg import CallerLeg
from harness.live.dial import Twilio
from harness.live.ledger import Ledger
from harness.live.order import Order
from harness.live.placing import Phone, Placed
from harness.live.proxy import Proxy
from harness.live.server import VOICE, LiveServer, hosted, listen
from harness.records import CallRecord, Clip
from harness.result import RunRecord
from harness.rig import child, environment
from harness.rig.agent import Agent
from harness.run import ledger
from harness.run.ledger import Progress
from harness.run.measure import CALIBRATION_MS, CALIBRATION_TURNS, Audience, Finished
from harness.run.settle import Settled, recv_late_ms, send_late_ms
from harness.run.standing import standing
from harness.run.subject import Rig, Subject
from harness.scenario import PlannedCall
from harness.store import recording
from harness.store.folder import AGENT_LOG, CALLS, RunFolder
from harness.turn import TurnRecord
from pipeline.errors import HarnessError, LiveError, TurngapError, UsageError

SPANS_TIMEOUT_S = 3.0
RECORDING_TRIES = 20
RECORDING_WAIT_NS = 1_500 * NS_PER_MS


@dataclass(slots=True)
class _Found:
    """What the calls gave, beside turns."""

    jitter_ms: list[float | None] = field(default_factory=list)
    echoes: list[LegTimes] = field(default_factory=list)
    channel: int | None = None
    trial: bool | None = None
    calls: int = 0


async def run_live(order: Order, audience: Audience, *, clock: Clock) -> Finished:
    """Do what `order` asks. Cancelling it ends the call under way, keeps what was measured, and comes out again.

    Raises:
        UsageError: something that can be known before dialling is wrong; nothing was dialled.
        HarnessError: the run's folder can't be written.
    """
    began_ns = clock.now_ns()
    clips, notes = order.clips, []
    if clips is None:
        made = corpus.prepare(order.request.scenario, audience.says)
        clips, notes = made.clips, list(made.notes)
        order = replace(order, request=replace(order.request, calls=_sayable(order, clips)))
    progress, found = Progress(notes=notes), _Found()
    opening = await _opening(order, clock)
    folder: RunFolder | None = None
    error: TurngapError | None = None
    with ahead():
        try:
            async with AsyncExitStack() as stack:
                scheduler = await stack.enter_async_context(Scheduler(clock).running())
                server = await _server(order, stack, clock)
                twilio = await _twilio(order, server, stack)
                await _before_dialling(order, server, twilio, found, clock, audience)
                book = stack.enter_context(Ledger(order.ledger))
                book.check(order.cost.calls, clock.unix_ns())
                folder = RunFolder.create(order.request.options.out, opening.run_id, opening)
                opening = opening.model_copy(update={"run_id": folder.path.name})
                if order.fake is None:
                    audience.says("calibrating the instrument")
                    progress.calibration = await calibrate(
                        [CALIBRATION_MS], CALIBRATION_TURNS, clock=clock, scheduler=scheduler, calls=5
                    )
                subject = Subject(order.request, folder, opening, progress, began_ns)
                rig = await stack.enter_async_context(_rig(subject, audience))
                if rig is not None:
                    opening = ledger.with_rig(opening, rig.agent.ready, rig.sampler)
                    await _warm_up(order, rig.agent, clips, clock, scheduler)
                phone = Phone(twilio, server, book, clock, audience.says)
                calls = _Calls(order, clips, phone, rig, folder, progress, found, scheduler, audience)
                audience.says(order.cost.sentence if order.fake is None else "the fake Twilio: no telephone rings")
                audience.begins(sum(len(call.turns) for call in order.request.calls))
                await calls.place_all()
        except TurngapError as fault:
            if folder is None:
                raise
            error = type(fault)(order.masker.text(str(fault)))
            progress.faults.append(str(error))
        except asyncio.CancelledError:
            if folder is None:
                raise
            progress.faults.append("the run was interrupted")
            _close(order, opening, folder, progress, found, clock.now_ns() - began_ns, clips)
            raise
    assert folder is not None
    record = _close(order, opening, folder, progress, found, clock.now_ns() - began_ns, clips)
    return Finished(record, folder, error)


@dataclass(slots=True)
class _Calls:
    """The calls, one after the other; each is scored while nothing else goes on."""

    order: Order
    clips: Mapping[str, Clip]
    phone: Phone
    rig: Rig | None
    folder: RunFolder
    progress: Progress
    found: _Found
    scheduler: Scheduler
    audience: Audience

    async def place_all(self) -> None:
        """Raises: LiveError: a call did not come to talking; the others are not placed."""
        for planned in self.order.request.calls:
            placed = await self._place(planned, self._answerer(planned))
            await self._score(planned, placed)
        if self.order.echo is not None:
            placed = await self._place(self.order.echo, Echo())
            assert placed.agent is not None
            self.found.echoes += turns.floor(placed.caller, placed.agent)

    async def _place(self, planned: PlannedCall, answerer: Answerer | None) -> Placed:
        clock = self.phone.clock
        caller = CallerLeg(planned, self.clips, clock=clock, scheduler=self.scheduler, seed=self.order.request.seed)
        agent = AgentLeg(answerer, clock=clock) if answerer is not None else None
        order = self.order
        asked = dial.Asked(
            to=order.to,
            from_=order.from_,
            twiml="",
            status_callback=self.phone.server.public_url + "/status",
            time_limit_s=order.time_limit_s,
            record=order.record,
            amd_callback=self.phone.server.public_url + "/answered-by" if order.voicemail_check else None,
        )
        self.found.calls += 1
        placed = await self.phone.place(asked, caller, agent)
        notes = [*placed.notes, *placed.caller.record.warnings]
        if isinstance(answerer, Proxy):
            notes += answerer.warnings
        try:
            notes += await self.phone.twilio.warnings(placed.sid)
        except LiveError as fault:
            notes.append(str(fault))
        self.progress.notes += [order.masker.text(f"call {planned.index}: {note}") for note in dict.fromkeys(notes)]
        self.found.jitter_ms += [placed.caller.jitter_ms, placed.agent.jitter_ms if placed.agent is not None else None]
        return placed

    async def _score(self, planned: PlannedCall, placed: Placed) -> None:
        edge: CallRecord = placed.caller.record
        if placed.agent is None:
            scored = turns.score_alone(placed.caller, planned, cold=False)
        else:
            alias = _alias(planned)
            collected = None
            if self.rig is not None:
                collected = await self.rig.receiver.collect(alias, SPANS_TIMEOUT_S)
            scored, edge = turns.score_loop(
                placed.caller, placed.agent, planned, collected.spans if collected else (), alias=alias, cold=False
            )
        if self.order.record:
            scored = await self._with_witness(placed, scored)
        if len(edge.caller_pcm) and scored:
            audio = f"{CALLS}/{planned.index:04d}.wav"
            recording.write(self.folder.path / audio, recording.stereo(edge))
            scored = [
                turn.model_copy(update={"audio": audio, "audio_offset_ms": (turn.t0_ns - edge.started_ns) / NS_PER_MS})
                for turn in scored
            ]
        own = placed.caller.record
        scored = [_masked(turn, self.order) for turn in scored]
        self.folder.append(scored)
        self.progress.add(Settled(tuple(scored), send_late_ms(own), recv_late_ms(own)))
        for turn in scored:
            self.audience.turn(turn)

    async def _with_witness(self, placed: Placed, scored: list[TurnRecord]) -> list[TurnRecord]:
        """The turns with what the recording says of them; it is deleted at Twilio whatever comes of it."""
        twilio, clock = self.phone.twilio, self.phone.clock
        try:
            sids = await twilio.recordings(placed.sid)
            for _ in range(RECORDING_TRIES):
                if sids:
                    break
                await clock.rest(RECORDING_WAIT_NS)
                sids = await twilio.recordings(placed.sid)
            if not sids:
                raise LiveError("Twilio has no recording of the call")  # noqa: TRY301  # told as the others are
            try:
                channels = witness.read(await twilio.recording(sids[0]))
            finally:
                for sid in sids:
                    await twilio.delete_recording(sid)
            own = witness.caller_channel(channels, placed.caller)
            if own is None:
                raise LiveError("the caller is in neither channel of the recording")  # noqa: TRY301
        except LiveError as fault:
            self.progress.notes.append(self.order.masker.text(f"the recording is no witness: {fault}"))
            return scored
        self.found.channel = own
        heard = witness.totals_ms(channels, own, placed.caller, placed.agent, scored)
        return [
            turn
            if turn.live is None or place >= len(heard)
            else turn.model_copy(update={"live": turn.live.model_copy(update={"witness_ms": heard[place]})})
            for place, turn in enumerate(scored)
        ]

    def _answerer(self, planned: PlannedCall) -> Answerer | None:
        if self.order.alone:
            return None
        if self.rig is not None:
            return Proxy(self.rig.agent.ready.url, _alias(planned), clock=self.phone.clock)
        assert self.order.answers_ms is not None
        return KnownDelay(self.order.answers_ms, self.scheduler)


async def _server(order: Order, stack: AsyncExitStack, clock: Clock) -> LiveServer:
    listener = stack.enter_context(listen(order.host, order.port))
    public_url = order.public_url or f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = LiveServer(public_url, order.credentials.auth_token, clock)
    await stack.enter_async_context(hosted(server.app(), listener))
    return server


async def _twilio(order: Order, server: LiveServer, stack: AsyncExitStack) -> Twilio:
    base_url = None
    if order.fake is not None:
        settings = order.fake.model_copy(update={"voice_url": server.public_url + VOICE})
        process = await child.start(child.python("harness.live.fake"), stderr=None, env=child.environment())
        stack.push_async_callback(child.stop, process, grace_s=2.0)
        assert process.stdin is not None
        process.stdin.write(settings.model_dump_json().encode() + b"\n")
        said = await child.hello(process, "the fake Twilio")
        base_url = str(said["api"])
    twilio = Twilio(order.credentials, order.masker, base_url)
    stack.push_async_callback(twilio.close)
    return twilio


async def _before_dialling(
    order: Order, server: LiveServer, twilio: Twilio, found: _Found, clock: Clock, audience: Audience
) -> None:
    """Raises: UsageError, LiveError: a call could not come to anything; none was placed."""
    await preflight.check(server, clock)
    found.trial = await twilio.is_trial()
    if found.trial:
        audience.says(figures.TRIAL)
    if await twilio.voice_url(order.from_) is None:
        raise UsageError("the number to call from is none of this Twilio account's")
    if not order.alone:
        voice_url = await twilio.voice_url(order.to)
        if voice_url is None:
            raise UsageError("the agent's number is none of this Twilio account's; --to measures somebody else's")
        if voice_url != server.public_url + VOICE:
            raise UsageError(
                f"calls to the agent's number are not answered here: set its voice URL (HTTP POST) to "
                f"PUBLIC-URL{VOICE} in Twilio's console"
            )


@asynccontextmanager
async def _rig(subject: Subject, audience: Audience) -> AsyncIterator[Rig | None]:
    if subject.request.profile is None:
        yield None
        return

    async def before_agents() -> None:
        """Nothing is measured before a live call's agent."""

    async with standing([subject], before_agents, audience.says) as rigs:
        yield rigs[0]


async def _warm_up(order: Order, agent: Agent, clips: Mapping[str, Clip], clock: Clock, scheduler: Scheduler) -> None:
    """The agent's first turn is not a telephone call's: it is said to it here, for nothing.

    Raises:
        HarnessError: it was not to be reached.
    """
    first = order.request.calls[0].turns[:1]
    planned = PlannedCall(len(order.request.calls) + 1, first, probe=True, warm_up=True)
    record = await place_call(
        agent.ready.url, planned, clips, clock=clock, scheduler=scheduler, seed=1, auth_token="", call_sid="warm-up"
    )
    if not record.spoken:
        raise HarnessError(f"the agent did not take a call before the first one: {record.detail}")


async def _opening(order: Order, clock: Clock) -> RunRecord:
    surroundings = environment.gather()
    surroundings["timer_late_p99_ms"] = await environment.timer_late_p99_ms(clock)
    opening = ledger.opened(order.request, surroundings, clock.unix_ns())
    stamp = opening.run_id.partition("-")[0]
    return opening.model_copy(
        update={
            "run_id": f"{stamp}-live-{order.request.scenario.name}-{order.label}",
            "profile": order.label,
            "network_ms": 0.0,
        }
    )


def _close(
    order: Order,
    opening: RunRecord,
    folder: RunFolder,
    progress: Progress,
    found: _Found,
    took_ns: int,
    clips: Mapping[str, Clip],
) -> RunRecord:
    """Write what came of it; every text masked once more."""
    scored = recording.keep(folder.path, progress.turns)
    progress.turns = list(scored)
    record = ledger.closed(
        opening.model_copy(update={"duration_s": took_ns / 1e9}),
        folder,
        progress,
        figures.judge(scored, replace(ledger.evidence(order.request, folder, progress), lost_spans=0)),
        sources={key: clip.source for key, clip in clips.items()},
    )
    record = record.model_copy(update={"live": _figures(order, scored, found)})
    record = RunRecord.model_validate(order.masker.data(record.model_dump(mode="json")))
    folder.replace_turns(scored)
    folder.write(record)
    recording.discard(folder.path, folder.path / CALLS, scored)
    log = folder.path / AGENT_LOG
    if log.is_file():  # the agent knows aliases only; what it made up itself may still look like a SID
        log.write_text(order.masker.text(log.read_text("utf-8", "replace")), "utf-8")
    return record


def _figures(order: Order, scored: tuple[TurnRecord, ...], found: _Found) -> LiveFigures:
    return figures.of_run(
        scored,
        calls=found.calls,
        alone=order.alone,
        fake=order.fake is not None,
        trial=found.trial,
        jitter_ms=found.jitter_ms,
        echoes=found.echoes,
        witness=witness.compare(scored, found.channel) if order.record else None,
        worst_case_usd=order.cost.usd if order.fake is None else None,
    )


def _sayable(order: Order, clips: Mapping[str, Clip]) -> tuple[PlannedCall, ...]:
    """The calls without the turns that have no clip."""
    calls = (
        replace(call, turns=tuple(turn for turn in call.turns if turn.key in clips)) for call in order.request.calls
    )
    kept = tuple(call for call in calls if call.turns)
    if not kept:
        raise HarnessError("nothing is left to be said in the calls")
    return kept


def _masked(turn: TurnRecord, order: Order) -> TurnRecord:
    return TurnRecord.model_validate(order.masker.data(json.loads(turn.model_dump_json())))


def _alias(planned: PlannedCall) -> str:
    """What the agent knows the call as."""
    return f"live-{planned.index}"
