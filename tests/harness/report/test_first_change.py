"""What to change first: who owns each stage, what a change gives at most, and what it costs."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from turngap.model.result import RunRecord
from turngap.model.turn import Bar, Outcome, StageTime, TurnRecord
from turngap.report import stage_table
from turngap.report.data import ReportData
from turngap.report.first_change import name_owners, rank_changes
from turngap.report.page import render_run_page
from turngap.report.terminal import print_summary
from turngap.scoring.savings import saved_without_ms
from turngap.scoring.score import score_call
from turngap.spans.mapping import load_mapping
from turngap.verdict import summary
from turngap_agent import profile
from turngap_agent.profile.ownership import ENGINE_OF, find_owners
from turngap_agent.tracing import Activity, Stage

from tests.harness import builders, report_builders


def example_turn(**spans: Any) -> TurnRecord:
    (turn,) = score_call(
        builders.example_call().ends(4_000),
        [*builders.attempt_spans(**spans), builders.call_span()],
        builders.planned(),
        network_ms=95,
        cold=False,
    )
    return turn


@pytest.mark.parametrize("name", profile.names())
def test_every_stage_of_every_profile_has_an_owner(name: str) -> None:
    """A setting that the profile has, with its value, or what else decides it."""
    data = profile.load(name).model_dump(mode="json")
    owners = find_owners(data)
    assert set(owners) == set(Activity)
    for activity, owner in owners.items():
        if not owner.is_setting:
            assert activity.stage not in ENGINE_OF
            continue
        value: Any = data
        for key in owner.setting.split("."):  # of replicas: a key of the engine that they replicate
            value = value[key]
        assert str(value) == owner.value


def test_scripted_engines_name_their_own_times() -> None:
    """An engine says which of its settings decides."""
    owners = find_owners(profile.load("scripted").model_dump(mode="json"))
    assert owners[Activity.TRANSCRIPTION].setting == "stt.delay_ms"
    assert owners[Activity.FIRST_CLAUSE].setting == "llm.token_ms"
    assert owners[Activity.CONFIRMED_END].setting == "endpointing.min_silence_ms"


def test_an_engine_that_is_not_installed_has_an_owner_too() -> None:
    """Runs of other machines are read as well."""
    owners = find_owners({"tts": {"engine": "theirs", "model": "large"}})
    assert (owners[Activity.FIRST_AUDIO].setting, owners[Activity.FIRST_AUDIO].value) == ("tts.model", "large")


def test_a_saving_ends_where_the_next_path_is_critical() -> None:
    """The transcription took 60 ms, on the path; the confirmed end came 72 ms before the message was ready."""
    turn = example_turn()
    saved = {activity: saved_without_ms(turn.bars, [activity]) for activity in Activity}
    assert saved[Activity.TRANSCRIPTION] == pytest.approx(60)
    assert saved[Activity.FIRST_TOKEN] == pytest.approx(72)  # of 100 on the path: then the confirmed end is waited for
    assert saved[Activity.CONFIRMED_END] == 0
    assert saved[Activity.LEAD_IN] == pytest.approx(20)


def test_no_saving_is_more_than_the_exposed_time() -> None:
    """Nor less than nothing; an activity that did not run saves nothing."""
    turn = example_turn()
    assert turn.stages is not None
    for activity in Activity:
        saved = saved_without_ms(turn.bars, [activity])
        assert 0 <= saved <= turn.stages[activity.stage].exposed_ms + 1e-6
    assert saved_without_ms([], [Activity.FIRST_TOKEN]) == 0
    alone = [Bar(activity=Activity.LEAD_IN, start_ms=0, end_ms=20)]
    assert saved_without_ms(alone, [Activity.FIRST_TOKEN]) == 0


SILENCE = profile.load("cpu", ("endpointing.policy=silence",)).model_dump(mode="json")


def run_of(turns: list[TurnRecord], **changes: Any) -> RunRecord:
    return report_builders.run_record(turns).model_copy(update={"profile_data": SILENCE, **changes})


def test_the_most_useful_change_comes_first() -> None:
    """The silence that ends a turn is the longest wait: its setting, the most it gives, its cost with a figure."""
    turns = [report_builders.turn(index) for index in range(60)]
    first, *others = rank_changes(run_of(turns), turns)
    assert set(first.activities) == {Activity.PROVISIONAL_END, Activity.CONFIRMED_END}
    assert first.owner is not None
    assert first.owner.setting == "endpointing.min_silence_ms"
    assert first.p50_ms > max(change.p50_ms for change in others)
    assert first.p50_ms <= first.exposed_ms + 30
    assert "`endpointing.min_silence_ms` = 416" in first.sentence
    assert "more cut-offs in pauses (now 0 of 60 turns" in first.sentence


def test_the_gain_is_of_the_next_path_not_of_the_sum() -> None:
    """Where transcription runs beside the silence, the silence gives less than the time that it is exposed."""
    turns = [report_builders.turn(index, speculative=True) for index in range(60)]
    data = profile.load("cpu").model_dump(mode="json")
    for change in rank_changes(run_of(turns, profile_data=data), turns):
        assert change.p50_ms <= change.exposed_ms + 30
    by_setting = {c.owner.setting: c for c in rank_changes(run_of(turns, profile_data=data), turns) if c.owner}
    assert by_setting["llm.model"].activities == (Activity.FIRST_TOKEN, Activity.FIRST_CLAUSE)


def test_frames_are_nobodys_to_change() -> None:
    """The telephone's 20 ms are in no proposal."""
    turns = [report_builders.turn(index) for index in range(60)]
    assert all(Activity.FRAMING_IN not in change.activities for change in rank_changes(run_of(turns), turns))


def test_another_frameworks_settings_are_named_by_the_mapping() -> None:
    """And without a mapping that they are not known."""
    turns = [report_builders.turn(index) for index in range(60)]
    mapped = run_of(turns, profile_data={}, spans=load_mapping("pipecat"))
    assert name_owners(mapped)[Activity.FIRST_AUDIO].setting == "the TTS service and its model"
    assert "VADParams.stop_secs" in rank_changes(mapped, turns)[0].sentence
    bare = run_of(turns, profile_data={}, spans=None)
    assert "what decides it is not known" in rank_changes(bare, turns)[0].sentence


def test_a_run_without_stages_proposes_nothing() -> None:
    """Nor one without an answer."""
    turns = [report_builders.turn(index, spans=False) for index in range(5)]
    assert rank_changes(run_of(turns), turns) == ()
    missed = [report_builders.turn(index, outcome=Outcome.MISSED) for index in range(5)]
    assert rank_changes(run_of(missed), missed) == ()


def test_it_stands_in_the_report_and_on_the_terminal(tmp_path: Path) -> None:
    """As a list under the stages, and as lines."""
    turns = [report_builders.turn(index) for index in range(60)]
    record = run_of(turns)
    console = Console(record=True, width=200, force_terminal=False, file=io.StringIO())
    print_summary(record, console, turns)
    text = console.export_text()
    assert "change first" in text
    assert "endpointing.min_silence_ms" in text
    page = render_run_page(ReportData(tmp_path, record, tuple(turns), None, None, ()))
    assert "What to change first" in page
    assert "<code>endpointing.min_silence_ms</code> = 416" in page


def test_a_stage_smaller_than_its_uncertainty_is_not_resolvable() -> None:
    """Its figure is printed with ±, and a line says that it means nothing."""
    turns = [uncertain(report_builders.turn(index), Stage.TRANSPORT_OUT, 8.0) for index in range(5)]
    turns = [uncertain(turn, Stage.FIRST_TOKEN, 8.0) for turn in turns]
    record = summary.recompute_figures(run_of(turns), turns)
    (line,) = stage_table.list_unresolved(record)
    assert line.startswith("transport out is not resolvable: 0.")
    assert line.endswith("known to ±8.0 ms")
    console = Console(record=True, width=200, force_terminal=False, file=io.StringIO())
    print_summary(record, console, turns)
    text = console.export_text()
    assert "±8.0" in text
    assert line in text


def uncertain(turn: TurnRecord, stage: Stage, within_ms: float) -> TurnRecord:
    """The turn with a stage whose times are known to ± `within_ms`."""
    assert turn.stages is not None
    time: StageTime = turn.stages[stage].model_copy(update={"uncertainty_ms": within_ms})
    return turn.model_copy(update={"stages": {**turn.stages, stage: time}})
