"""Pins the ledger of calls: entered before dialling, capped a run and a day, one process at a time, never forgiving."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from turngap.live.call_ledger import DAY_S, LEDGER_VARIABLE, CallLedger, default_path
from turngap_agent.errors import UsageError

NOW = 1_800_000_000 * 10**9
S = 10**9


def book(path: Path, **limits: int) -> CallLedger:
    return CallLedger(path / "calls.json", **limits)


def test_a_call_is_on_the_disk_when_it_may_be_placed(tmp_path: Path) -> None:
    """What is killed after `reserve` has left its entry."""
    with book(tmp_path) as held:
        held.reserve(NOW)
        assert json.loads((tmp_path / "calls.json").read_text())["calls_unix_s"] == [NOW // S]


def test_a_run_has_its_limit(tmp_path: Path) -> None:
    """The call after the last is refused, and not entered."""
    with book(tmp_path, calls_a_run=2) as held:
        held.reserve(NOW)
        held.reserve(NOW)
        with pytest.raises(UsageError, match="at most 2"):
            held.reserve(NOW)
    assert len(json.loads((tmp_path / "calls.json").read_text())["calls_unix_s"]) == 2


def test_a_day_has_its_limit_over_all_runs(tmp_path: Path) -> None:
    """Other runs' calls count for 24 hours, and no longer."""
    for _ in range(2):
        with book(tmp_path, calls_a_day=2) as held:
            held.reserve(NOW)
    with book(tmp_path, calls_a_day=2) as held:
        with pytest.raises(UsageError, match="24 hours"):
            held.reserve(NOW + (DAY_S - 1) * S)
        held.reserve(NOW + (DAY_S + 1) * S)


def test_setting_the_clock_back_frees_no_call(tmp_path: Path) -> None:
    """An entry of the future counts."""
    with book(tmp_path, calls_a_day=1) as held:
        held.reserve(NOW)
        with pytest.raises(UsageError, match="24 hours"):
            held.reserve(NOW - 365 * DAY_S * S)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"calls_unix_s": 3}', '{"calls_unix_s": ["x"]}', '{"calls_unix_s": [true]}', "null"]
)
def test_a_damaged_ledger_allows_nothing(tmp_path: Path, text: str) -> None:
    """A limit that is forgotten when its file breaks is none."""
    (tmp_path / "calls.json").write_text(text)
    with book(tmp_path) as held, pytest.raises(UsageError, match="damaged"):
        held.reserve(NOW)
    assert (tmp_path / "calls.json").read_text() == text


def test_one_process_at_a_time(tmp_path: Path) -> None:
    """A second holder is refused; after the first it may."""
    with book(tmp_path), pytest.raises(UsageError, match="one at a time"), book(tmp_path):
        pass
    with book(tmp_path) as held:
        held.reserve(NOW)


def test_a_ledger_that_is_not_held_enters_nothing(tmp_path: Path) -> None:
    """`reserve` outside the block is refused."""
    with pytest.raises(UsageError, match="not held"):
        book(tmp_path).reserve(NOW)


def test_a_ledger_that_cannot_be_written_allows_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither the call nor a half-written file."""

    def full(handle: int) -> None:
        raise OSError(28, "No space left on device")

    with book(tmp_path) as held:
        monkeypatch.setattr(os, "fsync", full)
        with pytest.raises(UsageError, match="none is placed"):
            held.reserve(NOW)
    assert [file.name for file in tmp_path.iterdir()] == ["calls.lock"]


def test_its_place_is_the_users_state(tmp_path: Path) -> None:
    """Not the run's folder: another folder must not be another day."""
    assert default_path({LEDGER_VARIABLE: "/x/y.json"}) == Path("/x/y.json")
    assert default_path({"XDG_STATE_HOME": str(tmp_path)}) == tmp_path / "turngap" / "live-calls.json"
