"""The record of a run, `run.json`: as it is when the run starts, and when it has ended."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from turngap_agent.profile.sections import Price
from turngap_agent.telephony import FRAME_NS

from turngap.calibration.calibrate import Calibration
from turngap.calibration.sentinel import SentinelErrors
from turngap.caller.lateness import Floats, summarise_lateness
from turngap.clock import Clock
from turngap.findings import summarise_findings
from turngap.model.agent_figures import AgentFigures, GpuWatch
from turngap.model.figures import CorpusFigures, Instrument
from turngap.model.result import DEFINITIONS, LedgerSummary, ResumeState, RunRecord, Verdict, caveat
from turngap.model.turn import Outcome, TurnRecord
from turngap.processes import environment, health_turns, process_log
from turngap.processes.agent import Ready
from turngap.processes.sampler import Sampler
from turngap.session.request import Request
from turngap.session.scoring_process import ScoredCall
from turngap.session.stopping import Decided
from turngap.store import folder as store
from turngap.store.folder import RunFolder
from turngap.verdict import intervals, summary
from turngap.verdict.content_sample import ContentSample
from turngap.verdict.gate import Evidence, Judgement
from turngap.verdict.planned import list_planned
from turngap.verdict.speech import name_speech
from turngap.verdict.stopping import plan_run
from turngap.verdict.telephone import describe_network, vary_network

_UNFINISHED = "The run has not ended; the figures are those of the turns that have."
Judge = Callable[[Sequence[TurnRecord], Evidence], Judgement]


@dataclass(slots=True)
class Progress:
    """What a session has measured of a run so far, earlier sessions' turns included."""

    turns: list[TurnRecord] = field(default_factory=list)
    send_late_ms: list[Floats] = field(default_factory=list)
    recv_late_ms: list[Floats] = field(default_factory=list)
    errors: list[str] = field(default_factory=list)
    """What ended the run early, one line each."""
    call_s: float = 0.0
    """Total length of this session's calls that had turns to score."""
    calls: int = 0
    """Number of those calls."""
    answered: int = 0
    """Answered turns of those calls."""
    notes: list[str] = field(default_factory=list)
    calibration: Calibration | None = None
    sentinel: SentinelErrors | None = None
    gpu_watch: GpuWatch | None = None
    not_readable: dict[str, str] = field(default_factory=dict)
    """What this machine does not tell of a process, and why."""
    vram_peak_mib: float | None = None
    """On the agent's GPU; None where it uses none, or is reached by a URL."""
    content: ContentSample | None = None
    """Replies whose clauses were compared with what was heard."""
    decided: Decided | None = None
    """What the turns so far decide: no further call is placed then."""

    def add(self, call: ScoredCall) -> None:
        """Add a call's turns; those of a call that is placed again replace its earlier ones."""
        fresh = {(turn.call, turn.turn) for turn in call.turns}
        self.turns = [turn for turn in self.turns if (turn.call, turn.turn) not in fresh]
        self.turns.extend(call.turns)
        self.decided = self.decided or call.decided
        self.send_late_ms.append(call.send_late_ms)
        self.recv_late_ms.append(call.recv_late_ms)
        scored = [turn for turn in call.turns if turn.scored]
        if scored:
            self.call_s += len(call.send_late_ms) * FRAME_NS / 1e9
            self.calls += 1
            self.answered += sum(turn.outcome is Outcome.ANSWERED for turn in scored)


async def new_record(request: Request, clock: Clock, *, live: bool = False) -> RunRecord:
    """Return the record of a run that starts now on this machine; `live` marks live calls."""
    machine = environment.describe_machine()
    machine["timer_late_p99_ms"] = await environment.measure_timer_late_p99_ms(clock)
    options = request.options
    state = ResumeState(inject=options.inject, agent_nice=options.agent_nice, live=live, all_turns=options.all_turns)
    # The state is in the field `resume` too: versions of turngap without that field read it in `environment`, and an
    # agent that they resumed without its delays would be another one.
    machine |= {"live": True} if live else {"agent_nice": state.agent_nice, "inject": list(state.inject)}
    return initial_record(request, machine, state, clock.unix_ns())


def initial_record(request: Request, machine: dict[str, Any], state: ResumeState, unix_ns: int) -> RunRecord:
    """Return the record as it is until the run ends; `machine` becomes its `environment`."""
    started = datetime.fromtimestamp(unix_ns / 1e9, UTC)
    telephone = describe_network(request.telephone_network)
    return RunRecord(
        definitions=DEFINITIONS,
        run_id=f"{started:%Y%m%dT%H%M%SZ}-{request.scenario.name}-{request.profile_name}",
        started=started.isoformat(timespec="seconds"),
        duration_s=0.0,
        complete=False,
        verdict=Verdict.INVALID,
        sentence=with_caveat(_UNFINISHED, request.profile_data),
        reasons=("the run has not ended",),
        validity=(),
        profile=request.profile_name,
        profile_data=request.profile_data,
        network_ms=telephone.median_ms,
        telephone=telephone,
        scenario=request.scenario.name,
        scenario_path=str(request.scenario_path),
        scenario_sha256=request.scenario_sha256,
        seed=request.seed,
        spans=request.mapping,
        planned_turns=request.planned_turns,
        simultaneous_calls=request.simultaneous_calls,
        networks={network.name: network.model_dump(mode="json") for network in request.networks},
        budget=request.budget.model_dump(mode="json") if request.budget is not None else None,
        stopping_plan=plan_run(request.budget, list_planned(request.calls)) if request.budget is not None else None,
        corpus=CorpusFigures(distinct_utterances=0, synthetic=0, strata={}, sources=()),
        instrument=Instrument(send=None, receive=None, label_low_ms=None, label_high_ms=None),
        agent=AgentFigures(url=request.url or "", dialect=request.dialect),
        gpus=None,
        contentless=request.scenario.contentless,
        environment=machine,
        resume=state,
        **summary.compute_figures(()),
    )


def resumed_record(record: RunRecord, earlier: RunRecord) -> RunRecord:
    """Return the record of a resumed run: this session's `record` with the identity of the `earlier` one."""
    fields: dict[str, object] = {"run_id": earlier.run_id, "started": earlier.started, "duration_s": earlier.duration_s}
    fields |= {"stopping_plan": earlier.stopping_plan}
    fields["definitions"] = earlier.definitions  # of the turns that it already has: they are not measured again
    return record.model_copy(update={**fields, "notes": earlier.notes, "ledger": earlier.ledger})


def with_caveat(sentence: str, profile: Mapping[str, Any]) -> str:
    """Return a verdict's sentence, with a caveat where the `profile`, as data, has random weights."""
    text = caveat(profile)
    return sentence if text is None else f"{sentence} Profile {profile['name']}. {text}"


def name_speech_of(judgement: Judgement, corpus: CorpusFigures) -> str:
    """Return a verdict's sentence with the speech that its figure was measured on; INVALID has no figure."""
    judged = judgement.verdict is not Verdict.INVALID
    return name_speech(judgement.sentence, corpus) if judged else judgement.sentence


def with_ledger(record: RunRecord, summary: LedgerSummary) -> RunRecord:
    """Return the record with its place in the ledger; the verdict's sentence says so if its build has others."""
    sentence = f"{record.sentence} {summary.sentence}" if sum(summary.counts.values()) > 1 else record.sentence
    return record.model_copy(update={"ledger": summary, "sentence": sentence})


def collect_evidence(request: Request, folder: RunFolder, progress: Progress) -> Evidence:
    """Return the evidence that the verdict uses in addition to the turns."""
    usage = process_log.summarise_process(folder.path / store.PROCESS)
    traced = request.url is None or any(turn.stages for turn in progress.turns)
    scored = [turn for turn in progress.turns if turn.scored]
    answered = [turn for turn in scored if turn.outcome is Outcome.ANSWERED]
    beyond = [turn.prefix_beyond_tokens for turn in scored if turn.prefix_beyond_tokens is not None]
    return Evidence(
        planned_turns=request.planned_turns,
        own_openings=request.scenario.own_openings,
        complete=not progress.errors,
        completion=f"`{store.resume_command(folder.path)}` places its missing calls",
        simultaneous_calls=request.simultaneous_calls,
        foreign_cpu_share=usage.foreign_cpu_share if request.url is None else None,
        stolen_cpu_share=usage.stolen_cpu_share if request.url is None else None,
        prefix_flattered=sum(tokens > 0 for tokens in beyond) if beyond else None,
        external_agent=request.url is not None,
        weightless=request.profile is not None and request.profile.weightless,
        prefix_cached=request.profile is not None and request.profile.llm.keeps_prompts,
        lost_spans=sum(turn.stages is None for turn in answered) if traced else None,
        vram_peak_mib=progress.vram_peak_mib,
        gpu=progress.gpu_watch,
        faults=tuple(progress.errors),
        content=progress.content,
        stopped_early=progress.decided.sentence if progress.decided is not None else "",
        calibration_bias_ms=progress.calibration.bias_ms if progress.calibration is not None else None,
        sentinel_bias_ms=progress.sentinel.bias_median_ms if progress.sentinel is not None else None,
        sentinel_samples=progress.sentinel.n if progress.sentinel is not None else 0,
        sentinel_over_share=progress.sentinel.over_limit_share if progress.sentinel is not None else None,
        sentinel_p99_ms=progress.sentinel.p99_abs_ms if progress.sentinel is not None else None,
        sentinel_missed=progress.sentinel.missed if progress.sentinel is not None else 0,
        sentinel_watched=progress.sentinel.watched_share if progress.sentinel is not None else None,
    )


def final_record(
    record: RunRecord,
    folder: RunFolder,
    progress: Progress,
    judgement: Judgement,
    *,
    sources: dict[str, str],
) -> RunRecord:
    """Return the record of a run that has ended, complete or not; `sources` are those of its clips, by key."""
    scored = [turn for turn in progress.turns if turn.scored]
    decided = progress.decided
    stopped_early = decided.sentence if decided is not None and len(scored) < record.planned_turns else ""
    complete = not progress.errors and (bool(stopped_early) or len(scored) >= record.planned_turns)
    usage = process_log.summarise_process(folder.path / store.PROCESS)
    price = record.profile_data.get("price")
    low, high = summary.label_uncertainty_ms(progress.turns)
    corpus = summary.corpus_figures(progress.turns, sources)
    sentence = name_speech_of(judgement, corpus)
    send, receive = summarise_lateness(progress.send_late_ms), summarise_lateness(progress.recv_late_ms)
    return record.model_copy(
        update=summary.compute_figures(progress.turns)
        | {
            "intervals": intervals.compute_intervals(progress.turns, record.budget),
            "duration_s": round(record.duration_s, 3),
            "complete": complete,
            "stopped_early": stopped_early,
            "verdict": judgement.verdict,
            "sentence": with_caveat(sentence, record.profile_data),
            "reasons": judgement.reasons,
            "validity": judgement.checks,
            "cost": summary.compute_cost(
                Price.model_validate(price) if price else None,
                record.simultaneous_calls,
                progress.call_s,
                progress.answered,
                calls=progress.calls,
            ),
            "findings": summarise_findings(progress.turns),
            "corpus": corpus,
            "instrument": Instrument(
                send=send,
                receive=receive,
                label_low_ms=low,
                label_high_ms=high,
                foreign_cpu_share=usage.foreign_cpu_share,
                stolen_cpu_share=usage.stolen_cpu_share,
                calibration=progress.calibration.to_json() if progress.calibration is not None else None,
                sentinel=progress.sentinel.to_json() if progress.sentinel is not None else None,
            ),
            "telephone": record.telephone and vary_network(record.telephone, scored, record.budget),
            "gpu_watch": progress.gpu_watch,
            "health": health_turns.summarise_health(progress.turns, progress.not_readable) or record.health,
            "agent": record.agent.model_copy(update={"rss_mib": usage.rss_mib, "cpu_s": usage.cpu_s}),
            "notes": tuple(dict.fromkeys([*record.notes, *progress.notes])),  # a resumed run repeats some
        }
    )


def with_agent(record: RunRecord, ready: Ready, sampler: Sampler) -> RunRecord:
    """Return the record with what is known of the agent and the GPUs once the agent has started."""
    agent = AgentFigures(
        url=ready.url,
        dialect=record.agent.dialect,
        ready_s=ready.ready_s,
        models=ready.models,
        memory_mib=ready.memory_mib,
        gpu=ready.gpu,
    )
    machine = {
        **record.environment,
        "gpu": [each.name for each in sampler.gpus] or sampler.no_gpu_reason,
        "gpu_driver": sampler.driver,
        "gpu_processes": sampler.gpu_processes,
        **({"gpu_used": ready.gpu.model_dump()} if ready.gpu is not None else {}),
    }
    return record.model_copy(update={"agent": agent, "environment": machine})
