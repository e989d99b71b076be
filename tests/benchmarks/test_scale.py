"""The fleet's simulation: times without a queue add up, work is conserved, more calls wait longer; arithmetic."""

from __future__ import annotations

from dataclasses import replace

import pytest
from turngap_agent.errors import UsageError

pytest.importorskip("simpy", reason="SimPy is not installed: it is in the dependency group `test`")

from benchmarks.scale import TALK, check_held_out, fit_core, read_loads
from benchmarks.scale_fleet import MEASURED, Need, frame_bytes, kv_bytes, network_mbit_s
from benchmarks.scale_points import Point
from benchmarks.scale_simulation import LOOP, FrameStation, Machine, Station, Talk, most_calls, simulate

QUIET = Talk(speech_s=1.0, reply_s=1.0, pause_s=1.0, silence_ms=200)


def test_one_call_waits_for_nobody() -> None:
    """Its gap is the silence and the work of every stage, exactly."""
    machine = Machine(QUIET, (Station("stt", 40), Station("llm", 60, servers=None)), FrameStation("tts", 5))
    seen = simulate(machine, 1, seconds=60)
    assert len(seen.gaps_ms) > 10
    assert seen.gaps_ms == pytest.approx([305.0] * len(seen.gaps_ms))
    assert seen.late_pieces == 0


def test_work_is_conserved() -> None:
    """A station is busy for as long as its jobs take: throughput times work, also while the rest of a reply goes on."""
    seen = simulate(Machine(QUIET, (Station("llm", 30, 4, rest_ms=20),)), 20, seconds=100)
    assert seen.busy_s["llm"] == pytest.approx(0.05 * len(seen.waited_ms["llm"]))
    loop = simulate(Machine(QUIET, loop_us=100.0), 10, seconds=20)
    assert loop.busy(LOOP) == pytest.approx(10 * 50 * 100e-6, rel=0.05)


def test_more_calls_wait_longer_and_some_number_is_too_many() -> None:
    """A station that is asked for more than it can do has a queue that grows; the most calls are below that."""
    machine = Machine(QUIET, (Station("stt", 100),))
    waits = [simulate(machine, calls, seconds=100).gap(0.95) for calls in (1, 16, 64)]
    assert waits[0] < waits[1] < waits[2]
    most = most_calls(machine, 500.0, seconds=100)
    assert 16 <= most <= 40  # 3.3 s a turn with 0.1 s of work: 33 calls fill it
    assert most_calls(machine, 100.0) == 0


def test_a_synthesiser_in_turns_is_late_beyond_what_it_can_make() -> None:
    """Pieces of 80 ms at 8 ms each: ten speakers at once."""
    always = Talk(speech_s=0.1, reply_s=4.0, pause_s=0.1)
    few, many = (simulate(Machine(always, synthesiser=FrameStation("csm", 8)), calls, seconds=40) for calls in (6, 16))
    assert few.late_pieces <= 0.001 * few.pieces
    assert many.late_pieces > 0.1 * many.pieces


def test_keys_and_values_of_windows_end_with_the_window() -> None:
    """Gemma 3 27B: 62 layers, every sixth over everything, 16 heads of 128 in bf16: 8 KiB a token and layer."""
    assert kv_bytes(500) == 62 * 500 * 8192
    assert kv_bytes(2000) == (10 * 2000 + 52 * 1024) * 8192


def test_a_frame_on_the_network_and_units_with_spare_ones() -> None:
    """160 bytes of sound are 216 in base64; a message in JSON and its headers double that."""
    assert 400 < frame_bytes() < 520
    assert network_mbit_s(1000) == pytest.approx(1000 * 50 * frame_bytes() * 8 / 1e6)
    assert Need("x", "GPU", 70, "", MEASURED).units(1000, 0.1) == 17


def make_points(loop_us: float, shift_ms: float = 0.0) -> list[Point]:
    """Points as a machine would measure whose loop costs that; the held-out load is `shift_ms` slower."""
    floor = tuple(300.0 + index for index in range(40))
    points = []
    for calls in (2, 6, 8, 10):
        seen = simulate(Machine(TALK, loop_us=loop_us, floor_ms=floor), calls, seconds=15, warm_s=3, seed=calls)
        gaps = tuple(gap + (shift_ms if calls == 8 else 0.0) for gap in seen.gaps_ms) if calls > 2 else floor
        cores = 0.02 + 50 * loop_us / 1e6 * calls
        points.append(Point(calls, gaps, cores, 0.01 * calls, len(gaps), 0, 20.0))
    return points


def test_the_held_out_load_is_predicted_or_refuted() -> None:
    """By points that follow the model; points that are 40 ms slower at that load are found out."""
    assert fit_core([one for one in make_points(100.0) if one.calls != 8]).loop_us == pytest.approx(100.0)
    assert all(promise.holds for promise in check_held_out(make_points(100.0), 8))
    assert not all(promise.holds for promise in check_held_out(make_points(100.0, shift_ms=40.0), 8))


def test_points_of_a_busy_machine_and_a_load_that_is_none_are_refused() -> None:
    """One line each."""
    flat = [Point(calls, (300.0, 301.0), 0.1, 0.5, 2, 0, 20.0) for calls in (4, 16, 24)]
    with pytest.raises(UsageError, match="measure it when idle"):
        check_held_out(flat, 24)
    with pytest.raises(UsageError, match="--held-out 7"):
        check_held_out(make_points(100.0), 7)
    silent = [Point(calls, (), 0.01 * calls, 0.01 * calls, 2, 2, 20.0) for calls in (4, 16, 24)]
    with pytest.raises(UsageError, match="no turn of 4 calls can be used"):
        check_held_out(silent, 24)
    for text, held_out in (("4,x,24", 24), ("4,0,24", 24), ("", 24), ("4,16,32", 24), ("4,24", 24)):
        with pytest.raises(UsageError, match=r"--loads|--held-out"):
            read_loads(text, held_out)
    assert read_loads("4, 16,24", 24) == [4, 16, 24]


def test_points_without_many_of_their_turns_are_no_success() -> None:
    """What they lack may be the slowest."""
    points = [replace(point, late=point.turns // 10) for point in make_points(100.0)]
    (lacking,) = [promise for promise in check_held_out(points, 8) if "left out" in promise.promise]
    assert lacking.holds is False
