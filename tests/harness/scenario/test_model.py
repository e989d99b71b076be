"""Scenario files: what their turns must be to one another, and what a line may do."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap.scenario import CLEAN, Scenario, load
from turngap_agent import documents
from turngap_agent.errors import ScenarioError

OVER = "{id: over, say: wait, agent: stop, over_agent_ms: 300}"


def parse(text: str) -> Scenario:
    return documents.parse(f"name: test\n{text}", "x.yaml", Scenario, ScenarioError)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (f"turns: [{{say: a}}, {OVER}]", "they need `shuffle: calls`"),
        (f"turns_per_call: all\nturns: [{OVER}]", "turn 'over' begins a call"),
        (
            f"turns_per_call: 2\nshuffle: calls\nturns: [{{say: a}}, {{say: b}}, {OVER}]",
            "turn 'over' begins a call, and speaks over an agent that has not spoken; calls have 2 turns",
        ),
        ("turns: [{say: a, noise: {kind: pink, snr_db: 1}, twin: b}]", "its twin 'b' is no turn of this scenario"),
        (
            "turns: [{id: b, say: a, noise: {kind: line, snr_db: 1}},"
            " {say: a, noise: {kind: line, snr_db: 5}, twin: b}]",
            "its twin 'b' is noisy itself",
        ),
        ("shuffel: calls\nturns: [{say: a}]", "x.yaml:2: unknown key `shuffel`; did you mean `shuffle`?"),
        ("line: {echo: {delay: 3}}\nturns: [{say: a}]", "x.yaml:2: unknown key `line.echo.delay`"),
        ("line: {loss_percent: 90}\nturns: [{say: a}]", "x.yaml:2: `line.loss_percent`"),
        ("line: {clip_dbfs: 3}\nturns: [{say: a}]", "x.yaml:2: `line.clip_dbfs`"),
        ("hang_up: never\nturns: [{say: a}]", "x.yaml:2: `hang_up`"),
    ],
)
def test_a_faulty_scenario_is_named(text: str, message: str) -> None:
    """One line of what is wrong and where."""
    with pytest.raises(ScenarioError) as caught:
        parse(text)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_line_does_nothing_unless_told() -> None:
    """Every degradation is off by default, and an echo has defaults in the range that telephones have."""
    assert parse("turns: [{say: a}]").line == CLEAN
    line = parse("line: {echo: {}}\nturns: [{say: a}]").line
    assert line.echo is not None
    assert (line.echo.attenuation_db, line.echo.delay_ms) == (30, 150)


def test_a_recording_is_found_beside_its_scenario_and_keeps_its_name(tmp_path: Path) -> None:
    """The path becomes absolute, the turn's name does not, so that twins and results know it."""
    (tmp_path / "a.wav").write_bytes(b"")
    path = tmp_path / "x.scenario.yaml"
    path.write_text(
        "name: x\nturns: [{audio: a.wav}, {audio: a.wav, id: b, noise: {kind: pink, snr_db: 5}, twin: 'audio:a.wav'}]\n"
    )
    clean, noisy = load(path).turns
    assert clean.audio == tmp_path / "a.wav"
    assert clean.key == noisy.twin == "audio:a.wav"
    path.write_text("name: x\nturns: [{audio: none.wav}]\n")
    with pytest.raises(ScenarioError, match=r"turn 'audio:none.wav': no audio file"):
        load(path)
