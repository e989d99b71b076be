"""An event loop that stands still: told once with the code that holds it, counted, and ended if it lasts."""

from __future__ import annotations

import logging
import threading

import pytest
from turngap_agent.health.standstill import Standstill, StandstillWatch

from tests.pipeline.conftest import PATIENCE_S

pytestmark = pytest.mark.anyio


def test_looks_without_a_turn_are_counted_in_a_row() -> None:
    """A turn between two looks begins anew; however late a look is, it counts once."""
    watch = Standstill()
    watch.note_turn()
    assert [watch.look() for _ in range(3)] == [0, 1, 2]
    watch.note_turn()
    assert [watch.look() for _ in range(2)] == [0, 1]


def hold_the_loop(until: threading.Event) -> None:
    """What a defect does."""
    until.wait(PATIENCE_S)


async def test_a_standstill_is_told_with_its_code_and_ended(caplog: pytest.LogCaptureFixture) -> None:
    """One line in the log, one count; after the longest time the process ends with code 2."""
    counted: list[bool] = []
    codes: list[int] = []
    ended = threading.Event()

    def end(code: int) -> None:
        codes.append(code)
        ended.set()

    with caplog.at_level(logging.WARNING), pytest.MonkeyPatch.context() as patch:
        patch.setattr(logging, "shutdown", lambda: None)
        watch = StandstillWatch(0.2, 0.4, lambda: counted.append(True), end)
        hold_the_loop(ended)
        watch.close()
    assert (counted, codes) == ([True], [2])
    told = [record.message for record in caplog.records if "stands still" in record.message]
    assert len(told) == 1
    assert "hold_the_loop (" in told[0]
