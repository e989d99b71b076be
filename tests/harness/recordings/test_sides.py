"""Which side is the caller's: assumed, said, or labelled; swapped channels and mono are said, and not scored."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from turngap.annotations import Annotations, order_annotations
from turngap.annotations import Stretch as LabelledStretch
from turngap.recordings.call_record import MeasuredCall, measure_call
from turngap.recordings.call_talk import find_talk
from turngap.recordings.sound import open_call

from tests.harness.recordings.dialogues import (
    AGENT,
    CALLER,
    LENGTH_MS,
    Floats,
    make_call,
    make_dialogue,
    write_dialogue,
)


def measure(
    tmp_path: Path, sound: Floats, caller: int | None = None, labels: Annotations | None = None
) -> MeasuredCall:
    call = open_call(write_dialogue(tmp_path / "call.wav", sound))
    return measure_call(call, find_talk(call), call=0, name="call", caller=caller, labels=labels, network_ms=0.0)


def make_labels(
    names: tuple[str, str] = ("caller", "agent"), channels: tuple[int | None, int | None] = (None, None)
) -> Annotations:
    """Return labels whose ends are 20 ms later than the voices'."""
    spans = zip((CALLER, AGENT), names, channels, strict=True)
    return order_annotations(
        LabelledStretch(start_ms, end_ms + 20, speaker=name, channel=channel)
        for side, name, channel in spans
        for start_ms, end_ms in side
    )


def test_the_left_channel_is_taken_for_the_callers(tmp_path: Path) -> None:
    """The agent greets, so nothing speaks against it."""
    found = measure(tmp_path, make_call()).record
    assert (found.scored, found.caller_on, found.side_from, found.remarks) == (True, "left", "assumed", ())
    assert found.greeted_by == "agent"
    assert found.turns == 2


def test_swapped_channels_are_asked_about_and_not_scored(tmp_path: Path) -> None:
    """The supposed caller speaks first: a question with both answers, no turns."""
    found = measure(tmp_path, make_call()[:, ::-1])
    assert found.turns == ()
    assert not found.record.scored
    (remark,) = found.record.remarks
    assert "swapped?" in remark
    assert "--caller left or --caller right" in remark


def test_an_option_answers_the_question(tmp_path: Path) -> None:
    """With the right channel the gaps are those of the call; with the left one a remark stays."""
    straight, swapped = measure(tmp_path, make_call()), measure(tmp_path, make_call()[:, ::-1], caller=1)
    gaps = [[turn.turn_gap_ms for turn in each.turns] for each in (straight, swapped)]
    assert gaps[0] == gaps[1]
    assert (swapped.record.caller_on, swapped.record.side_from) == ("right", "option")
    stubborn = measure(tmp_path, make_call()[:, ::-1], caller=0).record
    assert stubborn.scored
    assert "swapped?" in stubborn.remarks[0]


@pytest.mark.parametrize("gain", [1.0, -0.5])
def test_mono_in_two_channels_is_said_and_not_scored(tmp_path: Path, gain: float) -> None:
    """Equal channels, also with another gain or sign, say nothing of who speaks."""
    both = make_call().sum(axis=1, keepdims=True) / 2
    found = measure(tmp_path, np.concatenate([both, gain * both], axis=1))
    assert found.turns == ()
    assert found.record.remarks[0].startswith("mono:")


def test_a_silent_side_is_said_and_not_scored(tmp_path: Path) -> None:
    """One side alone has no turns."""
    for spans, silent in (((CALLER, []), "right"), (([], AGENT), "left")):
        found = measure(tmp_path, make_dialogue(*spans, LENGTH_MS))
        assert found.turns == ()
        assert f"no speech on the {silent} channel" in found.record.remarks[0]


def test_labelled_ends_are_known(tmp_path: Path) -> None:
    """The gap is the labels', with no uncertainty."""
    found = measure(tmp_path, make_call(), labels=make_labels())
    assert (found.record.ends_from, found.record.side_from) == ("labels", "labels")
    assert [turn.turn_gap_ms for turn in found.turns] == [580, 780]
    assert all(turn.recorded and turn.recorded.gap_low_ms == turn.turn_gap_ms for turn in found.turns)
    assert [(turn.label_low_ms, turn.label_high_ms) for turn in found.turns] == [(0, 0)] * 2


def test_labels_say_where_the_caller_is(tmp_path: Path) -> None:
    """By their names, whichever channel it is."""
    found = measure(tmp_path, make_call()[:, ::-1], labels=make_labels(("Customer", "Bot"))).record
    assert (found.scored, found.caller_on, found.side_from) == (True, "right", "labels")


def test_labels_that_contradict_the_sound_are_certain(tmp_path: Path) -> None:
    """Of named channels, and of names beside an option: said, with what to do, and not scored."""
    swapped = make_call()[:, ::-1]
    found = measure(tmp_path, swapped, labels=make_labels(channels=(0, 1)))
    assert found.turns == ()
    assert found.record.remarks[0].startswith("swapped channels:")
    found = measure(tmp_path, swapped, caller=0, labels=make_labels())
    assert found.turns == ()
    assert "--caller right" in found.record.remarks[0]
    assert measure(tmp_path, make_call(), caller=0, labels=make_labels(channels=(0, 1))).record.scored


def test_labels_of_one_speaker_are_refused(tmp_path: Path) -> None:
    """They do not say who speaks when."""
    alone = order_annotations([LabelledStretch(0, 1000, speaker="caller")])
    found = measure(tmp_path, make_call(), labels=alone).record
    assert not found.scored
    assert "two speakers" in found.remarks[0]
