"""`benchmarks.stages`: what it makes of two runs of a stage."""

from __future__ import annotations

from typing import Any

from benchmarks.stages import judge


def run(scale: float = 1.0, **changes: Any) -> dict[str, Any]:
    """A document of a synthesiser, `scale` times as slow."""
    times = [scale * (100.0 + place % 5) for place in range(20)]
    return {
        "each_ms": {"first_output": [value / 2 for value in times], "clause": times},
        "split_ms": {},
        "split_share": 1.001,
        "floor_ms": 30.0,
        "distance_to_floor": 3.4,
        "reasons": {},
    } | changes


def broken(*runs: dict[str, Any]) -> list[str]:
    """The promises that do not hold."""
    return [promise.promise for promise in judge({"tts": runs}) if promise.holds is False]


def test_equal_runs_keep_every_promise() -> None:
    """And a run that is a fifth slower does not agree, in first output and whole."""
    assert not broken(run(), run())
    assert broken(run(), run(1.2)) == ["tts: two runs agree, first_output", "tts: two runs agree, clause"]


def test_parts_that_do_not_add_up_and_what_is_too_fast_are_found() -> None:
    """Each in its own promise; so is a field that is null without a reason."""
    assert broken(run(), run(split_share=0.95)) == ["tts: parts add up to the whole within 2 %"]
    assert broken(run(), run(distance_to_floor=0.9)) == ["tts: no faster than its floor"]
    assert broken(run(), run(memory_mib=None)) == ["tts: what is null has a reason"]
    explained = {"split_ms": "it has no parts"} | dict.fromkeys(("floor_ms", "distance_to_floor"), "it has no model")
    without = run(split_ms=None, split_share=None, floor_ms=None, distance_to_floor=None, reasons=explained)
    assert not broken(without, without)
