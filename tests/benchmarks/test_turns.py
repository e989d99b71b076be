"""The benchmark of turns: what a policy decides on a track, and which detectors get a line."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from turngap.model.records import Pcm16
from turngap_agent import profile
from turngap_agent.endpointing import EndpointEvent, EventKind, Voicing
from turngap_agent.endpointing.scripted import ScriptedTurnSettings
from turngap_agent.engines import TurnSettings, registry
from turngap_agent.engines.settings import EngineKind, EngineSettings

from benchmarks import turns
from benchmarks.turn_taking.decisions import decide
from benchmarks.turn_taking.hearing import Costs, Hearing
from benchmarks.turn_taking.tracks import RecordedTurn, Track, find_pauses, is_fragment

WINDOW = 256
MODEL = ("endpointing.model={engine: scripted}", "endpointing.min_silence_ms=320", "endpointing.max_silence_ms=640")


def make_track(*spans: tuple[int, int], turns: tuple[RecordedTurn, ...]) -> tuple[Track, list[Voicing]]:
    """A track with speech in `spans`, in windows of 32 ms, and its detector's output."""
    voicings = []
    for at in range(200):
        speaks = any(start <= at < end for start, end in spans)
        voicings.append(Voicing((at + 1) * WINDOW, float(speaks), -20.0 if speaks else -90.0))
    return Track("made", "one", "somebody", np.zeros(200 * WINDOW, np.int16), turns), voicings


def spoken(start: int, end: int, *pauses: tuple[int, int], over: bool = True) -> RecordedTurn:
    return RecordedTurn((start * WINDOW, end * WINDOW), tuple((a * WINDOW, b * WINDOW) for a, b in pauses), over)


@pytest.mark.parametrize(("probability", "cut"), [(1.0, True), (0.0, False)])
def test_the_models_answer_decides_a_pause_between_the_two_silences(probability: float, cut: bool) -> None:
    """A pause of 480 ms: cut off by a model that is sure of the end, survived by one that is sure of none."""
    turn = spoken(10, 60, (30, 45))
    track, voicings = make_track((10, 30), (45, 60), turns=(turn,))
    settings = profile.load("cpu", ("endpointing.pace=null", "endpointing.cut_off_rate=0.3", *MODEL)).endpointing
    (outcome,) = decide(settings, track, voicings, lambda event: (probability, 0))
    assert outcome.cut_off is cut
    assert outcome.pauses[0].cut_off is cut
    assert outcome.pauses[0].length_ms == 480
    assert outcome.delay_ms == (320 if probability else 640)


def test_an_answer_that_comes_late_costs_time_alone() -> None:
    """Known only after the shortest silence, it confirms then; after the longest, silence has."""
    track, voicings = make_track((10, 60), turns=(spoken(10, 60),))
    settings = profile.load("cpu", ("endpointing.pace=null", "endpointing.cut_off_rate=0.3", *MODEL)).endpointing

    def answer_after(ms: int) -> float | None:
        def answer(event: EndpointEvent) -> tuple[float, int]:
            return 1.0, ms * 8

        (outcome,) = decide(settings, track, voicings, answer)
        return outcome.delay_ms

    assert answer_after(0) == 320
    assert 320 < (answer_after(300) or 0) < 640
    assert answer_after(2000) == 640


@pytest.mark.parametrize(
    ("transcript", "fragment"),
    [
        ("The number was successfully...", True),
        ("...to exit the menu.", True),
        ("I have a caller waiting, who introduces themselves as:", True),
        ("incoming call from", True),
        ("Is set to.", True),
        ("or 9 to save this message", True),
        ("press 0 for help", False),
        ("Please hold while we try to connect you.", False),
        ("Change to which folder?", False),
    ],
)
def test_a_prompt_that_is_to_be_joined_is_no_turn(transcript: str, fragment: bool) -> None:
    """By its marks, or by a last word that asks for another one."""
    assert is_fragment(transcript) is fragment


def test_a_pause_is_judged_by_its_own_turns_question(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not by the first question of the track."""
    both = [replace(spoken(10, 60), question="Yes or no?"), replace(spoken(90, 120), question="Your number?")]
    track, _ = make_track((10, 60), (90, 120), turns=tuple(both))
    asked = []

    def judge(self: Hearing, settings: TurnSettings, pcm: Pcm16, question: str) -> float:
        asked.append(question)
        return 0.0

    monkeypatch.setattr(Hearing, "judge", judge)
    hearing = Hearing(profile.load("cpu"), Costs(0, 0, 0))
    answer = hearing.answers(track, ScriptedTurnSettings(engine="scripted"))
    for at in (65, 125):
        answer(EndpointEvent(EventKind.COMPLETION_ASKED, at * WINDOW, 10 * WINDOW, (at - 5) * WINDOW))
    hearing.close()
    assert asked == ["Yes or no?", "Your number?"]


def test_a_turn_that_the_recording_cuts_has_no_delay() -> None:
    """Nobody knows whether it is over."""
    track, voicings = make_track((10, 60), turns=(spoken(10, 60, over=False),))
    settings = profile.load("cpu", ("endpointing.pace=null", "endpointing.model=null")).endpointing
    (outcome,) = decide(settings, track, voicings, lambda event: (0.0, 0))
    assert outcome.delay_ms is None
    assert not outcome.cut_off


def test_pauses_are_found_by_level() -> None:
    """Silence of 100 ms and more inside the turn, to a frame of 10 ms."""
    pcm = np.random.default_rng(0).normal(0, 3000, 8000).astype(np.int16)
    pcm[2000:4000] = 0
    pcm[5000:5400] = 0
    ((start, end),) = find_pauses(pcm, (0, 8000))
    assert (start, end) == (2000, 4000)


def test_a_turn_model_of_another_package_gets_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    """By its name in the registry; one that cannot be built from its name alone is left out, and named."""

    class Plugged(ScriptedTurnSettings):
        pass

    class Demanding(TurnSettings):
        key: str

    known: dict[str, type[EngineSettings]] = {"plugged": Plugged, "demanding": Demanding}
    find = registry.find

    def find_any(stage: EngineKind, name: str) -> type[EngineSettings]:
        return known.get(name) or find(stage, name)

    monkeypatch.setattr(Plugged, "__annotations__", {}, raising=False)
    monkeypatch.setattr(registry, "names", lambda stage: [*registry.SHIPPED["turn"], *known])
    monkeypatch.setattr(registry, "find", find_any)
    monkeypatch.setattr(Plugged, "model_validate", classmethod(lambda cls, data: Plugged(engine="scripted")))
    models = turns.list_models()
    assert {"smart_turn", "words_and_melody", "plugged"} <= set(models)
    assert not {"scripted", "demanding"} & set(models)
    lines = turns.list_policies(profile.load("cpu"))
    assert lines["plugged, patient"][-1] == "endpointing.model={engine: plugged}"
    assert turns.PATIENT in lines
    assert turns.EAGER in lines
