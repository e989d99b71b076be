"""The benchmarks of the conversation: their settings fit the profile, their figures are those that were promised."""

from __future__ import annotations

from argparse import Namespace
from pathlib import Path

import pytest
from turngap.model.result import Verdict
from turngap.model.turn import Outcome
from turngap.scenario import Expectation
from turngap.session import run_documents
from turngap.store import folder as store
from turngap.store.folder import StoredRun
from turngap.sweeps import folder
from turngap.sweeps.grid import MOST_SETTINGS
from turngap.verdict import summary
from turngap_agent import profile

from benchmarks import ablation, conversation, latency, pauses, sweeps
from benchmarks.promises import Promise
from tests.harness import report_builders as make
from tests.harness.sweeps.builders import write_sweep

NAMES = [f"min_silence_ms={300 - 50 * place} <b>" for place in range(3)]


def by_promise(promises: list[Promise], words: str) -> Promise:
    (match,) = [one for one in promises if words in one.promise]
    return match


def read(path: Path, names: list[str]) -> list[sweeps.MeasuredSetting]:
    given = Namespace(sweep=path, turns=None)
    return sweeps.measure_settings("gate", dict.fromkeys(names, ()), given)


@pytest.mark.parametrize("settings", [latency.make_settings(320), ablation.steps(320)])
def test_every_setting_fits_the_profile(settings: dict[str, tuple[str, ...]]) -> None:
    """What is swept can be started, all of it is different, and it is not too much."""
    loaded = [profile.load("cpu", sets) for sets in settings.values()]
    assert len({one.model_dump_json() for one in loaded}) == len(settings) <= MOST_SETTINGS


@pytest.mark.parametrize("scenario", ["gate", "pauses", *conversation.SCENARIOS])
def test_the_scenarios_are_there(scenario: str) -> None:
    """By name."""
    assert run_documents.locate_scenario(scenario).is_file()


def test_latency_promises(tmp_path: Path) -> None:
    """40 % under plain silence is of the medians of one sweep; a cut-off is no answer, and takes p95 with it."""
    plain, _, fast = read(write_sweep(tmp_path / "sweep", settings=3), NAMES)
    promises = latency.promises(plain, fast)
    less = by_promise(promises, "under plain silence")
    assert (less.value, less.holds) == (pytest.approx(0.39, abs=0.03), False)
    assert by_promise(promises, "median of the turn gap").holds
    assert not by_promise(promises, "p95 of the turn gap").holds
    assert by_promise(promises, "first clause").figure == "2 words"
    assert {row[0] for row in latency.make_stage_rows((plain, fast))} >= {"endpointing", "transcription", "unexplained"}


def test_pauses_promises(tmp_path: Path) -> None:
    """Only pauses of up to 400 ms count; none cut off in 149 is at most 2 %, one is not."""
    path = write_sweep(tmp_path / "sweep", settings=1, n=160)
    (row,) = folder.read_sweep(path).settings
    run = path / row.slug / store.TURNS
    turns = [turn.model_copy(update={"pause_ms": 400.0}) for turn in store.read_run(path / row.slug).turns]
    turns[0] = turns[0].model_copy(update={"outcome": Outcome.CUT_OFF, "pause_ms": 700.0})
    run.write_text("".join(turn.model_dump_json() + "\n" for turn in turns))
    (setting,) = read(path, [row.name])
    rate = pauses.cut_offs(setting)
    assert (rate.events, rate.n) == (0, 159)
    assert by_promise(pauses.promises(setting), "false cut-offs").holds
    turns[1] = turns[1].model_copy(update={"outcome": Outcome.CUT_OFF})
    run.write_text("".join(turn.model_dump_json() + "\n" for turn in turns))
    assert not by_promise(pauses.promises(read(path, [row.name])[0]), "false cut-offs").holds


def test_ablation_compares_each_step_with_the_one_before(tmp_path: Path) -> None:
    """The first has nothing to be compared with."""
    rows = ablation.make_rows(read(write_sweep(tmp_path / "sweep", settings=3), NAMES))
    assert rows[0][4:6] == ("–", "–")
    assert rows[1][4].startswith("-1")
    assert "pairs)" in rows[2][5]


def test_conversation_promises() -> None:
    """Yielding, going on, silence: each from the turns that it is promised of."""
    stop = [
        make.turn(index, expectation=Expectation.STOP, over_agent=True, barge_in_stop_ms=200.0 + index)
        for index in range(20)
    ]
    hum = [
        make.turn(
            index,
            outcome=Outcome.HELD if index < 39 else Outcome.STOPPED,
            expectation=Expectation.IGNORE,
            over_agent=True,
            went_on_ms=300.0,
            lost_ms=0.0,
            repeated_ms=0.0,
        )
        for index in range(20, 40)
    ]
    turns = [*stop, *hum]
    record = make.run_record(turns, scenario="barge-in").model_copy(update=summary.compute_figures(turns))
    promises = conversation.promises(StoredRun(record, tuple(turns), ()))
    assert by_promise(promises, "yields within").holds
    assert not by_promise(promises, "ended by a backchannel").holds
    assert by_promise(promises, "lost or repeated").holds
    assert by_promise(promises, "gaps between clauses").value == 130
    assert by_promise(promises, "p95 at most").value is None  # twenty carry no bound
    late = [turn.model_copy(update={"clause_gap_ms": 251.0}) if not index else turn for index, turn in enumerate(turns)]
    record = record.model_copy(update=summary.compute_figures(late))
    assert not by_promise(conversation.promises(StoredRun(record, tuple(late), ())), "gaps between clauses").holds
    assert record.verdict is Verdict.MEASURED


def test_a_missing_setting_is_named(tmp_path: Path) -> None:
    """A sweep of something else is not read as this one."""
    with pytest.raises(SystemExit, match="no setting 'speculative'"):
        read(write_sweep(tmp_path / "sweep", settings=1), ["speculative"])
