"""`turngap calibrate`: its table and JSON, its exit codes, and what it refuses."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import pytest
from rich.console import Console
from turngap import api
from turngap.calibration.calibrate import Calibration, DelayErrors, Errors
from turngap.calibration.idleness import Idle
from turngap.cli import app, calibrate
from turngap_agent.errors import UsageError

FRAME = Errors(25, 0.11, 0.21, 0.51)
ROW = DelayErrors(150.0, 25, 0, 0.31, 0.41, 0.91, frame_convention=FRAME)
QUIET = Idle(0.1, 0.2)


def answer(monkeypatch: pytest.MonkeyPatch, calibration: Calibration) -> list[tuple[list[float], int]]:
    """Let that calibration be what is measured; return what was requested."""
    requests: list[tuple[list[float], int]] = []

    async def measure(delays_ms: list[float], turns: int) -> Calibration:
        requests.append((delays_ms, turns))
        return calibration

    monkeypatch.setattr(api, "_calibrate", measure)
    return requests


def test_the_defaults_are_three_delays_of_25_turns(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """150, 300 and 800 ms; a valid calibration exits 0."""
    requests = answer(monkeypatch, Calibration((ROW,), QUIET))
    assert app.execute(["calibrate"]) == 0
    assert requests == [([150.0, 300.0, 800.0], 25)]
    assert "valid" in capfd.readouterr().out


def test_stdout_has_only_the_json(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> None:
    """Exactly `valid`, `delays` and `idle`; one that is over the bars is printed all the same, and exits 2."""
    answer(monkeypatch, Calibration((replace(ROW, bias_median_ms=1.5),), QUIET))
    assert app.execute(["calibrate", "--delays", "150", "--turns", "25", "--json"]) == 2
    printed = json.loads(capfd.readouterr().out)
    assert list(printed) == ["valid", "delays", "idle"]
    assert printed["valid"] is False
    (row,) = printed["delays"]
    assert {"delay_ms": 150.0, "n": 25, "bias_median_ms": 1.5, "sd_ms": 0.41, "max_abs_error_ms": 0.91}.items() <= (
        row.items()
    )


@pytest.mark.parametrize("delays", ["", "150,", "fast", "-1", "nan", "inf", "30001", "150;300"])
def test_delays_that_are_none_are_usage(delays: str, capfd: pytest.CaptureFixture[str]) -> None:
    """One line, exit 3, nothing started."""
    assert app.execute(["calibrate", f"--delays={delays}"]) == 3
    captured = capfd.readouterr()
    assert captured.out == ""
    assert len(captured.err.splitlines()) == 1
    assert "150,300,800" in captured.err


@pytest.mark.parametrize("turns", ["0", "-5", "10001", "many"])
def test_turns_that_are_none_are_usage(turns: str, capfd: pytest.CaptureFixture[str]) -> None:
    """One line, exit 3, nothing started."""
    assert app.execute(["calibrate", f"--turns={turns}"]) == 3
    assert len(capfd.readouterr().err.splitlines()) == 1


def test_spaces_between_delays_are_allowed() -> None:
    """So are fractions and 0."""
    assert calibrate.parse_delays("0, 12.5 ,800") == [0.0, 12.5, 800.0]
    with pytest.raises(UsageError):
        calibrate.parse_delays("0 12")


def print_calibration(calibration: Calibration) -> str:
    out = io.StringIO()
    calibrate.print_calibration(calibration, Console(file=out, width=120))
    return out.getvalue()


def test_the_table_has_both_conventions() -> None:
    """A row for each, with the figures of each."""
    text = print_calibration(Calibration((ROW,), QUIET))
    assert "+0.31" in text
    assert "+0.11" in text
    assert "the machine was idle" in text


def test_a_busy_machine_and_missing_figures_are_reported() -> None:
    """The table never blames the instrument alone for a load, and shows a dash for what was not measured."""
    empty = Errors(0, None, None, None)
    text = print_calibration(Calibration((DelayErrors(150.0, 0, 25, None, None, None, empty),), Idle(1.5, 0.2)))
    assert "NOT idle" in text
    assert "INVALID" in text
    assert "–" in text
