"""The books of a run: what `run.json` says when it begins, and what it says when it ends."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

import numpy as np
from turngap_agent.profile.limits import Price
from turngap_agent.telephony import FRAME_NS

from turngap.calibration.calibrate import Calibration
from turngap.calibration.sentinel import SentinelErrors
from turngap.model.agent_figures import AgentFigures, GpuWatch
from turngap.model.figures import CorpusFigures, Instrument, Lateness
from turngap.model.result import RunRecord, Verdict, caveat
from turngap.model.turn import Outcome, TurnRecord
from turngap.processes import process_log
from turngap.processes.agent import Ready
from turngap.processes.sampler import Sampler
from turngap.session.plan import Request, profile_data
from turngap.session.scoring_process import Floats, ScoredCall
from turngap.store import folder as store
from turngap.store.folder import RunFolder
from turngap.verdict import summary
from turngap.verdict.gate import Evidence, Judgement

_UNFINISHED = "The run has not ended; the figures are those of the turns that have."


@dataclass(slots=True)
class Progress:
    """What has happened so far."""

    turns: list[TurnRecord] = field(default_factory=list)
    send_late_ms: list[Floats] = field(default_factory=list)
    recv_late_ms: list[Floats] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    """What ended the run before its time, one line each."""
    call_s: float = 0.0
    """Length of the calls of this session that had turns to score."""
    answered: int = 0
    """Turns answered in them."""
    notes: list[str] = field(default_factory=list)
    calibration: Calibration | None = None
    sentinel: SentinelErrors | None = None
    gpu_watch: GpuWatch | None = None
    vram_peak_mib: float | None = None
    """On the agent's own GPU; None where it uses none, or is not ours (`--url`)."""

    def add(self, settled: ScoredCall) -> None:
        """Take in a call's turns; those of a call that is made again replace its earlier ones."""
        fresh = {(turn.call, turn.turn) for turn in settled.turns}
        self.turns = [turn for turn in self.turns if (turn.call, turn.turn) not in fresh]
        self.turns.extend(settled.turns)
        self.send_late_ms.append(settled.send_late_ms)
        self.recv_late_ms.append(settled.recv_late_ms)
        scored = [turn for turn in settled.turns if turn.scored]
        if scored:
            self.call_s += len(settled.send_late_ms) * FRAME_NS / 1e9
            self.answered += sum(turn.outcome is Outcome.ANSWERED for turn in scored)


def opened(request: Request, environment: dict[str, Any], unix_ns: int) -> RunRecord:
    """`run.json` as it stands until the run ends."""
    started = datetime.fromtimestamp(unix_ns / 1e9, UTC)
    return RunRecord(
        run_id=f"{started:%Y%m%dT%H%M%SZ}-{request.scenario.name}-{request.profile_name}",
        started=started.isoformat(timespec="seconds"),
        duration_s=0.0,
        complete=False,
        verdict=Verdict.INVALID,
        sentence=said(_UNFINISHED, profile_data(request)),
        reasons=("the run has not ended",),
        validity=(),
        profile=request.profile_name,
        profile_data=profile_data(request),
        network_ms=request.network_ms,
        scenario=request.scenario.name,
        scenario_path=str(request.scenario_path),
        scenario_sha256=request.scenario_sha256,
        seed=request.seed,
        planned_turns=request.planned_turns,
        simultaneous_calls=request.simultaneous_calls,
        networks={network.name: network.model_dump(mode="json") for network in request.networks},
        budget=request.budget.model_dump(mode="json") if request.budget is not None else None,
        corpus=CorpusFigures(distinct_utterances=0, synthetic=0, strata={}, sources=()),
        instrument=Instrument(send=None, receive=None, label_low_ms=None, label_high_ms=None),
        agent=AgentFigures(url=request.url or ""),
        gpus=None,
        environment=environment,
        **summary.compute_figures(()),
    )


def said(sentence: str, profile: Mapping[str, Any]) -> str:
    """A verdict's sentence with what is to be known of it where the `profile`, as data, has random weights."""
    known = caveat(profile)
    return sentence if known is None else f"{sentence} Profile {profile['name']}. {known}"


def evidence(request: Request, folder: RunFolder, progress: Progress) -> Evidence:
    """What the verdict takes into account beside the turns."""
    seen = process_log.figures(folder.path / store.PROCESS)
    answered = [turn for turn in progress.turns if turn.scored and turn.outcome is Outcome.ANSWERED]
    traced = request.url is None or any(turn.stages for turn in progress.turns)
    told = (turn.prefix_beyond_tokens for turn in progress.turns if turn.scored)
    beyond = [tokens for tokens in told if tokens is not None]
    return Evidence(
        planned_turns=request.planned_turns,
        complete=not progress.faults,
        simultaneous_calls=request.simultaneous_calls,
        foreign_cpu_share=seen.foreign_cpu_share if request.url is None else None,
        stolen_cpu_share=seen.stolen_cpu_share if request.url is None else None,
        prefix_flattered=sum(tokens > 0 for tokens in beyond) if beyond else None,
        weightless=request.profile is not None and request.profile.weightless,
        prefix_cached=request.profile is not None and request.profile.llm.keeps_prompts,
        lost_spans=sum(turn.stages is None for turn in answered) if traced else 0,
        vram_peak_mib=progress.vram_peak_mib,
        gpu=progress.gpu_watch,
        faults=tuple(progress.faults),
        calibration_bias_ms=progress.calibration.bias_ms if progress.calibration is not None else None,
        sentinel_bias_ms=progress.sentinel.bias_median_ms if progress.sentinel is not None else None,
        sentinel_samples=progress.sentinel.n if progress.sentinel is not None else 0,
        sentinel_missed=progress.sentinel.missed if progress.sentinel is not None else 0,
        sentinel_watched=progress.sentinel.watched_share if progress.sentinel is not None else None,
    )


def closed(
    opening: RunRecord,
    folder: RunFolder,
    progress: Progress,
    judgement: Judgement,
    *,
    sources: dict[str, str],
) -> RunRecord:
    """`run.json` of a run that has ended, by itself or not."""
    scored = [turn for turn in progress.turns if turn.scored]
    complete = not progress.faults and len(scored) >= opening.planned_turns
    seen = process_log.figures(folder.path / store.PROCESS)
    price = opening.profile_data.get("price")
    low, high = summary.label_uncertainty_ms(progress.turns)
    send, receive = lateness(progress.send_late_ms), lateness(progress.recv_late_ms)
    return opening.model_copy(
        update=summary.compute_figures(progress.turns)
        | {
            "duration_s": round(opening.duration_s, 3),
            "complete": complete,
            "verdict": judgement.verdict,
            "sentence": said(judgement.sentence, opening.profile_data),
            "reasons": judgement.reasons,
            "validity": judgement.checks,
            "cost": summary.compute_cost(
                Price.model_validate(price) if price else None,
                opening.simultaneous_calls,
                progress.call_s,
                progress.answered,
            ),
            "corpus": summary.corpus_figures(progress.turns, sources),
            "instrument": Instrument(
                send=send,
                receive=receive,
                label_low_ms=low,
                label_high_ms=high,
                foreign_cpu_share=seen.foreign_cpu_share,
                stolen_cpu_share=seen.stolen_cpu_share,
                calibration=progress.calibration.to_json() if progress.calibration is not None else None,
                sentinel=progress.sentinel.to_json() if progress.sentinel is not None else None,
            ),
            "gpu_watch": progress.gpu_watch,
            "agent": opening.agent.model_copy(update={"rss_mib": seen.rss_mib, "cpu_s": seen.cpu_s}),
            "notes": tuple(dict.fromkeys([*opening.notes, *progress.notes])),  # a resumed run notes its corpus again
        }
    )


def with_agent(record: RunRecord, ready: Ready, sampler: Sampler) -> RunRecord:
    """The record with what is known of agent and GPUs once they stand."""
    agent = AgentFigures(
        url=ready.url, ready_s=ready.ready_s, models=ready.models, memory_mib=ready.memory_mib, gpu=ready.gpu
    )
    environment = {
        **record.environment,
        "gpu": [each.name for each in sampler.gpus] or sampler.no_gpu_reason,
        "gpu_driver": sampler.driver,
        "gpu_processes": sampler.gpu_processes,
        **({"gpu_used": ready.gpu.model_dump()} if ready.gpu is not None else {}),
    }
    return record.model_copy(update={"agent": agent, "environment": environment})


def lateness(late_ms: Sequence[Floats]) -> Lateness | None:
    """Percentiles over all frames; None of none."""
    late = np.concatenate([np.empty(0), *late_ms])
    if not len(late):
        return None
    p50, p99, largest = (float(value) for value in np.percentile(late, [50, 99, 100]))
    return Lateness(p50_ms=p50, p99_ms=p99, max_ms=largest)
