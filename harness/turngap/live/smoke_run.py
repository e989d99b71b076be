"""One smoke run: starts the processes, checks everything before dialling, places the calls, saves the result."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from turngap_agent.errors import HarnessError, TurngapError, UsageError

from turngap.caller.call import place_call
from turngap.caller.priority import raised_priority
from turngap.caller.scheduler import Scheduler
from turngap.clock import Clock
from turngap.live import preflight, recording_comparison, run_summary
from turngap.live.call_ledger import CallLedger
from turngap.live.call_placement import CallPlacer
from turngap.live.call_runner import CallRunner, RunMeasurements
from turngap.live.server import VOICE, LiveServer, open_listener, serve_app
from turngap.live.smoke_plan import SmokePlan
from turngap.live.twilio_api import TwilioClient
from turngap.model.live import LiveSummary
from turngap.model.records import Clip
from turngap.model.result import RunRecord
from turngap.model.turn import TurnRecord
from turngap.processes import child
from turngap.processes.agent import RunningAgent
from turngap.scenario import PlannedCall
from turngap.session import run_record
from turngap.session.agent_processes import AgentProcesses, start_agents
from turngap.session.agent_run import AgentRun, close_run
from turngap.session.preparation import prepare
from turngap.session.run_record import Progress
from turngap.session.runner import FinishedRun, ProgressDisplay, calibrate_instrument
from turngap.store.folder import AGENT_LOG, RunFolder
from turngap.verdict.gate import Evidence, Judgement

RUN_AGAIN = "run `turngap smoke` again"
"""What to do about an unfinished run: a live run can't be resumed, as its calls have ended."""


async def run_live(plan: SmokePlan, display: ProgressDisplay, *, clock: Clock, stop: asyncio.Event) -> FinishedRun:
    """Run a plan and save the result. Setting `stop` ends the current call; its finished turns are kept.

    Cancelling the task ends the call too, without scoring its turns, and raises `CancelledError` after saving.

    Raises:
        UsageError: something that can be known before dialling is wrong; nothing was dialled.
        HarnessError: the run's folder can't be written.
    """
    started_ns = clock.now_ns()
    clips, notes = plan.clips, []
    if clips is None:
        _, corpus = prepare(plan.request, display.show_message)
        clips, notes = corpus.clips, list(corpus.notes)
        plan = replace(plan, request=replace(plan.request, calls=_calls_with_clips(plan, clips)))
    progress, measured = Progress(notes=notes), RunMeasurements()
    record = await _new_record(plan, clock)
    agent_run: AgentRun | None = None
    error: TurngapError | None = None
    with raised_priority():
        try:
            async with AsyncExitStack() as stack:
                scheduler = await stack.enter_async_context(Scheduler(clock).running())
                server = await _start_server(plan, stack, clock)
                twilio = await _connect_twilio(plan, server, stack)
                await _check_before_dialling(plan, server, twilio, measured, clock, display)
                ledger_path = plan.ledger or Path(stack.enter_context(TemporaryDirectory())) / "live-calls.json"
                ledger = stack.enter_context(CallLedger(ledger_path))
                ledger.check(plan.cost.calls, clock.unix_ns())
                folder = RunFolder.create(plan.request.options.out, record.run_id, record)
                record = record.model_copy(update={"run_id": folder.path.name})
                agent_run = AgentRun(plan.request, folder, record, progress, started_ns)
                if plan.fake is None:
                    progress.calibration = await calibrate_instrument(display, clock=clock, scheduler=scheduler)
                processes: AgentProcesses | None = None
                if plan.request.profile is not None:
                    started = await stack.enter_async_context(start_agents([agent_run], display.show_message))
                    processes = started[agent_run.name]
                    agent_run.record = run_record.with_agent(record, processes.agent.ready, processes.sampler)
                    await _warm_up(plan, processes.agent, clips, clock, scheduler)
                placer = CallPlacer(twilio, server, ledger, clock, display.show_message, stop)
                calls = CallRunner(plan, clips, placer, processes, folder, progress, measured, scheduler, display)
                display.show_message(plan.cost.sentence if plan.fake is None else "the fake Twilio: no telephone rings")
                display.show_start(sum(len(call.turns) for call in plan.request.calls))
                await calls.run_all()
        except TurngapError as raised:
            if agent_run is None:
                raise
            error = type(raised)(plan.masker.text(str(raised)), code=raised.code)
            progress.errors.append(str(error))
        except asyncio.CancelledError:
            if agent_run is None:
                raise
            progress.errors.append("the run was interrupted")
            _save(plan, agent_run, measured, clips, clock)
            raise
    assert agent_run is not None
    record = _save(plan, agent_run, measured, clips, clock)
    return FinishedRun(record, agent_run.folder, error)


async def _start_server(plan: SmokePlan, stack: AsyncExitStack, clock: Clock) -> LiveServer:
    listener = stack.enter_context(open_listener(plan.host, plan.port))
    public_url = plan.public_url or f"http://127.0.0.1:{listener.getsockname()[1]}"
    server = LiveServer(public_url, plan.credentials.auth_token, clock)
    await stack.enter_async_context(serve_app(server.app(), listener))
    return server


async def _connect_twilio(plan: SmokePlan, server: LiveServer, stack: AsyncExitStack) -> TwilioClient:
    """Return the client for Twilio, or for a fake that is started here."""
    base_url = None
    if plan.fake is not None:
        settings = plan.fake.model_copy(update={"voice_url": server.public_url + VOICE})
        process = await child.start_child(child.python_command("turngap.live.fake"), stderr=None)
        stack.push_async_callback(child.stop_child, process, grace_s=2.0)
        assert process.stdin is not None
        process.stdin.write(settings.model_dump_json().encode() + b"\n")
        ready = await child.read_hello(process, "the fake Twilio")
        base_url = str(ready["api"])
    twilio = TwilioClient(plan.credentials, plan.masker, base_url)
    stack.push_async_callback(twilio.close)
    return twilio


async def _check_before_dialling(
    plan: SmokePlan,
    server: LiveServer,
    twilio: TwilioClient,
    measured: RunMeasurements,
    clock: Clock,
    display: ProgressDisplay,
) -> None:
    """Check what only Twilio and the network know: the public URL, the account's numbers, the voice URL.

    Raises:
        UsageError, LiveError: a call could not work; none was placed.
    """
    await preflight.check_public_url(server, clock)
    measured.trial = await twilio.is_trial()
    if measured.trial:
        display.show_message(run_summary.TRIAL)
    if await twilio.voice_url(plan.from_) is None:
        raise UsageError("the number to call from does not belong to this Twilio account")
    if not plan.caller_leg_only:
        voice_url = await twilio.voice_url(plan.to)
        if voice_url is None:
            raise UsageError(
                "the agent's number does not belong to this Twilio account; use --to for a number of another account"
            )
        if voice_url != server.public_url + VOICE:
            raise UsageError(
                f"calls to the agent's number do not come to this machine: set its voice URL (HTTP POST) to "
                f"PUBLIC-URL{VOICE} in Twilio's console"
            )


async def _warm_up(
    plan: SmokePlan, agent: RunningAgent, clips: Mapping[str, Clip], clock: Clock, scheduler: Scheduler
) -> None:
    """Make one local call to the agent, so that its first turn is not part of a telephone call.

    Raises:
        HarnessError: the agent did not answer it.
    """
    first = plan.request.calls[0].turns[:1]
    planned = PlannedCall(len(plan.request.calls) + 1, first, probe=True, warm_up=True)
    record = await place_call(
        agent.ready.url, planned, clips, clock=clock, scheduler=scheduler, seed=1, auth_token="", call_sid="warm-up"
    )
    if not record.spoken:
        raise HarnessError(f"the agent did not answer the warm-up call: {record.detail}")


async def _new_record(plan: SmokePlan, clock: Clock) -> RunRecord:
    """Return the record of a run that starts now."""
    record = await run_record.new_record(plan.request, clock, live=True)
    stamp = record.run_id.partition("-")[0]
    return record.model_copy(
        update={
            "run_id": f"{stamp}-live-{plan.request.scenario.name}-{plan.label}",
            "profile": plan.label,
            "network_ms": 0.0,
            "telephone": None,
        }
    )


def _save(
    plan: SmokePlan, agent_run: AgentRun, measured: RunMeasurements, clips: Mapping[str, Clip], clock: Clock
) -> RunRecord:
    """Judge the run and save it, with every text masked once more."""

    def judge(turns: Sequence[TurnRecord], evidence: Evidence) -> Judgement:
        return run_summary.judge_live_run(turns, replace(evidence, lost_spans=0, completion=RUN_AGAIN))

    def finish(record: RunRecord) -> RunRecord:
        record = record.model_copy(update={"live": _summarise(plan, tuple(agent_run.progress.turns), measured)})
        return RunRecord.model_validate(plan.masker.data(record.model_dump(mode="json")))

    record = close_run(agent_run, clips, clock, judge=judge, finish=finish, says_words=plan.responder_delay_ms is None)
    log = agent_run.folder.path / AGENT_LOG
    if log.is_file():  # the agent knows aliases only, but text that it makes up may look like a SID
        log.write_text(plan.masker.text(log.read_text("utf-8", "replace")), "utf-8")
    return record


def _summarise(plan: SmokePlan, scored: tuple[TurnRecord, ...], measured: RunMeasurements) -> LiveSummary:
    return run_summary.summarise_live_run(
        scored,
        calls=measured.calls,
        alone=plan.caller_leg_only,
        fake=plan.fake is not None,
        trial=measured.trial,
        jitter_ms=measured.jitter_ms,
        echoes=measured.echoes,
        witness=recording_comparison.compare_with_recording(scored, measured.channel) if plan.record else None,
        worst_case_usd=plan.cost.usd if plan.fake is None else None,
    )


def _calls_with_clips(plan: SmokePlan, clips: Mapping[str, Clip]) -> tuple[PlannedCall, ...]:
    """Return the calls without the turns that have no clip.

    Raises:
        HarnessError: no turn has a clip.
    """
    calls = (
        replace(call, turns=tuple(turn for turn in call.turns if turn.key in clips)) for call in plan.request.calls
    )
    usable = tuple(call for call in calls if call.turns)
    if not usable:
        raise HarnessError("no turn of the calls has a usable clip")
    return usable
