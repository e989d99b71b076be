"""Turns: what they may hold, what contradicts itself, and that a fault names file, line and the nearest key."""

from __future__ import annotations

import pytest
from turngap.scenario import Expectation, Scenario, Turn
from turngap_agent import documents
from turngap_agent.errors import ScenarioError

HEAD = "name: test\nturns_per_call: all\nturns:\n"


def load_error(turn: str) -> str:
    """The error about a scenario with that turn on line 5, after a plain one."""
    with pytest.raises(ScenarioError) as caught:
        documents.parse(f"{HEAD}  - {{say: hello}}\n  - {turn}\n", "x.yaml", Scenario, ScenarioError)
    assert "\n" not in str(caught.value)
    assert caught.value.code == "scenario.invalid"
    return str(caught.value)


@pytest.mark.parametrize(
    ("turn", "message"),
    [
        ("{say: a, overagent_ms: 5}", "unknown key `turns.1.overagent_ms`; did you mean `over_agent_ms`?"),
        ("{say: a, noise: {kind: pink, snr: 5}}", "unknown key `turns.1.noise.snr`; did you mean `snr_db`?"),
        ("{say: a, noise: {kind: brown, snr_db: 5}}", "`turns.1.noise.kind` must be 'pink', 'babble'"),
        ("{say: a, noise: {kind: pink}}", "`turns.1.noise.snr_db` is missing"),
        ("{say: a, agent: stop}", "`agent: stop` needs `over_agent_ms`"),
        ("{sound: cough, agent: ignore}", "`agent: ignore` needs `over_agent_ms`"),
        ("{silence_ms: 500, agent: wait, over_agent_ms: 5}", "`agent: wait` cannot have `over_agent_ms`"),
        ("{silence_ms: 500}", "set `agent: wait`"),
        ('{dtmf: "1"}', "set `agent: wait`"),
        ("{sound: cough, over_agent_ms: 500}", "set `agent: ignore`"),
        ("{dtmf: 12, agent: wait}", "put keys in quotes"),
        ('{dtmf: "1x", agent: wait}', "`turns.1.dtmf`"),
        (
            "{say: a, silence_ms: 500}",
            "exactly one of prompt, say, audio, excerpt, sound, dtmf, silence_ms; it has say, silence_ms",
        ),
        ("{agent: wait}", "it has none"),
        ("{say: a, gaps_ms: 300}", "`gaps_ms` needs a `prompt` that is a list"),
        ("{prompt: [a, b, c], gaps_ms: [300]}", "`gaps_ms` lists 1 gaps for 3 parts; it needs 2"),
        ("{prompt: [a, b], gaps_ms: -1}", "gaps_ms"),
        ("{say: a, twin: b}", "this turn has no `noise`"),
        ("{say: a, agent: answer}", "`turns.1.agent` must be 'respond', 'wait', 'stop', 'ignore' or 'limit'"),
    ],
)
def test_a_faulty_turn_is_named_with_its_line(turn: str, message: str) -> None:
    """One line: file, line 5, what is wrong."""
    error = load_error(turn)
    assert error.startswith("x.yaml:5: ")
    assert message in error


def test_a_plain_turn_is_to_be_answered() -> None:
    """Without keys about the agent: respond, clean, after its reply."""
    turn = Turn(say="hello")
    assert (turn.agent, turn.condition, turn.over_agent_ms) == (Expectation.RESPOND, "", None)
    assert turn.key == "say:hello"


def test_names_are_made_of_voice_and_noise() -> None:
    """So that a sentence and its noisy twin need no `id`."""
    noise = {"kind": "pink", "snr_db": 10}
    assert Turn.model_validate({"prompt": ["a", "b"], "noise": noise}).key == "a+b (pink 10 dB)"
    assert Turn.model_validate({"prompt": "a", "noise": {"kind": "music", "snr_db": 2.5}}).condition == "music 2.5 dB"
    assert Turn.model_validate({"dtmf": "1#", "agent": "wait"}).key == "dtmf:1#"
    assert Turn.model_validate({"silence_ms": 500, "agent": "wait"}).key == "silence_ms:500"


def test_one_gap_applies_to_all_joints() -> None:
    """A number for each joint alike, a list for one each, nothing where chance settles them."""
    assert Turn.model_validate({"prompt": ["a", "b", "c"], "gaps_ms": 300}).all_gaps_ms == (300, 300)
    assert Turn.model_validate({"prompt": ["a", "b", "c"], "gaps_ms": [300, 0]}).all_gaps_ms == (300, 0)
    assert Turn.model_validate({"prompt": ["a", "b", "c"]}).all_gaps_ms is None


def test_a_caller_who_does_not_stop_has_words_and_speaks_over_nobody() -> None:
    """`agent: limit` is about one long utterance of its own."""
    assert Turn.model_validate({"say": "on and on", "agent": "limit"}).limit_after_ms == 10_000
    assert "no words" in load_error("{silence_ms: 500, agent: limit}")
    assert "`agent: limit` cannot have `over_agent_ms`" in load_error("{say: a, agent: limit, over_agent_ms: 5}")


def test_an_expectation_that_cannot_be_met_is_refused() -> None:
    """Words are not to be left without an answer, and only a caller who does not stop has a limit."""
    for voice in ("say: a", "prompt: hello", "audio: a.wav"):
        assert "`agent: wait` is for turns without words" in load_error(f"{{{voice}, agent: wait}}")
    assert "`limit_after_ms` needs `agent: limit`" in load_error("{say: a, limit_after_ms: 5000}")
    assert Turn.model_validate({"say": "on", "agent": "limit", "limit_after_ms": 5000}).limit_after_ms == 5000
