"""The floor: from bytes and operations at the machine's rates, per part; what is doubled in one part is in that one."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from turngap_agent.device.work import PartWork
from turngap_agent.parts import Recorder, Shape, Slice
from turngap_agent.stage.command import make_options
from turngap_agent.stage.counting import measure_floor
from turngap_agent.stage.floor import MachineRates, compute_floor, describe_floor
from turngap_agent.stage.inputs import StageInput
from turngap_agent.stage.measurement import Unit
from turngap_agent.stage.units import UnitTimes

RATES = MachineRates(10e9, 100e9, 32 << 20, {"int8": 200e9, "float32": 50e9})
MS = 1_000_000


def unit(**parts_ms: float) -> Unit:
    recorder = Recorder()
    for name, took_ms in parts_ms.items():
        recorder.slices.append(Slice(name, 0, round(took_ms * MS), "engine"))
    whole_ms = sum(parts_ms.values())
    return Unit(StageInput("a", "words", np.zeros(0, np.float32)), UnitTimes(whole_ms, whole_ms), recorder, 0)


def work(encoder: int = 1, decoder: int = 1) -> dict[str, PartWork]:
    """An encoder that is bound by operations, and a decoder bound by memory, with so many times the usual weights."""
    return {
        "encoder": PartWork(8_000_000 * encoder, 8_000_000 * encoder, {"int8": 4_000_000_000 * encoder}),
        "decoder": PartWork(100_000_000 * decoder, 400_000_000 * decoder, {"int8": 800_000_000 * decoder}),
    }


def floor_of(measured: Unit, counted: dict[str, PartWork]) -> dict[str, Any]:
    described = describe_floor([(measured, counted)], RATES)
    assert described is not None
    return described


def test_the_floor_is_the_larger_of_the_two_times() -> None:
    """4 G operations at 200 G a second are 20 ms; 400 MB at 10 GB a second are 40."""
    described = floor_of(unit(encoder=40, decoder=60), work())
    parts = described["parts"]
    assert parts["encoder"]["floor_ms"] == pytest.approx(20)
    assert (parts["encoder"]["bound"], parts["decoder"]["bound"]) == ("operations", "memory bytes")
    assert parts["decoder"]["floor_ms"] == pytest.approx(40)
    assert described["ms"] == pytest.approx(60)
    assert described["distance"] == pytest.approx(100 / 60)


def test_a_delay_in_one_part_is_in_its_distance_and_in_no_other() -> None:
    """And in the distance of the whole."""
    usual, slow = (floor_of(unit(encoder=40, decoder=ms), work()) for ms in (60, 100))
    assert slow["parts"]["encoder"] == usual["parts"]["encoder"]
    assert slow["parts"]["decoder"]["distance"] == pytest.approx(100 / 40)
    assert slow["distance"] - usual["distance"] == pytest.approx(40 / 60)


def test_a_doubled_model_in_one_part_is_in_its_floor_and_in_no_other() -> None:
    """Twice the weights take twice the time at least: the distance of a part that takes twice as long is the same."""
    usual, doubled = floor_of(unit(encoder=40, decoder=60), work()), floor_of(unit(encoder=40, decoder=120), work(1, 2))
    assert doubled["parts"]["encoder"] == usual["parts"]["encoder"]
    assert doubled["parts"]["decoder"]["floor_ms"] == pytest.approx(2 * usual["parts"]["decoder"]["floor_ms"])
    assert doubled["parts"]["decoder"]["distance"] == pytest.approx(usual["parts"]["decoder"]["distance"])


def test_weights_that_fit_into_the_last_cache_are_measured_against_it() -> None:
    """And said to be so; where the size of the cache is not known they count as read from memory."""
    small = PartWork(1 << 20, 100_000_000)
    assert compute_floor(small, RATES).ms == pytest.approx(1)
    unknown = MachineRates(10e9, None, None, {})
    assert compute_floor(small, unknown).ms == pytest.approx(10)
    assert "fit into the last cache (32 MiB)" in floor_of(unit(encoder=40, decoder=60), work())["cache"]
    described = describe_floor([(unit(a=1), {"a": small})], unknown)
    assert described is not None
    assert "not known" in described["cache"]


def test_the_floor_with_one_thread_stands_beside_that_with_the_engine_s() -> None:
    """With half the rates the floor is twice as high; the distance is that of the engine's own threads."""
    two = replace(RATES, threads=2)
    one = MachineRates(5e9, 50e9, 32 << 20, {"int8": 100e9, "float32": 25e9})
    described = describe_floor([(unit(encoder=40, decoder=60), work())], two, one)
    assert described is not None
    assert described["one_thread"]["ms"] == pytest.approx(2 * described["ms"])
    assert (described["rates"]["threads"], described["one_thread"]["rates"]["threads"]) == (2, 1)
    assert described["distance"] == pytest.approx(100 / described["ms"])


def test_nothing_counted_has_no_floor() -> None:
    """None, and not 0, which would be infinitely far away."""
    assert describe_floor([(unit(a=1), {})], RATES) is None


def test_an_engine_whose_work_cannot_be_counted_is_closed_all_the_same() -> None:
    """Once; and the floor is null with its reason."""

    class Engine:
        def count_work(self, shapes: Sequence[Shape]) -> Mapping[str, PartWork]:
            raise KeyError("int3")

    closed: list[bool] = []

    async def close() -> None:
        closed.append(True)

    floor, why = asyncio.run(measure_floor(make_options("stt", "cpu"), Engine(), close, [unit(encoder=1.0)]))
    assert (floor, closed) == (None, [True])
    assert "int3" in why
