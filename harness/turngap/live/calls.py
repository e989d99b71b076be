"""The calls of a smoke run, one after the other; each is scored while nothing else goes on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from turngap_agent.errors import LiveError

from turngap.caller.scheduler import Scheduler
from turngap.clock import NS_PER_MS
from turngap.live import dial, turns, witness
from turngap.live.agent_leg import AgentLeg, Answerer
from turngap.live.answerers import Echo, KnownDelay
from turngap.live.caller_leg import CallerLeg
from turngap.live.order import Order
from turngap.live.placing import INTERRUPTED, Phone, Placed, whatever_happens
from turngap.live.proxy import Proxy
from turngap.live.recordings import Recordings
from turngap.live.server import AMD, STATUS
from turngap.model.legs import LegTimes
from turngap.model.records import CallRecord, Clip
from turngap.model.turn import TurnRecord
from turngap.scenario import PlannedCall
from turngap.session.agent_run import Rig
from turngap.session.run_record import Progress
from turngap.session.runner import Audience
from turngap.session.scorer import Settled, recv_late_ms, send_late_ms
from turngap.store import recording
from turngap.store.folder import CALLS, RunFolder

SPANS_TIMEOUT_S = 3.0
RECORDING_TRIES = 20
RECORDING_WAIT_NS = 1_500 * NS_PER_MS


@dataclass(slots=True)
class Found:
    """What the calls gave, beside turns."""

    jitter_ms: list[float | None] = field(default_factory=list)
    echoes: list[LegTimes] = field(default_factory=list)
    channel: int | None = None
    trial: bool | None = None
    calls: int = 0


@dataclass(slots=True)
class Calls:
    """What they are placed and scored with."""

    order: Order
    clips: Mapping[str, Clip]
    phone: Phone
    rig: Rig | None
    folder: RunFolder
    progress: Progress
    found: Found
    scheduler: Scheduler
    audience: Audience

    async def place_all(self) -> None:
        """Place one call after the other, and the echo.

        Raises:
            LiveError: a call did not come to talking, or the phone's `stop` was set; the others are not placed.
        """
        for planned in self.order.request.calls:
            dialled: list[str] = []
            try:
                placed = await self._place(planned, self._answerer(planned), dialled, record=self.order.record)
                await self._score(planned, placed)
            finally:
                if self.order.record:
                    await whatever_happens(self._delete(planned, dialled))
            self._go_on()
        if self.order.echo is not None:
            placed = await self._place(self.order.echo, Echo(), [], record=False)
            assert placed.agent is not None
            self.found.echoes += turns.floor(placed.caller, placed.agent)
            self._go_on()

    def _go_on(self) -> None:
        if self.phone.stop.is_set():
            raise LiveError(INTERRUPTED)

    async def _delete(self, planned: PlannedCall, dialled: list[str]) -> None:
        for sid in dialled:
            left = await self._recordings.delete_all(sid, lambda: self.phone.clock.rest(RECORDING_WAIT_NS))
            if left:
                self.progress.notes.append(self.order.masker.text(f"call {planned.index}: {left}"))

    @property
    def _recordings(self) -> Recordings:
        return Recordings(self.phone.twilio)

    async def _place(
        self, planned: PlannedCall, answerer: Answerer | None, dialled: list[str], *, record: bool
    ) -> Placed:
        clock = self.phone.clock
        caller = CallerLeg(planned, self.clips, clock=clock, scheduler=self.scheduler, seed=self.order.request.seed)
        agent = AgentLeg(answerer, clock=clock) if answerer is not None else None
        order = self.order
        asked = dial.Asked(
            to=order.to,
            from_=order.from_,
            twiml="",
            status_callback=self.phone.server.public_url + STATUS,
            time_limit_s=order.time_limit_s,
            record=record,
            amd_callback=self.phone.server.public_url + AMD if order.voicemail_check else None,
        )
        self.found.calls += 1
        placed = await self.phone.place(asked, caller, agent, dialled)
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
        if self.order.record and not self.phone.stop.is_set():
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
        """The turns with what the recording says of them."""
        clock = self.phone.clock
        try:
            for _ in range(RECORDING_TRIES):
                listed = await self._recordings.listed(placed.sid)
                sids = [sid for sid, state in listed.items() if state == "completed"]
                if sids:
                    break
                await clock.rest(RECORDING_WAIT_NS)
            else:
                raise LiveError("Twilio has no finished recording of the call")  # noqa: TRY301  # told as the others
            channels = witness.read(await self._recordings.fetch(sids[0]))
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


def _masked(turn: TurnRecord, order: Order) -> TurnRecord:
    return TurnRecord.model_validate(order.masker.data(json.loads(turn.model_dump_json())))


def _alias(planned: PlannedCall) -> str:
    """What the agent knows the call as."""
    return f"live-{planned.index}"
