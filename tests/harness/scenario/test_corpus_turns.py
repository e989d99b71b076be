"""Scenarios that draw on a corpus: their turns, what goes with each, and what is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from turngap.corpus.clips import build_corpus
from turngap.scenario import load_scenario_file
from turngap.session.run_documents import read_scenario
from turngap_agent.errors import ScenarioError

from tests.harness.corpora.small_corpus import PAUSE_MS, SPEECH_MS, TURN_MS, write_corpus


def write_scenario(folder: Path, text: str) -> Path:
    path = folder / "mine.scenario.yaml"
    path.write_text(f"name: mine\n{text}\n")
    return path


def test_turns_are_the_rows_of_the_table(tmp_path: Path) -> None:
    """Their words are expected, and the pauses and the uncertainty of the end go into the clips."""
    write_corpus(tmp_path / "talks", 4)
    scenario = load_scenario_file(write_scenario(tmp_path, "corpus: ./talks"))
    assert [turn.key for turn in scenario.turns] == ["turn-0", "turn-1", "turn-2", "turn-3"]
    assert {(turn.expect, turn.stratum) for turn in scenario.turns} == {("scripted words", "talks")}
    clips = build_corpus(scenario, print)
    assert not clips.notes
    clip = clips.clips["turn-2"]
    head = clip.speech_start_sample
    assert len(clip.pcm) - head == TURN_MS * 8
    assert clip.pauses == ((head + SPEECH_MS * 8, head + (SPEECH_MS + PAUSE_MS) * 8),)
    assert (clip.label_low_ms, clip.label_high_ms, clip.synthetic) == (5.0, -5.0, False)
    assert (clip.transcript, clip.source) == ("scripted words", "a synthetic voice (CC0-1.0)")


def test_filters_and_settings_are_keys_of_the_corpus(tmp_path: Path) -> None:
    """Beside turns of the scenario's own."""
    write_corpus(tmp_path / "talks", 6)
    text = "corpus: {name: ./talks, speaker: B, count: 2, seed: 3, pause_ms: 50, wer_limit: 2}\nturns: [{say: hello}]"
    scenario = load_scenario_file(write_scenario(tmp_path, text))
    own, *drawn = scenario.turns
    assert own.key == "say:hello"
    assert {turn.key for turn in drawn} < {"turn-1", "turn-3", "turn-5"}
    assert [(turn.pause_ms, turn.wer_limit) for turn in drawn] == [(50, 2.0)] * 2


def test_a_noisy_recording_goes_on_behind_the_caller(tmp_path: Path) -> None:
    """Its floor is the clip's bed, at the recording's level after it was brought to level."""
    import soundfile

    write_corpus(tmp_path / "talks")
    sound, rate = soundfile.read(tmp_path / "talks" / "talk.flac")
    noise = np.random.default_rng(5).normal(0, 0.005, len(sound))
    soundfile.write(tmp_path / "talks" / "talk.flac", sound + noise, rate, subtype="PCM_16")
    clip = build_corpus(load_scenario_file(write_scenario(tmp_path, "corpus: ./talks")), print).clips["turn-0"]
    assert clip.bed is not None
    (first, beyond), *_ = clip.pauses
    in_pause = np.sqrt(np.mean(np.square(clip.pcm[first:beyond].astype(float))))
    assert np.sqrt(np.mean(np.square(clip.bed.astype(float)))) == pytest.approx(in_pause, rel=0.1)


def test_a_scenario_as_an_object_is_stored_with_its_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a run of it can be resumed whatever becomes of the table."""
    write_corpus(tmp_path / "talks")
    monkeypatch.chdir(tmp_path)
    import yaml
    from turngap.scenario import Scenario

    given = Scenario.model_validate({"name": "mine", "corpus": {"name": "./talks", "count": 2}})
    located, path, text = read_scenario(given)
    assert path is None
    assert text is not None
    stored = Scenario.model_validate(yaml.safe_load(text))
    assert stored.turns == located.turns
    assert stored.corpus is None
    assert len(stored.turns) == 2


def test_an_excerpt_can_be_written_by_hand(tmp_path: Path) -> None:
    """A stretch of a recording whose end is known."""
    write_corpus(tmp_path)
    text = "turns: [{excerpt: {file: talk.flac, start_ms: 900, end_ms: 2200}, expect: scripted words}]"
    scenario = load_scenario_file(write_scenario(tmp_path, text))
    assert scenario.turns[0].key == "talk.flac:900"
    clip = build_corpus(scenario, print).clips["talk.flac:900"]
    assert (clip.label_low_ms, clip.label_high_ms, clip.source) == (50.0, -50.0, "recording talk.flac")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("corpus: ./nothing", "mine.scenario.yaml:2: `corpus`: .*there is no such folder"),
        ("corpus: eot-bench-fr", "mine.scenario.yaml:2: `corpus`: no corpus 'eot-bench-fr' is pinned; did you mean"),
        ("corpus: {name: ./talks, speaker: C}", "mine.scenario.yaml:2: `corpus`: no turn has the speaker 'C'"),
        ("corpus: {name: ./talks, min_pauses: 9}", r"0 of its turns \(3 in all\) pass .*, and 1 is needed"),
        ("corpus: {name: ./talks, speakers: A}", "unknown key `corpus.speakers`; did you mean `speaker`"),
        ("corpus: {name: ./talks, count: 0}", "`corpus.count` must be at least 1"),
        ("corpus: {name: ./talks, min_duration_ms: 9, max_duration_ms: 8}", "`corpus.min_duration_ms`.* is more than"),
        ("corpus: ./talks\nturns: [{id: turn-0, say: a}]", "its turn 'turn-0' has the name of one of `turns`"),
        ("turns: []", "mine.scenario.yaml:2: `turns` must not be empty"),
        ("description: x", "mine.scenario.yaml:1: `turns` is missing"),
        ("turns: [{excerpt: {file: no.wav, start_ms: 0, end_ms: 9}}]", "mine.scenario.yaml:2: .*there is no file"),
        ("turns: [{excerpt: {file: no.wav, start_ms: 9, end_ms: 9}}]", "`turns.0.excerpt.end_ms`.*must be after"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path: Path, text: str, message: str) -> None:
    """File, line, key."""
    write_corpus(tmp_path / "talks")
    with pytest.raises(ScenarioError, match=message) as caught:
        load_scenario_file(write_scenario(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_a_turn_after_the_files_end_names_its_line_of_the_table(tmp_path: Path) -> None:
    """In a run too, where no `corpus check` went before."""
    table = write_corpus(tmp_path / "talks")
    table.write_text(table.read_text("utf-8").replace('"end_ms": 2200', '"end_ms": 99000'))
    scenario = load_scenario_file(write_scenario(tmp_path, "corpus: ./talks"))
    with pytest.raises(ScenarioError, match=r"corpus\.jsonl:1: .*talk\.flac: it is .* and the turn ends at 99,000 ms"):
        build_corpus(scenario, print)
