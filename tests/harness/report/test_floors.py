"""Distances to the floor in a run: what a stage could give at most, from the critical path."""

from __future__ import annotations

from typing import Any

import pytest
from turngap.model.stage_document import StageDocument
from turngap.model.turn import Bar
from turngap.report import floors, machine
from turngap_agent.tracing import Activity

from tests.harness import report_builders as builders


def document(stage: str, distance: float, parts: dict[str, Any] | None = None, **changes: Any) -> StageDocument:
    floor = {"ms": 10.0, "measured_ms": 10.0 * distance, "distance": distance, "cache": "", "parts": parts or {}}
    return StageDocument.model_validate({"stage": stage, "profile": "cpu", "engine": "e", "floor": floor} | changes)


def part(distance: float, bound: str = "memory bytes") -> dict[str, Any]:
    return {"floor_ms": 4.0, "measured_ms": 4.0 * distance, "distance": distance, "bound": bound}


TURNS = builders.turns(40)


def test_what_is_at_its_floor_can_give_nothing() -> None:
    """Distance 1: as fast as the machine allows. A distance below 1 is an error of measurement, and counts as 1."""
    for distance in (1.0, 0.8):
        (row,) = floors.list_floors({"stt": document("stt", distance)}, TURNS)
        assert (row.distance, row.p50_ms, row.p95_ms) == (1.0, 0.0, 0.0)


def test_a_stage_on_the_path_gives_what_is_over_its_floor() -> None:
    """Every stage of these turns waits for the one before: three quarters of the transcription at distance 4."""
    (row,) = floors.list_floors({"stt": document("stt", 4.0)}, TURNS)
    assert row.activity is Activity.TRANSCRIPTION
    assert row.p50_ms == pytest.approx(0.75 * row.exposed_ms, rel=0.2)
    assert 0 < row.p95_ms < 200


def test_what_ran_beside_other_work_gives_nothing() -> None:
    """A reply that is ready before the end is confirmed: however slow its transcription was, nobody waited for it."""
    times = {
        Activity.TRANSPORT_IN: (0.0, 1.0),
        Activity.PROVISIONAL_END: (1.0, 50.0),
        Activity.CONFIRMED_END: (1.0, 400.0),
        Activity.TRANSCRIPTION: (50.0, 150.0),
        Activity.FIRST_TOKEN: (150.0, 200.0),
        Activity.FIRST_CLAUSE: (200.0, 220.0),
        Activity.FIRST_AUDIO: (220.0, 300.0),
        Activity.ENCODING: (300.0, 302.0),
        Activity.TRANSPORT_OUT: (400.0, 401.0),
        Activity.LEAD_IN: (401.0, 410.0),
    }
    bars = tuple(Bar(activity=each, start_ms=start, end_ms=end) for each, (start, end) in times.items())
    turn = builders.turn(0, bars=bars, turn_gap_ms=410.0)
    (row,) = floors.list_floors({"stt": document("stt", 1e6)}, [turn])
    assert (row.p50_ms, row.p95_ms) == (0.0, 0.0)


def test_prefill_is_the_first_token_and_decoding_the_first_clause() -> None:
    """Each by the distance of its own part; an engine without such parts by its whole."""
    parts = {"prefill": part(2.0, "operations"), "decode": part(5.0)}
    rows = floors.list_floors({"llm": document("llm", 4.5, parts)}, TURNS)
    assert [(row.activity, row.distance, row.bound) for row in rows] == [
        (Activity.FIRST_TOKEN, 2.0, "operations"),
        (Activity.FIRST_CLAUSE, 5.0, "memory bytes"),
    ]
    whole = floors.list_floors({"llm": document("llm", 4.5)}, TURNS)
    assert [row.distance for row in whole] == [4.5, 4.5]


def test_all_floors_together_are_no_sum() -> None:
    """They are counted on the path, once for all, and never more than the gap."""
    stages = {"stt": document("stt", 3.0), "llm": document("llm", 3.0), "tts": document("tts", 3.0)}
    together = floors.compute_gain_of_all_floors(stages, TURNS)
    assert together is not None
    single = floors.list_floors(stages, TURNS)
    assert together[0] >= max(row.p50_ms for row in single)
    assert together[1] < max(turn.turn_gap_ms or 0.0 for turn in TURNS)
    assert floors.compute_gain_of_all_floors({}, TURNS) is None
    assert floors.list_floors(stages, builders.turns(3, spans=False)) == ()


def test_the_first_to_change_gives_most_at_p95() -> None:
    """Not the one that is farthest from its floor."""
    stages = {"stt": document("stt", 1.5), "tts": document("tts", 2.0), "llm": document("llm", 1.0)}
    rows = floors.list_floors(stages, TURNS)
    sentence = machine.describe_first(rows, floors.compute_gain_of_all_floors(stages, TURNS))
    best = max(rows, key=lambda row: row.p95_ms)
    assert f"{best.distance:.1f} times what its bytes and operations need" in sentence
    assert f"at most {best.p95_ms:.0f} ms shorter" in sentence
    at_floor = {"stt": document("stt", 1.0)}
    text = machine.describe_first(
        floors.list_floors(at_floor, TURNS), floors.compute_gain_of_all_floors(at_floor, TURNS)
    )
    assert text.startswith("No stage at its floor would make p95 shorter")
    assert machine.describe_first((), None) == ""


def test_a_stage_without_a_floor_says_why() -> None:
    """Its reason is that of `turngap stage`."""
    without = document("tts", 1.0, floor=None, reasons={"floor_ms": "its work is not counted"})
    assert floors.list_floors({"tts": without}, TURNS) == ()
    assert without.no_floor == "its work is not counted"
