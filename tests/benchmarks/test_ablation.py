"""The steps of the ablation: each differs from the one before, and the last is what the profile ships."""

from __future__ import annotations

import itertools

from turngap_agent import profile

from benchmarks import ablation


def test_each_step_adds_one_part() -> None:
    """No two neighbours have the same settings, and all are settings that the profile knows."""
    steps = ablation.steps(416)
    profiles = {name: profile.load("cpu", settings).model_dump() for name, settings in steps.items()}
    for (name, one), (next_name, other) in itertools.pairwise(profiles.items()):
        assert one != other, (name, next_name)


def test_early_phrases_come_with_their_step() -> None:
    """Every step before it has the first clause of before; it and those after it have the profile's own."""
    steps = ablation.steps(416)
    early = [profile.load("cpu", settings).llm.early_phrase for settings in steps.values()]
    place = list(steps).index("+ first clause up to a phrase")
    assert early == [False] * place + [True] * (len(steps) - place)


def test_kept_phrases_come_with_their_step() -> None:
    """The steps before it synthesise every clause."""
    steps = ablation.steps(416)
    kept = [bool(profile.load("cpu", settings).tts.model_dump()["phrases"]) for settings in steps.values()]
    place = list(steps).index("+ common first clauses kept as audio")
    assert kept == [False] * place + [True] * (len(steps) - place)
