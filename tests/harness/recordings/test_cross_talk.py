"""Cross-talk: its attenuation and delay are found, and what leaked is no speech of the channel that it leaked to."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap.recordings.call_talk import CallTalk, find_talk
from turngap.recordings.sound import open_call

from tests.harness.recordings.dialogues import AGENT, CALLER, LENGTH_MS, Floats, make_dialogue, write_dialogue


def talk_of(tmp_path: Path, sound: Floats) -> CallTalk:
    return find_talk(open_call(write_dialogue(tmp_path / "call.wav", sound)))


@pytest.mark.parametrize(("attenuation_db", "delay_ms"), [(18.0, 4.0), (25.0, 1.5), (30.0, 60.0), (22.0, 350.0)])
def test_leakage_is_measured_and_is_no_speech(tmp_path: Path, attenuation_db: float, delay_ms: float) -> None:
    """From two microphones in a room to a loudspeaker's echo over a network."""
    talk = talk_of(tmp_path, make_dialogue(CALLER, AGENT, LENGTH_MS, floor_dbfs=-75, leak=(attenuation_db, delay_ms)))
    for leak in talk.leakage:
        assert leak is not None
        assert leak.attenuation_db == pytest.approx(attenuation_db, abs=3)
        assert leak.delay_ms == pytest.approx(delay_ms, abs=1)
    for track, spans in zip(talk.tracks, (CALLER, AGENT), strict=True):
        assert [stretch.start.at_ms for stretch in track.stretches] == pytest.approx([a for a, _ in spans], abs=15)


def test_clean_channels_have_none(tmp_path: Path) -> None:
    """Nothing is found where nothing leaks."""
    assert talk_of(tmp_path, make_dialogue(CALLER, AGENT, LENGTH_MS)).leakage == (None, None)


def test_a_side_that_only_hears_the_other_is_silent(tmp_path: Path) -> None:
    """A channel with nothing but the other's echo has no speech of its own."""
    talk = talk_of(tmp_path, make_dialogue([], AGENT, LENGTH_MS, floor_dbfs=-75, leak=(20.0, 30.0)))
    assert talk.silent == (True, False)


def test_speech_over_leakage_is_found(tmp_path: Path) -> None:
    """Who speaks while the other's sound leaks in is heard over it."""
    caller, agent = [(3000.0, 3600.0)], [(500.0, 6000.0)]
    talk = talk_of(tmp_path, make_dialogue(caller, agent, 7000, floor_dbfs=-75, leak=(25.0, 5.0)))
    (stretch,) = talk.tracks[0].stretches
    assert (stretch.start.at_ms, stretch.end.at_ms) == pytest.approx((3000, 3600), abs=15)
