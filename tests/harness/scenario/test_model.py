"""Scenario files: what their turns must be to one another, what a line may do, and where an error is."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap.scenario import NO_IMPAIRMENTS, Scenario, load_scenario_file
from turngap_agent import documents
from turngap_agent.errors import ScenarioError

OVER = "{id: over, say: wait, agent: stop, over_agent_ms: 300}"


def parse(text: str) -> Scenario:
    return documents.parse(f"name: test\n{text}", "x.yaml", Scenario, ScenarioError)


@pytest.mark.parametrize(
    ("text", "line", "facts"),
    [
        (f"turns: [{{say: a}}, {OVER}]", 1, ("set `shuffle: calls`",)),
        (f"turns_per_call: all\nturns:\n- {OVER}", 4, ("'over'", "is the first of a call")),
        (
            f"turns_per_call: 2\nshuffle: calls\nturns:\n- {{say: a}}\n- {{say: b}}\n- {OVER}",
            7,
            ("'over'", "is the first of a call", "2 turns"),
        ),
        ("turns:\n- {say: a}\n- {say: a}", 4, ("two turns", "'say:a'")),
        ("turns:\n- say: a\ngate: true\nturns_per_call: 2", 5, ("a gate needs `turns_per_call: 1`",)),
        (
            "turns:\n- {id: bee, say: a}\n- say: a\n  noise: {kind: pink, snr_db: 1}\n  twin: be",
            6,
            ("its twin 'be' is not a turn of this scenario; did you mean 'bee'?",),
        ),
        (
            "turns:\n- {id: b, say: a, noise: {kind: line, snr_db: 1}}\n"
            "- {say: a, noise: {kind: line, snr_db: 5}, twin: b}",
            4,
            ("its twin 'b' is noisy itself",),
        ),
        ("shuffel: calls\nturns: [{say: a}]", 2, ("unknown key `shuffel`; did you mean `shuffle`?",)),
        ("line: {echo: {delay: 3}}\nturns: [{say: a}]", 2, ("unknown key `line.echo.delay`",)),
        ("line: {loss_percent: 90}\nturns: [{say: a}]", 2, ("`line.loss_percent`",)),
        ("line: {clip_dbfs: 3}\nturns: [{say: a}]", 2, ("`line.clip_dbfs`",)),
        ("hang_up: never\nturns: [{say: a}]", 2, ("`hang_up`",)),
    ],
)
def test_an_error_names_its_line(text: str, line: int, facts: tuple[str, ...]) -> None:
    """One line with the place of what is wrong, also where turns contradict one another, and the nearest name."""
    with pytest.raises(ScenarioError) as caught:
        parse(text)
    message = str(caught.value)
    assert caught.value.code == "scenario.invalid"
    assert message.startswith(f"x.yaml:{line}: ")
    assert "\n" not in message
    for fact in facts:
        assert fact in message


def test_a_line_does_nothing_by_default() -> None:
    """Every degradation is off by default, and an echo has defaults in the range that telephones have."""
    assert parse("turns: [{say: a}]").line == NO_IMPAIRMENTS
    line = parse("line: {echo: {}}\nturns: [{say: a}]").line
    assert line.echo is not None
    assert (line.echo.attenuation_db, line.echo.delay_ms) == (30, 150)


def test_a_recording_path_is_relative_to_its_scenario(tmp_path: Path) -> None:
    """The path becomes absolute, the turn's name does not, so that twins and results know it."""
    (tmp_path / "a.wav").write_bytes(b"")
    path = tmp_path / "x.scenario.yaml"
    path.write_text(
        "name: x\nturns: [{audio: a.wav}, {audio: a.wav, id: b, noise: {kind: pink, snr_db: 5}, twin: 'audio:a.wav'}]\n"
    )
    clean, noisy = load_scenario_file(path).turns
    assert clean.audio == tmp_path / "a.wav"
    assert clean.key == noisy.twin == "audio:a.wav"


@pytest.mark.parametrize(
    ("audio", "hint"),
    [
        ("yess.wav", "did you mean 'yes.wav'?"),
        ("none.wav", "there is no file"),
        ("nowhere/yes.wav", "there is no folder"),
        (".", "is a folder"),
    ],
)
def test_a_missing_recording_is_named_with_its_line_and_the_nearest_file(tmp_path: Path, audio: str, hint: str) -> None:
    """File, line of the turn's `audio`, turn, and what is there instead."""
    (tmp_path / "yes.wav").write_bytes(b"")
    path = tmp_path / "x.scenario.yaml"
    path.write_text(f"name: x\nturns:\n- say: hello\n- id: two\n  audio: {audio}\n")
    with pytest.raises(ScenarioError) as caught:
        load_scenario_file(path)
    assert caught.value.code == "scenario.audio"
    assert str(caught.value).startswith(f"{path}:5: turn 'two': ")
    assert hint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_where_a_scenario_was_read_is_no_part_of_it(tmp_path: Path) -> None:
    """The same scenario from a file and made in Python is equal; only the file's knows its lines."""
    path = tmp_path / "x.scenario.yaml"
    path.write_text("name: x\nturns:\n- say: hello\n- say: bye\n")
    scenario = load_scenario_file(path)
    made = Scenario.model_validate({"name": "x", "turns": [{"say": "hello"}, {"say": "bye"}]})
    assert scenario == made
    kept = scenario.model_copy(update={"turns": scenario.turns[1:]})
    assert kept.locate_turn(kept.turns[0], "say") == f"{path}:4: turn 'say:bye'"
    assert made.locate_turn(made.turns[1], "say") == "scenario 'x', turn 'say:bye'"
    path.unlink()
    assert scenario.locate_turn(scenario.turns[0], "say") == "scenario 'x', turn 'say:hello'"
