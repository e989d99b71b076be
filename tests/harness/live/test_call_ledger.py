"""Pins the call ledger: written before dialling, limits per run and per day, one process at a time, damage refuses."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from turngap.live.call_ledger import DAY_S, LEDGER_VARIABLE, CallLedger, default_path
from turngap_agent.errors import UsageError

NOW = 1_800_000_000 * 10**9
S = 10**9


def open_ledger(path: Path, **limits: int) -> CallLedger:
    return CallLedger(path / "calls.json", **limits)


def test_a_call_is_on_disk_before_it_is_placed(tmp_path: Path) -> None:
    """A process that is killed after `reserve` leaves its entry."""
    with open_ledger(tmp_path) as ledger:
        ledger.reserve(NOW)
        assert json.loads((tmp_path / "calls.json").read_text())["calls_unix_s"] == [NOW // S]


def test_calls_per_run_are_limited(tmp_path: Path) -> None:
    """A call over the limit is refused and not recorded."""
    with open_ledger(tmp_path, calls_a_run=2) as ledger:
        ledger.reserve(NOW)
        ledger.reserve(NOW)
        with pytest.raises(UsageError, match="at most 2") as caught:
            ledger.reserve(NOW)
        assert caught.value.code == "usage.call-limit"
    assert len(json.loads((tmp_path / "calls.json").read_text())["calls_unix_s"]) == 2


def test_calls_per_day_are_limited_over_all_runs(tmp_path: Path) -> None:
    """Calls of other runs count for 24 hours, and no longer."""
    for _ in range(2):
        with open_ledger(tmp_path, calls_a_day=2) as ledger:
            ledger.reserve(NOW)
    with open_ledger(tmp_path, calls_a_day=2) as ledger:
        with pytest.raises(UsageError, match="24 hours"):
            ledger.reserve(NOW + (DAY_S - 1) * S)
        ledger.reserve(NOW + (DAY_S + 1) * S)


def test_setting_the_clock_back_allows_no_further_call(tmp_path: Path) -> None:
    """Entries in the future count."""
    with open_ledger(tmp_path, calls_a_day=1) as ledger:
        ledger.reserve(NOW)
        with pytest.raises(UsageError, match="24 hours"):
            ledger.reserve(NOW - 365 * DAY_S * S)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"calls_unix_s": 3}', '{"calls_unix_s": ["x"]}', '{"calls_unix_s": [true]}', "null"]
)
def test_a_damaged_ledger_allows_nothing(tmp_path: Path, text: str) -> None:
    """A damaged ledger refuses every call and is left as it is."""
    (tmp_path / "calls.json").write_text(text)
    with open_ledger(tmp_path) as ledger, pytest.raises(UsageError, match="damaged") as caught:
        ledger.reserve(NOW)
    assert caught.value.code == "usage.ledger"
    assert (tmp_path / "calls.json").read_text() == text


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second process is refused until the first has closed the ledger."""
    with open_ledger(tmp_path), pytest.raises(UsageError) as caught, open_ledger(tmp_path):
        pass
    assert caught.value.code == "usage.live-call"
    with open_ledger(tmp_path) as ledger:
        ledger.reserve(NOW)


def test_an_unlocked_ledger_records_nothing(tmp_path: Path) -> None:
    """`reserve` outside the block is refused."""
    with pytest.raises(UsageError, match="not locked"):
        open_ledger(tmp_path).reserve(NOW)
    assert list(tmp_path.iterdir()) == []


def test_a_ledger_that_cannot_be_written_allows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If the entry can't be written, the call is refused and no half-written file stays."""

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with open_ledger(tmp_path) as ledger:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(UsageError, match="No space left") as caught:
            ledger.reserve(NOW)
    assert caught.value.code == "usage.ledger"
    assert [file.name for file in tmp_path.iterdir()] == ["calls.lock"]


def test_the_ledger_is_in_the_users_state_folder(tmp_path: Path) -> None:
    """Not in the working folder: a run in another folder must not have a new limit."""
    assert default_path({LEDGER_VARIABLE: "/x/y.json"}) == Path("/x/y.json")
    assert default_path({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path / "turngap" / "live-calls.json"
