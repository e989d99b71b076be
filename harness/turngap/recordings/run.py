"""A run from recordings: reads the calls one after the other, judges their turns and writes the run folder."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
from turngap_agent.errors import UsageError, write_error

from turngap.annotations import Annotations
from turngap.clock import NS_PER_MS, Clock
from turngap.model.agent_figures import AgentFigures
from turngap.model.budget import Budget
from turngap.model.figures import Instrument
from turngap.model.plural import plural
from turngap.model.recorded import ENDS_BY_HAND, FROM_RECORDINGS, RecordedCall, RecordingSummary
from turngap.model.result import DEFINITIONS, Check, RunRecord
from turngap.model.turn import TurnRecord
from turngap.network.telephone import TelephoneNetwork, plan_delays_ms
from turngap.processes import environment
from turngap.recordings.call_record import MeasuredCall, measure_call, median_uncertainty_ms
from turngap.recordings.call_talk import find_talk
from turngap.recordings.figures import compute_recorded_figures
from turngap.recordings.judgement import judge_recordings
from turngap.recordings.sound import CODE, SPAN_RATE, CallSound, read_span
from turngap.store import disk
from turngap.store import recording as wav_files
from turngap.store.folder import CALLS, RunFolder
from turngap.verdict import intervals, summary
from turngap.verdict.telephone import describe_network, vary_network

RECORDINGS = "recordings.jsonl"
"""In the run folder: each `RecordedCall` with all of its talk, one a line."""
PROFILE = "recordings"
MOST_EXCERPTS = 24
"""Turns whose audio is kept: the representative, the worst, and those that went wrong first."""
BEFORE_S, AFTER_S = 4.0, 6.0
NO_LEDGER = "no ledger entry: a recording is no attempt on a build"
OVER_NETWORK = "recordings are taken to be made at the agent's media edge; --at-ear if at the caller's ear"


@dataclass(frozen=True, slots=True)
class RecordingPlan:
    """What a run from recordings is made of."""

    calls: tuple[CallSound, ...]
    """Those that can be read."""
    name: str
    caller: int | None = None
    """The caller's channel, 0 or 1; None: taken for the left one."""
    labels: Mapping[str, Annotations] = field(default_factory=dict)
    """Hand labels by the call's name."""
    budget: Budget | None = None
    network: TelephoneNetwork | None = None
    """Added to turn gaps as the perceived gap; None: recorded at the caller's ear."""
    out: Path = Path("results")
    left_out: tuple[str, ...] = ()
    """Recordings that cannot be read, one line each."""
    notes: tuple[str, ...] = ()
    """What is not used though it was given, one line each."""


@dataclass(frozen=True, slots=True)
class RecordedRun:
    """A finished run from recordings."""

    path: Path
    record: RunRecord
    calls: tuple[RecordedCall, ...]
    """With all of their talk."""


def measure_recordings(plan: RecordingPlan, clock: Clock, on_progress: Callable[[str], None]) -> RecordedRun:
    """Measure the calls of a plan and write the run folder; calls that can't be scored are in it, with the reason.

    Raises:
        UsageError: no call can be scored, or the folder can't be made.
        HarnessError: the disk is full.
    """
    started_ns, unix_ns = clock.now_ns(), clock.unix_ns()
    delays_ms = plan_delays_ms(plan.network, len(plan.calls)) if plan.network is not None else (0.0,) * len(plan.calls)
    names = _turn_names(plan.calls)
    measured, left_out = [], list(plan.left_out)
    for index, (sound, delay_ms) in enumerate(zip(plan.calls, delays_ms, strict=True)):
        try:
            talk = find_talk(sound)
        except UsageError as error:
            left_out.append(str(error))
            continue
        labels = plan.labels.get(sound.name)
        call = measure_call(
            sound, talk, call=index, name=names[index], caller=plan.caller, labels=labels, network_ms=delay_ms
        )
        measured.append(call)
        for remark in call.record.remarks:
            if remark != call.sides.refused:  # said once, by the error or beside the others' results
                on_progress(f"{sound.name}: {remark}")
    refused = [f"{call.record.file}: {call.sides.refused}" for call in measured if not call.record.scored]
    if not any(turn.scored for call in measured for turn in call.turns):
        lines = [*left_out, *refused] or [
            f"{call.record.file}: no turn: the caller says nothing that could be answered" for call in measured
        ]
        raise UsageError("\n".join(lines), code=CODE)
    for line in (*plan.notes, *refused):
        on_progress(line)
    turns = tuple(turn for call in measured for turn in call.turns)
    record = _make_record(plan, measured, turns, unix_ns, left_out, refused)
    folder = RunFolder.create(plan.out, record.run_id, record)
    turns = _write_excerpts(folder.path, plan, measured, turns)
    folder.replace_turns(turns)
    entries = "".join(call.record.model_dump_json() + "\n" for call in measured)
    disk.replace_file(folder.path / RECORDINGS, entries)
    duration_s = (clock.now_ns() - started_ns) / 1e9
    record = record.model_copy(update={"run_id": folder.path.name, "duration_s": round(duration_s, 3)})
    folder.write(record)
    return RecordedRun(folder.path, record, tuple(call.record for call in measured))


def _make_record(
    plan: RecordingPlan,
    measured: Sequence[MeasuredCall],
    turns: tuple[TurnRecord, ...],
    unix_ns: int,
    left_out: Sequence[str],
    refused: Sequence[str],
) -> RunRecord:
    scored = [turn for turn in turns if turn.scored]
    by_hand = all(call.record.ends_from == "labels" for call in measured if call.record.scored)
    uncertainty_ms = median_uncertainty_ms(turns)
    judged = judge_recordings(turns, plan.budget, uncertainty_ms=uncertainty_ms, by_hand=by_hand)
    telephone = None if plan.network is None else describe_network(plan.network)
    low_ms, high_ms = summary.label_uncertainty_ms(turns)
    started = datetime.fromtimestamp(unix_ns / 1e9, UTC)
    sources = {turn.utterance_id: f"recording {turn.call_sid}" for turn in scored}
    scored_calls = {turn.call for turn in scored}
    notes = [f"{plural(len(scored), 'scored turn')} of {plural(len(scored_calls), 'recording')}"]
    notes += [OVER_NETWORK] if telephone is not None else []
    notes += [NO_LEDGER] if plan.budget is not None else []
    notes += [f"not scored: {line}" for line in (*left_out, *refused)]
    return RunRecord(
        definitions=DEFINITIONS,
        run_id=f"{started:%Y%m%dT%H%M%SZ}-{plan.name}-{PROFILE}",
        started=started.isoformat(timespec="seconds"),
        duration_s=0.0,
        complete=True,
        verdict=judged.verdict,
        sentence=judged.sentence,
        reasons=judged.reasons,
        validity=(_check_recordings(len(plan.calls) + len(plan.left_out), [*left_out, *refused]), *judged.checks),
        profile=PROFILE,
        profile_data={},
        network_ms=0.0 if telephone is None else telephone.median_ms,
        telephone=None if telephone is None else vary_network(telephone, scored, plan.budget),
        scenario=plan.name,
        scenario_path=str(plan.calls[0].first.path.parent),
        scenario_sha256=_hash_names(plan.calls),
        seed=0,
        planned_turns=len(scored),
        simultaneous_calls=1,
        budget=plan.budget.model_dump(mode="json") if plan.budget is not None else None,
        corpus=summary.corpus_figures(turns, sources),
        instrument=Instrument(send=None, receive=None, label_low_ms=low_ms, label_high_ms=high_ms),
        agent=AgentFigures(url=""),
        gpus=None,
        environment=environment.describe_machine(),
        intervals=intervals.compute_intervals(turns, plan.budget),
        recording=RecordingSummary(
            sentence=ENDS_BY_HAND if by_hand else FROM_RECORDINGS,
            calls=tuple(call.record.model_copy(update={"talk": (), "speech": None}) for call in measured),
            gap_uncertainty_ms=uncertainty_ms,
        ),
        notes=tuple(notes),
        **compute_recorded_figures(turns),
    )


def _check_recordings(calls: int, unscored: Sequence[str]) -> Check:
    """Say how many recordings are scored; the others may be those with the worst turns."""
    text = f"{calls - len(unscored)} of {plural(calls, 'recording')} scored"
    if not unscored:
        return Check(name="recordings", ok=True, text=text)
    return Check(name="recordings", ok=None, warning=True, text=f"{text}; not scored: {'; '.join(unscored)}")


def _turn_names(calls: Sequence[CallSound]) -> list[str]:
    """Return what the turns' ids begin with: the file's stem, with the call's number where two have the same."""
    stems = [re.sub(r"[^\w.-]+", "_", call.first.path.stem) for call in calls]
    return [stem if stems.count(stem) == 1 else f"{stem}-{index + 1}" for index, stem in enumerate(stems)]


def _hash_names(calls: Sequence[CallSound]) -> str:
    """Return a hash that tells sets of recordings apart: of their names and sizes."""
    parts = [f"{track.path.name}:{track.path.stat().st_size}" for call in calls for track in (call.first, call.second)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


def _write_excerpts(
    folder: Path, plan: RecordingPlan, measured: Sequence[MeasuredCall], turns: tuple[TurnRecord, ...]
) -> tuple[TurnRecord, ...]:
    """Write the audio around the turns worth hearing, caller left, and return the turns with their files."""
    examples = [turn for turn in (summary.representative_turn(turns), summary.worst_turn(turns)) if turn is not None]
    wrong = [turn for turn in turns if turn.scored and not turn.is_good]
    kept = {(turn.call, turn.turn) for turn in [*examples, *wrong][:MOST_EXCERPTS]}
    caller_tracks = {call.record.call: call.sides.caller for call in measured}
    with_files = []
    for turn in turns:
        if (turn.call, turn.turn) not in kept:
            with_files.append(turn)
            continue
        t0_s = turn.t0_ns / 1e9
        from_s = max(0.0, t0_s - BEFORE_S)
        length_s = t0_s - from_s + (turn.turn_gap_ms or 0.0) / 1000 + AFTER_S
        span = read_span(plan.calls[turn.call], from_s, round(length_s * SPAN_RATE) / SPAN_RATE)
        caller = caller_tracks[turn.call]
        pcm = np.stack([span[caller], span[1 - caller]], axis=1)
        name = f"{CALLS}/{turn.utterance_id}.wav"
        samples = np.clip(np.rint(pcm * 32_768), -32_768, 32_767).astype(np.int16)
        try:
            wav_files.write_wav(folder / name, samples)
        except OSError as error:
            raise write_error(f"{folder / name}: cannot be written", error) from None
        offset_ms = turn.t0_ns / NS_PER_MS - from_s * 1000
        with_files.append(turn.model_copy(update={"audio": name, "audio_offset_ms": offset_ms}))
    return tuple(with_files)
