"""No figure changes: a recorded call and a recorded run give what version 0df9552 gave for them."""

from __future__ import annotations

import base64
import json
import re
import shutil
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from turngap import export, report
from turngap.model.records import CallEnd, CallRecord, Clip, MarkSeen, Received, Spoken
from turngap.model.turn import Outcome, TurnRecord
from turngap.scenario import Expectation, PlannedCall, Turn
from turngap.scoring.score import score_call
from turngap.store import folder as store
from turngap.verdict import budget, comparison, gate, summary
from turngap.verdict.validity import Evidence
from turngap_agent.telephony import mulaw
from turngap_agent.tracing import Span

from tests.harness import report_builders

RECORDED = Path(__file__).parent / "recorded"
RUN = RECORDED / "run-0df9552"
BASELINE = Path(__file__).parents[2] / "results" / "baselines" / "cpu-two-shared-cores.json"
FRAME_NS = 20_000_000
LATER_CHECKS = ("runs of misses", "autocorrelation", "stretches", "sentinel's spread")
"""Checks that version 0df9552 did not have."""
LATER_VERDICTS = {"conversation": "FAIL"}
"""Verdicts whose definition has changed: a limit that is shown to be missed fails though another can't be judged."""


def test_a_recorded_call_is_scored_as_before() -> None:
    """Every field of every turn, from the outcome to the pieces of the critical path."""
    expected = read_json("turns.json")
    turns = recorded_turns()
    for turn, old in zip(turns, expected, strict=True):
        new = dump(turn)
        for sentence in ("detail", "stages_note"):  # wording may improve: its facts may not change
            assert numbers_in(new.pop(sentence)) == numbers_in(old.pop(sentence))
        assert without_later_fields(new, old) == old
    assert {turn.outcome for turn in turns} == {Outcome.ANSWERED, Outcome.WRONG, Outcome.CUT_OFF, Outcome.HELD}


@pytest.mark.parametrize("name", ["recorded", "conversation", "fast", "slow", "few", "some missed"])
def test_figures_and_verdicts_are_as_before(name: str) -> None:
    """All figures that `run.json` has of turns, the verdict, and which checks hold."""
    turns, expected = case_turns()[name], read_json("figures.json")[name]
    evidence = Evidence(
        planned_turns=len(turns),
        complete=True,
        calibration_bias_ms=0.2,
        sentinel_bias_ms=0.3,
        sentinel_samples=40,
        sentinel_watched=1.0,
        foreign_cpu_share=0.02,
        stolen_cpu_share=0.0,
    )
    limits = expected["budget"] and budget.load_budget(expected["budget"])
    if limits:  # sub500 did not limit cut-offs in pauses then, and the turns have none
        before = tuple(limit for limit in limits.limits if limit.metric != "pause_cut_off_rate")
        limits = limits.model_copy(update={"limits": before})
    judgement = gate.judge_run([with_content_at_once(turn) for turn in turns], evidence, limits)
    assert judgement.verdict.value == LATER_VERDICTS.get(name, expected["verdict"])
    checks = {check.name: check.ok for check in judgement.checks if check.name not in LATER_CHECKS}
    assert checks == expected["checks"]
    record = summary.recompute_figures(report_builders.run_record(turns), turns)
    figures = json.loads(record.model_dump_json())
    assert_same({key: figures[key] for key in expected["figures"]}, expected["figures"])


def with_content_at_once(turn: TurnRecord) -> TurnRecord:
    """What version 0df9552 took for granted: the first sound is the answer. Budgets now limit the first content too."""
    times = {"substance_gap_ms": turn.turn_gap_ms, "perceived_substance_ms": turn.perceived_gap_ms}
    return turn.model_copy(update={**times, "substance_from": "spans"} if turn.turn_gap_ms is not None else {})


def test_an_old_run_folder_loads_without_loss() -> None:
    """Whatever `run.json` and `turns.jsonl` held is written again as it was, and its figures follow from its turns."""
    run = store.read_run(RUN)
    data = json.loads((RUN / "run.json").read_text("utf-8"))
    assert without_later_fields(json.loads(run.record.model_dump_json()), data) == data
    lines = [json.loads(line) for line in (RUN / "turns.jsonl").read_text("utf-8").splitlines()]
    assert [without_later_fields(dump(turn), line) for turn, line in zip(run.turns, lines, strict=True)] == lines
    recomputed = json.loads(summary.recompute_figures(run.record, run.turns).model_dump_json())
    # The bounds on word errors are others since they hold by utterance.
    assert_same(without_word_bounds(without_later_fields(recomputed, data)), without_word_bounds(data))


def test_an_old_run_is_reported_compared_and_exported(tmp_path: Path) -> None:
    """Beside a baseline that is the run itself, nothing has changed."""
    out = tmp_path / "report.html"
    report.render_report(RUN, out, RUN)
    page = out.read_text("utf-8")
    assert "20261130T130430Z-mixed-cpu" in page
    run = store.read_run(RUN)
    assert next(iter(comparison.compare_turns(run.turns, run.turns).rows)).found.median_change_ms in (0.0, None)
    assert export.export_run(RUN, "csv").count("\n") == len(run.turns) + 1
    assert len(json.loads(export.export_run(RUN, "perfetto"))["traceEvents"]) > 50


def test_a_baseline_without_turns_is_still_read(tmp_path: Path) -> None:
    """`results/baselines/` holds `run.json` alone: it loads without loss and has a report."""
    shutil.copy(BASELINE, tmp_path / "run.json")
    data = json.loads(BASELINE.read_text("utf-8"))
    assert without_later_fields(json.loads(store.read_run(tmp_path).record.model_dump_json()), data) == data
    report.render_report(tmp_path, tmp_path / "report.html")
    assert "20261122T232933Z-default-cpu" in (tmp_path / "report.html").read_text("utf-8")


def recorded_turns() -> list[TurnRecord]:
    """The recorded call as this version scores it."""
    data = read_json("call.json")
    turns = tuple(Turn.model_validate(turn) for turn in data["planned"])
    planned = PlannedCall(index=data["call"]["index"], turns=turns, probe=False)
    spans = [
        Span(*fields, {key: tuple(value) if isinstance(value, list) else value for key, value in attributes.items()})
        for *fields, attributes in data["spans"]
    ]
    return score_call(call_record(data["call"]), spans, planned, network_ms=95.0, cold=False)


def call_record(data: dict[str, Any]) -> CallRecord:
    """The call; the caller's own audio is left out, as nothing is scored by it."""
    silence = np.zeros(0, np.int16)
    late_ns = unpack(data["sent_late_ns"])
    audio = mulaw.decode(zlib.decompress(base64.b64decode(data["received_mulaw"])))
    received, at = [], 0
    for recv_ns, play_ns, samples, played in data["received"]:
        received.append(Received(recv_ns, play_ns, audio[at : at + samples], played))
        at += samples
    spoken = []
    for one in data["spoken"]:
        clip = one["clip"] | {"pauses": tuple(map(tuple, one["clip"]["pauses"]))}
        expectation = Expectation(one["expectation"])
        spoken.append(Spoken(**one | {"clip": Clip(pcm=silence, **clip), "expectation": expectation}))
    return CallRecord(
        index=data["index"],
        call_sid=data["call_sid"],
        stream_sid=data["stream_sid"],
        started_ns=data["started_ns"],
        sent_ns=late_ns + data["started_ns"] + np.arange(len(late_ns)) * FRAME_NS + data["lead_ns"],
        caller_pcm=silence,
        spoken=tuple(spoken),
        received=tuple(received),
        marks=tuple(MarkSeen(*mark) for mark in data["marks"]),
        clears_ns=tuple(data["clears_ns"]),
        stalls=np.array(data["stalls"], np.int64).reshape(-1, 2),
        ended_ns=data["ended_ns"],
        end=CallEnd(data["end"]),
        detail=data["detail"],
        warm_up=data["warm_up"],
        lost_frames=tuple(data["lost_frames"]),
        network=data["network"],
        chunks=None if data["chunks"] is None else np.cumsum(unpack(data["chunks"])),
        lead_ns=data["lead_ns"],
    )


def case_turns() -> dict[str, list[TurnRecord]]:
    """The turns of each case in `figures.json`."""
    outcomes = {40: Outcome.MISSED, 50: Outcome.INVALID}
    few_faults = [
        report_builders.turn(index, scale=0.3, outcome=outcomes.get(index, Outcome.ANSWERED)) for index in range(140)
    ]
    return {
        "recorded": recorded_turns(),
        "conversation": report_builders.conversation_turns(60),
        "fast": report_builders.turns(120, scale=0.3),
        "slow": report_builders.turns(120),
        "few": report_builders.turns(20),
        "some missed": few_faults,
    }


def assert_same(new: object, old: object, where: str = "") -> None:
    """The same keys and values; numbers agree to 1e-9 of their size, for they are sums in another library's order."""
    if isinstance(old, dict):
        assert isinstance(new, dict), where
        assert list(new) == list(old), where
        for key in old:
            assert_same(new[key], old[key], f"{where}.{key}")
    elif isinstance(old, list):
        assert isinstance(new, list), where
        assert len(new) == len(old), where
        for place, (one, other) in enumerate(zip(new, old, strict=True)):
            assert_same(one, other, f"{where}[{place}]")
    elif isinstance(old, float):
        assert new == pytest.approx(old, rel=1e-9, abs=1e-12), where
    else:
        assert new == old, where


def dump(turn: TurnRecord) -> Any:
    """The turn as a line of `turns.jsonl`."""
    return json.loads(turn.model_dump_json())


def without_later_fields(new: Any, old: Any) -> Any:
    """`new` without the fields that the format got after `old` was written; they have defaults."""
    if isinstance(new, dict) and isinstance(old, dict):
        return {key: without_later_fields(value, old[key]) for key, value in new.items() if key in old}
    if isinstance(new, list) and isinstance(old, list) and len(new) == len(old):
        return [without_later_fields(*pair) for pair in zip(new, old, strict=True)]
    return new


def without_word_bounds(data: dict[str, Any]) -> dict[str, Any]:
    """A run's record without the upper bounds on its word error rates."""
    conditions = {name: figures | {"upper": None} for name, figures in data["conversation"]["wer"].items()}
    return data | {"wer_upper": None, "conversation": data["conversation"] | {"wer": conditions}}


def numbers_in(text: str) -> list[str]:
    """The figures in a sentence."""
    return re.findall(r"\d+(?:\.\d+)?", text)


def read_json(name: str) -> Any:
    """A recorded file."""
    return json.loads((RECORDED / name).read_text("utf-8"))


def unpack(text: str) -> Any:
    """An int64 array, shape (n,)."""
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), np.int64)
