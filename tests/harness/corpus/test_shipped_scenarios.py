"""The scenarios that ship: whole, distinct, firm, and as short as they say."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from harness import scenario
from harness.corpus import clips as corpus
from harness.scenario import Scenario

FOLDER = Path(__file__).parents[3] / "scenarios"
NAMES = ("smoke", "default", "gate")


def load(name: str) -> Scenario:
    return scenario.load(FOLDER / f"{name}{scenario.SUFFIX}")


@pytest.mark.parametrize("name", NAMES)
def test_every_turn_is_human_and_can_be_replaced(name: str) -> None:
    """Each is a recorded prompt and carries its words, so that the synthetic voice can say them."""
    loaded = load(name)
    assert loaded.name == name
    assert all(turn.prompt and turn.expect for turn in loaded.turns)


@pytest.mark.parametrize("name", NAMES)
def test_utterances_are_distinct(name: str) -> None:
    """No two turns of a scenario have the same words."""
    words = [re.sub(r"[^a-z0-9 ]", "", (turn.expect or "").lower()) for turn in load(name).turns]
    assert len(set(words)) == len(words)


@pytest.mark.parametrize("name", NAMES)
def test_transcripts_hold_only_what_is_spoken(name: str) -> None:
    """No brackets, no ellipses, no digits: words as they are said."""
    assert not [turn.expect for turn in load(name).turns if re.search(r"[\[\]()<>\d#*]|\.\.", turn.expect or "")]


def test_sizes_are_what_the_statistics_need() -> None:
    """Smoke: 3 turns of one call. Default: at least 20. Gate: at least 181, with short ones as a stratum."""
    smoke, default, gate = (load(name) for name in NAMES)
    assert (len(smoke.turns), smoke.turns_per_call) == (3, "all")
    assert len(default.turns) >= 20
    assert (default.turns_per_call, default.probe) == (1, True)
    assert len(gate.turns) >= 181
    assert (gate.gate, gate.probe, gate.simultaneous_calls) == (True, True, 1)
    short = [turn for turn in gate.turns if turn.stratum == "short"]
    assert len(short) >= 40
    assert all(len((turn.expect or "").split()) <= 2 for turn in short)


@pytest.mark.engines
@pytest.mark.parametrize(("name", "minutes"), [("smoke", 1), ("default", 4), ("gate", 15)])
def test_every_clip_is_firm_and_the_run_is_short(name: str, minutes: float) -> None:
    """With the real prompts nothing is left out, and with an answer after 900 ms the calls take so long at most."""
    loaded = load(name)
    prepared = corpus.prepare(loaded)
    assert prepared.notes == ()
    assert len(prepared.clips) == len(loaded.turns)
    assert not any(clip.synthetic for clip in prepared.clips.values())
    speech_s = sum(len(clip.pcm) for clip in prepared.clips.values()) / 8000
    around_s = sum(turn.pause_ms / 1000 + 0.9 + 0.5 + 0.1 for turn in loaded.turns)
    assert (speech_s + around_s) / 60 < minutes
