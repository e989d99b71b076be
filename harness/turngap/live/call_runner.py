"""Places the calls of a smoke run one after the other, and scores each before the next one starts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field

from turngap_agent.errors import LiveError

from turngap.caller.lateness import recv_late_ms, send_late_ms
from turngap.caller.scheduler import Scheduler
from turngap.clock import NS_PER_MS
from turngap.live import live_scoring, recording_comparison, twilio_api
from turngap.live.agent_leg import AgentLeg, Responder
from turngap.live.call_placement import INTERRUPTED, CallPlacer, FinishedCall, finish_despite_cancellation
from turngap.live.caller_leg import CallerLeg
from turngap.live.responders import AgentProxy, EchoResponder, FixedDelayResponder
from turngap.live.server import AMD, STATUS
from turngap.live.smoke_plan import SmokePlan
from turngap.live.twilio_recordings import TwilioRecordings
from turngap.model.live import LegTimes
from turngap.model.records import CallRecord, Clip
from turngap.model.turn import TurnRecord
from turngap.scenario import PlannedCall
from turngap.session.agent_processes import AgentProcesses
from turngap.session.run_record import Progress
from turngap.session.runner import ProgressDisplay
from turngap.session.scoring_process import ScoredCall
from turngap.store import recording
from turngap.store.folder import CALLS, RunFolder

SPANS_TIMEOUT_S = 3.0
RECORDING_TRIES = 20
RECORDING_WAIT_NS = 1_500 * NS_PER_MS


@dataclass(slots=True)
class RunMeasurements:
    """What was measured in the calls of a run, apart from turns."""

    jitter_ms: list[float | None] = field(default_factory=list)
    echoes: list[LegTimes] = field(default_factory=list)
    channel: int | None = None
    trial: bool | None = None
    calls: int = 0


@dataclass(slots=True)
class CallRunner:
    """Places and scores the calls; holds what they need."""

    plan: SmokePlan
    clips: Mapping[str, Clip]
    placer: CallPlacer
    processes: AgentProcesses | None
    folder: RunFolder
    progress: Progress
    measured: RunMeasurements
    scheduler: Scheduler
    display: ProgressDisplay

    async def run_all(self) -> None:
        """Place one call after the other, then the echo call.

        Raises:
            LiveError: a call did not reach the conversation, or `placer.stop` was set; the other calls are not placed.
        """
        for planned in self.plan.request.calls:
            dialled: list[str] = []
            try:
                finished = await self._place(planned, self._responder(planned), dialled, record=self.plan.record)
                await self._score(planned, finished)
            finally:
                if self.plan.record:
                    await finish_despite_cancellation(self._delete(planned, dialled))
            self._check_stopped()
        if self.plan.echo is not None:
            finished = await self._place(self.plan.echo, EchoResponder(), [], record=False)
            assert finished.agent is not None
            self.measured.echoes += live_scoring.measure_echo(finished.caller, finished.agent)
            self._check_stopped()

    def _check_stopped(self) -> None:
        if self.placer.stop.is_set():
            raise LiveError(INTERRUPTED)

    async def _delete(self, planned: PlannedCall, dialled: list[str]) -> None:
        for sid in dialled:
            warning = await self._recordings.delete_all(sid, lambda: self.placer.clock.sleep_ns(RECORDING_WAIT_NS))
            if warning:
                self.progress.notes.append(self.plan.masker.text(f"call {planned.index}: {warning}"))

    @property
    def _recordings(self) -> TwilioRecordings:
        return TwilioRecordings(self.placer.twilio)

    async def _place(
        self, planned: PlannedCall, responder: Responder | None, dialled: list[str], *, record: bool
    ) -> FinishedCall:
        clock = self.placer.clock
        caller = CallerLeg(planned, self.clips, clock=clock, scheduler=self.scheduler, seed=self.plan.request.seed)
        agent = AgentLeg(responder, clock=clock) if responder is not None else None
        plan = self.plan
        call_request = twilio_api.CallRequest(
            to=plan.to,
            from_=plan.from_,
            twiml="",
            status_callback=self.placer.server.public_url + STATUS,
            time_limit_s=plan.time_limit_s,
            record=record,
            amd_callback=self.placer.server.public_url + AMD if plan.voicemail_check else None,
        )
        self.measured.calls += 1
        finished = await self.placer.place(call_request, caller, agent, dialled)
        notes = [*finished.notes, *finished.caller.record.warnings]
        if isinstance(responder, AgentProxy):
            notes += responder.warnings
        try:
            notes += await self.placer.twilio.warnings(finished.sid)
        except LiveError as error:
            notes.append(str(error))
        self.progress.notes += [plan.masker.text(f"call {planned.index}: {note}") for note in dict.fromkeys(notes)]
        self.measured.jitter_ms += [
            finished.caller.jitter_ms,
            finished.agent.jitter_ms if finished.agent is not None else None,
        ]
        return finished

    async def _score(self, planned: PlannedCall, finished: FinishedCall) -> None:
        edge: CallRecord = finished.caller.record
        if finished.agent is None:
            scored = live_scoring.score_caller_leg(finished.caller, planned, cold=False)
        else:
            alias = _make_alias(planned)
            collected = None
            if self.processes is not None:
                collected = await self.processes.receiver.collect(alias, SPANS_TIMEOUT_S)
            scored, edge = live_scoring.score_both_legs(
                finished.caller, finished.agent, planned, collected.spans if collected else (), alias=alias, cold=False
            )
        if self.plan.record and not self.placer.stop.is_set():
            scored = await self._check_recording(finished, scored)
        if len(edge.caller_pcm) and scored:
            audio = f"{CALLS}/{planned.index:04d}.wav"
            recording.write_wav(self.folder.path / audio, recording.make_stereo(edge))
            scored = [
                turn.model_copy(update={"audio": audio, "audio_offset_ms": (turn.t0_ns - edge.started_ns) / NS_PER_MS})
                for turn in scored
            ]
        own = finished.caller.record
        scored = [_mask_turn(turn, self.plan) for turn in scored]
        self.folder.append(scored)
        self.progress.add(ScoredCall(tuple(scored), send_late_ms(own), recv_late_ms(own)))
        for turn in scored:
            self.display.show_turn(turn)

    async def _check_recording(self, finished: FinishedCall, scored: list[TurnRecord]) -> list[TurnRecord]:
        """Return the turns with the mouth-to-ear times measured in Twilio's recording."""
        clock = self.placer.clock
        try:
            for _ in range(RECORDING_TRIES):
                listed = await self._recordings.states_by_sid(finished.sid)
                sids = [sid for sid, state in listed.items() if state == "completed"]
                if sids:
                    break
                await clock.sleep_ns(RECORDING_WAIT_NS)
            else:
                raise LiveError("Twilio has no finished recording of the call")  # noqa: TRY301  # noted as the others
            channels = recording_comparison.read_channels(await self._recordings.fetch(sids[0]))
            own = recording_comparison.find_caller_channel(channels, finished.caller)
            if own is None:
                raise LiveError("the caller is in neither channel of the recording")  # noqa: TRY301
        except LiveError as error:
            self.progress.notes.append(self.plan.masker.text(f"the recording could not be used as a check: {error}"))
            return scored
        self.measured.channel = own
        totals_ms = recording_comparison.measure_mouth_to_ear_ms(channels, own, finished.caller, finished.agent, scored)
        return [
            turn
            if turn.live is None or index >= len(totals_ms)
            else turn.model_copy(update={"live": turn.live.model_copy(update={"witness_ms": totals_ms[index]})})
            for index, turn in enumerate(scored)
        ]

    def _responder(self, planned: PlannedCall) -> Responder | None:
        if self.plan.caller_leg_only:
            return None
        if self.processes is not None:
            return AgentProxy(self.processes.agent.ready.url, _make_alias(planned), clock=self.placer.clock)
        assert self.plan.responder_delay_ms is not None
        return FixedDelayResponder(self.plan.responder_delay_ms, self.scheduler)


def _mask_turn(turn: TurnRecord, plan: SmokePlan) -> TurnRecord:
    return TurnRecord.model_validate(plan.masker.data(json.loads(turn.model_dump_json())))


def _make_alias(planned: PlannedCall) -> str:
    """Return the name under which the agent knows the call."""
    return f"live-{planned.index}"
