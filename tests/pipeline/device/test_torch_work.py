"""Work counted on torch: products by part, and the weights that were there before them."""

from __future__ import annotations

import asyncio

import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

import numpy as np
from turngap_agent import parts, profile
from turngap_agent.device.torch_work import TorchWork
from turngap_agent.device.work import PartWork
from turngap_agent.engines import EngineKind
from turngap_agent.parts import HAND_OVER, Recorder
from turngap_agent.stage.cold_start import load_engine
from turngap_agent.stage.inputs import StageInput
from turngap_agent.stage.measurement import measure_units
from turngap_agent.stage.split import split_times
from turngap_agent.stage.units import make_work

WIDTH, ROWS = 32, 5


def count(columns: int) -> dict[str, PartWork]:
    matrix, bias, rows = torch.ones(columns, WIDTH), torch.ones(columns), torch.ones(ROWS, WIDTH)
    mode = TorchWork()
    with torch.inference_mode(), Recorder().record(), mode:
        with parts.part("prepare"):
            hidden = rows + 1
        with parts.part("depth"):
            for _ in range(2):
                torch.nn.functional.linear(hidden, matrix, bias)
    return mode.by_part


def test_weights_are_read_in_each_product_and_results_of_the_unit_are_not() -> None:
    """`hidden` was made in the unit; matrix and bias were there before."""
    work = count(16)
    assert set(work) == {"depth"}
    assert work["depth"].operations == {"float32": 2 * 2 * ROWS * WIDTH * 16}
    assert work["depth"].bytes_read == 2 * 4 * (16 * WIDTH + 16)
    assert work["depth"].weights_bytes == 4 * (16 * WIDTH + 16)


def test_a_matrix_twice_as_large_has_twice_the_work() -> None:
    """In the part that it is in."""
    assert count(32)["depth"].operations["float32"] == 2 * count(16)["depth"].operations["float32"]


@pytest.mark.parametrize(
    ("stage", "expected"),
    [
        ("stt", {"resample", "mel", "encoder", "decoder"}),
        ("llm", {"prompt", "prefill", "decode"}),
        ("tts", {"context", "prefill", "backbone", "depth", "codec"}),
    ],
)
def test_the_parts_of_the_tiny_twins_add_up_and_have_work(stage: EngineKind, expected: set[str]) -> None:
    """Within 2 % of the whole, on a processor; and the parts on torch have work that was counted."""
    given = StageInput("a", "Yes, please.", np.full(8000, 0.01, np.float32), ("Yes, of course.",))

    async def measure() -> None:
        settings = profile.load("weightless-tiny").engines()[stage]
        engine = (await load_engine(settings)).engine
        try:
            work = make_work(stage, engine)
            measured = await measure_units(work, [given], 2, None)
            split = split_times(engine, settings.engine, measured.units)
            assert split.parts_ms is not None, split.note
            assert set(split.parts_ms) == expected | {HAND_OVER}
            assert all(took > 0 for took in split.parts_ms.values())
            mode = TorchWork()
            await work(given, Recorder(watch=lambda _: mode))
            assert {"encoder", "decode", "depth"} & expected <= set(mode.by_part)
            assert all(part.bytes_read >= part.weights_bytes > 0 for part in mode.by_part.values())
        finally:
            await engine.close()

    asyncio.run(measure())
