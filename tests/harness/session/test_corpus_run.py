"""A real run of a scenario that draws on a corpus: the pauses are known, the speech is named, the words compared."""

from __future__ import annotations

from pathlib import Path

import pytest
import turngap
from turngap.model.records import LabelSource
from turngap.model.turn import Outcome

from tests.harness.corpora.small_corpus import PAUSE_MS, write_corpus


@pytest.mark.timeout(240)
def test_a_run_on_a_corpus_names_it_with_its_figures(tmp_path: Path) -> None:
    """The scripted agent waits 200 ms and more of silence: its reply into the pause of 300 ms is a cut-off."""
    write_corpus(tmp_path / "talks", 2, label_source="aligned")
    scenario = tmp_path / "mine.scenario.yaml"
    scenario.write_text("name: mine\nwarm_up_turns: 1\nprobe: true\ncorpus: {name: ./talks, pause_ms: 200}\n")
    run = turngap.run(scenario, agent="scripted", out=tmp_path / "out")
    turns = [turn for turn in run.turn_records if turn.scored]
    assert {turn.utterance_id for turn in turns} == {"turn-0", "turn-1"}
    assert {turn.stratum for turn in turns} == {"talks"}
    assert {(turn.label_low_ms, turn.label_high_ms) for turn in turns} == {(5.0, -5.0)}
    assert {turn.label_source for turn in turns} == {LabelSource.ALIGNED}
    assert {turn.pause_ms for turn in turns} == {float(PAUSE_MS)}
    assert all(turn.outcome in (Outcome.ANSWERED, Outcome.CUT_OFF, Outcome.WRONG, Outcome.MISSED) for turn in turns)
    assert [(one.source, one.utterances) for one in run.record.corpus.sources] == [("a synthetic voice (CC0-1.0)", 2)]
    if run.verdict is turngap.Verdict.MEASURED:
        assert "measured on 2 utterances: a synthetic voice (CC0-1.0)" in run.record.sentence
