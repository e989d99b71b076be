"""Makes plausible turns, run records and run folders, for every test that needs something to render or to judge."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import soundfile
from turngap.model.agent_figures import AgentFigures, GpuFigures
from turngap.model.figures import CorpusFigures, Instrument, LatencyFigures, Lateness, Source, StageFigures
from turngap.model.result import Check, RunRecord, Verdict
from turngap.model.turn import Bar, Outcome, PathStep, StageTime, TurnRecord
from turngap.scenario import Expectation
from turngap.verdict import conversation, landings, stats, summary
from turngap_agent.tracing import Activity, Stage

NETWORK_MS = 95.0
MS = 1_000_000
TYPICAL_MS: dict[Activity, float] = {
    Activity.FRAMING_IN: 11.0,
    Activity.TRANSPORT_IN: 0.4,
    Activity.CONFIRMED_END: 312.0,
    Activity.TRANSCRIPTION: 118.0,
    Activity.FIRST_TOKEN: 62.0,
    Activity.FIRST_CLAUSE: 74.0,
    Activity.FIRST_AUDIO: 96.0,
    Activity.ENCODING: 1.6,
    Activity.TRANSPORT_OUT: 0.5,
    Activity.LEAD_IN: 13.0,
}
UTTERANCES = ("vm-goodbye", "please-enter-your", "you-entered", "tt-monkeysintro", "demo-congrats", "auth-thankyou")


def turn(
    index: int = 0,
    *,
    scale: float = 1.0,
    outcome: Outcome = Outcome.ANSWERED,
    spans: bool = True,
    speculative: bool = False,
    seed: int = 1,
    **changes: Any,
) -> TurnRecord:
    """One turn: log-normal stage times around `TYPICAL_MS * scale`, bars and path that add up to its gap.

    `speculative` lets transcription start 140 ms before the end is confirmed. `changes` replace fields at the end.
    """
    rng = np.random.default_rng((seed, index))
    took = {a: float(ms * scale * rng.lognormal(0, 0.12)) for a, ms in TYPICAL_MS.items()}
    took[Activity.FRAMING_IN] = float(rng.uniform(0, 20))
    bars, path, gap = _lay_out(took, speculative=speculative)
    heard = outcome not in (Outcome.MISSED, Outcome.FAILED)
    if outcome is Outcome.CUT_OFF:
        gap, spans = -180.0, False
    t0_ns = (10 + 8 * index) * 1000 * MS
    utterance = UTTERANCES[index % len(UTTERANCES)] + (f"-{index // len(UTTERANCES)}" if index >= 6 else "")
    words = 7
    record = TurnRecord(
        call=index,
        call_sid=f"CA{index:032x}",
        turn=0,
        utterance_id=utterance,
        stratum="sentence",
        warm_up=False,
        cold=False,
        scored=True,
        outcome=outcome,
        detail="" if outcome is Outcome.ANSWERED else _DETAIL[outcome],
        synthetic_caller=False,
        t0_ns=t0_ns,
        t1_ns=t0_ns + round(gap * MS) if heard else None,
        turn_gap_ms=gap if heard else None,
        turn_gap_frame_ms=gap - took[Activity.FRAMING_IN] if heard else None,
        perceived_gap_ms=gap + NETWORK_MS if heard else None,
        first_byte_ms=gap - took[Activity.LEAD_IN] if heard else None,
        substance_gap_ms=gap if heard and spans else None,
        perceived_substance_ms=gap + NETWORK_MS if heard and spans else None,
        substance_from="spans" if heard and spans else "",
        stages=_stages(bars, path) if heard and spans else None,
        stages_note="" if heard and spans else "the agent sent no spans for this turn",
        path=path if heard and spans else (),
        bars=bars if heard and spans else (),
        attempt=0 if spans else None,
        attempts=(2 if speculative else 1) if spans else None,
        reference="press one to hear the options again",
        transcript="press one to hear the options again" if spans else None,
        wer=0.0 if spans else None,
        word_errors=0 if spans else None,
        words=words if spans else None,
        reply="Of course, here are the options again." if spans else None,
        first_clause="Of course," if spans else None,
        silence_ms=0.0 if heard else None,
        clause_gap_ms=130.0 if heard else None,
        reply_ms=2140.0 if heard else None,
        lateness_send_ms=0.3,
        lateness_recv_ms=0.2,
        label_low_ms=8.0,
        label_high_ms=-6.0,
    )
    return record.model_copy(update=changes)


def turns(n: int, **arguments: Any) -> list[TurnRecord]:
    """`n` turns; `arguments` go to `turn`."""
    return [turn(index, **arguments) for index in range(n)]


def conversation_turns(n: int = 60) -> list[TurnRecord]:
    """Turns of every kind: pauses, noise with clean twins, barge-ins, backchannels, silence; some of each fail."""
    rng = np.random.default_rng(7)
    made: list[TurnRecord] = []
    for index in range(n):
        work = {"compute_ms": float(rng.normal(310, 30)), "wasted_ms": float(rng.choice([0.0, 0.0, 90.0, 160.0]))}
        kind = index % 6
        if kind == 0:
            made.append(turn(index, **work))
        elif kind == 1:
            bad = index == 7
            made.append(turn(index, pause_ms=400.0, outcome=Outcome.CUT_OFF if bad else Outcome.ANSWERED, **work))
        elif kind == 2:
            noise = {"condition": ("babble 5 dB", "pink 10 dB")[index % 4 // 2], "twin": made[-2].utterance_id}
            errors = int(rng.integers(0, 3))
            made.append(turn(index, word_errors=errors, wer=errors / 7, **noise, **work))
        elif kind == 3:
            stop = {"barge_in_stop_ms": float(rng.normal(190, 20)), "stale_ms": 0.0}
            talked = index == 9
            outcome = Outcome.TALKED_OVER if talked else Outcome.ANSWERED
            stop |= {"barge_in_stop_ms": 2300.0} if talked else {}
            made.append(
                turn(
                    index,
                    expectation=Expectation.STOP,
                    over_agent=True,
                    outcome=outcome,
                    talk_over_ms=stop["barge_in_stop_ms"],
                    **stop,
                    **work,
                )
            )
        elif kind == 4:
            stopped = index == 10
            made.append(
                unanswered(
                    index,
                    Expectation.IGNORE,
                    Outcome.STOPPED if stopped else Outcome.HELD,
                    went_on_ms=None if stopped else float(rng.choice([0.0, 260.0, 410.0])),
                    lost_ms=380.0 if stopped else 0.0,
                    repeated_ms=0.0,
                    wasted_ms=60.0,
                )
            )
        else:
            made.append(unanswered(index, Expectation.WAIT, Outcome.INTRUDED if index == 17 else Outcome.HELD))
    return made


def unanswered(index: int, expectation: Expectation, outcome: Outcome, **changes: Any) -> TurnRecord:
    """A turn that needs no answer, as scoring returns them: without gap, stages and words."""
    bare: dict[str, Any] = dict.fromkeys(
        (
            *("t1_ns", "turn_gap_ms", "turn_gap_frame_ms", "perceived_gap_ms", "first_byte_ms", "stages", "attempt"),
            *("transcript", "wer", "word_errors", "words", "reply", "first_clause", "reply_ms", "silence_ms"),
        )
    )
    bare |= {"path": (), "bars": (), "stages_note": "nothing was to be answered", "expectation": expectation}
    return turn(index, outcome=outcome, **(bare | {"over_agent": expectation is Expectation.IGNORE} | changes))


def run_record(turns: Sequence[TurnRecord], **changes: Any) -> RunRecord:
    """The record of a run that had those turns, its figures computed from them."""
    scored = [t for t in turns if t.scored]
    counted = [t for t in scored if t.outcome is not Outcome.INVALID]
    perceived = _figures(counted, "perceived_gap_ms")
    over = Counter(t.outcome for t in scored)
    talk = conversation.conversation_figures(counted)
    p95 = "not known" if perceived.p95 is None else f"{perceived.p95:.0f} ms"
    record = RunRecord(
        run_id="20260711T101500-cpu-default",
        started="2026-07-11T10:15:00Z",
        duration_s=12.0 * max(len(turns), 1),
        complete=True,
        verdict=Verdict.MEASURED,
        sentence=f"p95 perceived gap is {p95} over {len(scored)} turns of this fixed corpus; no budget was judged.",
        reasons=(),
        validity=(
            Check(name="turns", ok=True, text=f"{len(scored)} of {len(scored)} planned turns were scored"),
            Check(name="send lateness", ok=True, text="0 turns over 5 ms"),
            Check(name="calibration", ok=None, text="not checked: run with calibration to state the timing error"),
        ),
        profile="cpu",
        profile_data={"name": "cpu", "stt": {"engine": "faster_whisper", "model": "whisper-tiny.en"}},
        network_ms=NETWORK_MS,
        scenario="default",
        scenario_path="scenarios/default.scenario.yaml",
        scenario_sha256="5f" * 32,
        seed=1,
        planned_turns=len(scored),
        simultaneous_calls=1,
        n_turns=len(scored),
        outcomes=dict(over),
        turn_gap_ms=_figures(counted, "turn_gap_ms"),
        turn_gap_frame_ms=_figures(counted, "turn_gap_frame_ms"),
        perceived_gap_ms=perceived,
        first_byte_ms=_figures(counted, "first_byte_ms"),
        stages=_stage_figures(counted),
        wer=_wer(scored),
        cut_off_rate=talk.rates["cut_off_rate"],
        underrun_rate=stats.rate(over[Outcome.BROKEN], len(scored)),
        wer_upper=summary.compute_figures(scored)["wer_upper"],
        landings=landings.pool_landings(counted),
        wasted_attempts=sum((t.attempts or 1) - 1 for t in scored),
        conversation=talk,
        corpus=CorpusFigures(
            distinct_utterances=len({t.utterance_id for t in scored}),
            synthetic=0,
            strata={"sentence": len(scored)},
            sources=(Source(source="asterisk-core-sounds-en-wav (CC-BY-SA-3.0)", utterances=len(scored)),),
        ),
        instrument=Instrument(
            send=Lateness(p50_ms=0.02, p99_ms=0.4, max_ms=1.2),
            receive=Lateness(p50_ms=0.05, p99_ms=0.6, max_ms=1.9),
            label_low_ms=8.0,
            label_high_ms=-6.0,
        ),
        agent=AgentFigures(
            url="ws://127.0.0.1:40123/twilio/media",
            ready_s=6.4,
            rss_mib=871.0,
            cpu_s=64.0,
            loop_lag_p99_ms=2.1,
            models={
                "stt": "whisper tiny.en int8",
                "llm": "onnx smollm2-135m-instruct 8 bit",
                "tts": "hibari-tts 0.2.1",
            },
        ),
        gpus=None,
        environment={
            "os": "Linux 6.1",
            "python": "3.11.2",
            "cpu": {"model": "Example CPU", "count": 2},
            "packages": {"numpy": "2.0.0"},
        },
        notes=(),
    )
    return record.model_copy(update=changes)


def write_run(
    folder: Path,
    turns: Sequence[TurnRecord],
    *,
    gpu: bool = False,
    process: bool = True,
    audio: int = 0,
    torn: bool = False,
    **changes: Any,
) -> Path:
    """A run folder: run.json, turns.jsonl, process.csv and, if requested, gpu.csv and WAVs of the first turns."""
    folder.mkdir(parents=True, exist_ok=True)
    turns = [_with_audio(folder, t) if index < audio else t for index, t in enumerate(turns)]
    if gpu:
        changes.setdefault(
            "gpus",
            (GpuFigures(name="NVIDIA A100-SXM4-80GB", total_mib=81920, used_peak_mib=58200, used_before_mib=640),),
        )
        (folder / "gpu.csv").write_text(_gpu_csv(), "utf-8")
    if process:
        (folder / "process.csv").write_text(_process_csv(), "utf-8")
    record = run_record(turns, **changes)
    (folder / "run.json").write_text(record.model_dump_json(indent=2), "utf-8")
    lines = "".join(t.model_dump_json() + "\n" for t in turns)
    if torn:
        lines += lines[: len(lines) // max(len(turns), 1) // 2] if lines else '{"call": 1'
    (folder / "turns.jsonl").write_text(lines, "utf-8")
    return folder


_DETAIL = {
    Outcome.MISSED: "no answer within 6000 ms",
    Outcome.CUT_OFF: "the agent spoke 180 ms before the caller was done",
    Outcome.TRUNCATED: "the last word 'again' is not in the prompt that was answered",
    Outcome.WRONG: "word error rate 0.57 over the limit 0.34",
    Outcome.BROKEN: "playout ran dry for 160 ms",
    Outcome.FAILED: "the agent closed the socket (1011)",
    Outcome.HELD: "",
    Outcome.LIMITED: "",
    Outcome.INTRUDED: "the agent spoke after 900 ms although the caller said nothing",
    Outcome.STOPPED: "the agent's sentence did not go on",
    Outcome.TALKED_OVER: "the agent talked on for 1400 ms",
    Outcome.INVALID: "our own frames left up to 7.2 ms late",
}


def _lay_out(
    took: dict[Activity, float], *, speculative: bool, hole_ms: float = 1.5
) -> tuple[tuple[Bar, ...], tuple[PathStep, ...], float]:
    """Bars one after the other from t0 on, with a small hole before transcription, and the path through them."""
    bars: list[Bar] = []
    path: list[PathStep] = []

    def add(activity: Activity, start: float, *, on_path: bool = True) -> float:
        end = start + took[activity]
        bars.append(Bar(activity=activity, start_ms=start, end_ms=end))
        if on_path:
            path.append(PathStep(stage=activity.stage, start_ms=start, end_ms=end))
        return end

    at = add(Activity.TRANSPORT_IN, add(Activity.FRAMING_IN, 0.0))
    confirmed = at + took[Activity.CONFIRMED_END]
    took[Activity.PROVISIONAL_END] = took[Activity.CONFIRMED_END] - (140.0 if speculative else 0.0)
    add(Activity.CONFIRMED_END, at, on_path=False)
    at = add(Activity.PROVISIONAL_END, at)
    path.append(PathStep(stage=Stage.UNEXPLAINED, start_ms=at, end_ms=at + hole_ms))
    at += hole_ms
    for activity in (Activity.TRANSCRIPTION, Activity.FIRST_TOKEN, Activity.FIRST_CLAUSE, Activity.FIRST_AUDIO):
        at = add(activity, at)
    at = max(add(Activity.ENCODING, at), confirmed)
    at = add(Activity.LEAD_IN, add(Activity.TRANSPORT_OUT, at))
    order = list(Activity)
    return tuple(sorted(bars, key=lambda bar: order.index(bar.activity))), tuple(path), at


def _stages(bars: Sequence[Bar], path: Sequence[PathStep]) -> dict[Stage, StageTime]:
    stages: dict[Stage, StageTime] = {}
    for stage in Stage:
        exposed = sum(step.end_ms - step.start_ms for step in path if step.stage is stage)
        lengths = [bar.end_ms - bar.start_ms for bar in bars if bar.activity.stage is stage]
        if lengths or exposed:
            duration = max(lengths, default=exposed)
            stages[stage] = StageTime(duration_ms=duration, exposed_ms=exposed, slack_ms=0.0 if exposed else 140.0)
    return stages


def _figures(turns: Sequence[TurnRecord], name: str) -> LatencyFigures:
    return stats.latency_figures([getattr(t, name) if t.outcome is Outcome.ANSWERED else None for t in turns])


def _stage_figures(turns: Sequence[TurnRecord]) -> dict[Stage, StageFigures]:
    figures = {}
    for stage in Stage:
        times = [t.stages[stage] for t in turns if t.stages and stage in t.stages]
        if times:
            durations, exposed = [t.duration_ms for t in times], [t.exposed_ms for t in times]
            figures[stage] = StageFigures(
                n=len(times),
                p50_ms=float(np.quantile(durations, 0.5)),
                p95_ms=float(np.quantile(durations, 0.95)),
                exposed_p50_ms=float(np.quantile(exposed, 0.5)),
                exposed_p95_ms=float(np.quantile(exposed, 0.95)),
                slack_p50_ms=float(np.quantile([t.slack_ms for t in times], 0.5)),
            )
    return figures


def _wer(turns: Sequence[TurnRecord]) -> float | None:
    words = sum(t.words or 0 for t in turns)
    return sum(t.word_errors or 0 for t in turns) / words if words else None


def _with_audio(folder: Path, record: TurnRecord) -> TurnRecord:
    """A stereo call: 1.6 s of tone from the caller, the gap, 2 s of tone from the agent."""
    rate, t0_s = 8000, 2.0
    audio = np.zeros((round(7.0 * rate), 2), dtype=np.int16)
    tone = (6000 * np.sin(2 * np.pi * 220 * np.arange(len(audio)) / rate)).astype(np.int16)
    audio[round(0.4 * rate) : round(t0_s * rate), 0] = tone[round(0.4 * rate) : round(t0_s * rate)]
    if record.turn_gap_ms is not None:
        start = round((t0_s + record.turn_gap_ms / 1000) * rate)
        audio[start : start + 2 * rate, 1] = tone[start : start + 2 * rate]
    name = f"call-{record.call:04d}.wav"
    soundfile.write(folder / name, audio, rate, subtype="PCM_16")
    return record.model_copy(update={"audio": name, "audio_offset_ms": t0_s * 1000})


def _gpu_csv() -> str:
    rows = ["at_s,gpu,used_mib,util_percent"]
    rows += [f"{s / 5:.1f},0,{640 + min(s * 900, 57000) + (s % 7) * 80},{(s * 13) % 100}" for s in range(3000)]
    return "\n".join(rows) + "\n"


def _process_csv() -> str:
    rows = ["at_s,cpu_percent,rss_mib"]
    rows += [f"{s / 2:.1f},{40 + (s * 17) % 130},{700 + min(s, 60) * 2.7:.1f}" for s in range(480)]
    return "\n".join(rows) + "\n"


def as_json(record: RunRecord) -> dict[str, Any]:
    """The record as plain data."""
    data: dict[str, Any] = json.loads(record.model_dump_json())
    return data
