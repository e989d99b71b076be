"""The turns of a corpus with their audio: the right channel, the right samples, at 8 kHz."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from turngap.corpus.natural_turns import HEAD_MS, TAIL_MS, load_corpus, read_stretch
from turngap_agent.errors import ScenarioError

from tests.harness.corpora.small_corpus import GAP_MS, PAUSE_MS, SPEECH_MS, TURN_MS, make_recording, write_corpus


def test_turns_have_their_audio_and_what_the_table_says(tmp_path: Path) -> None:
    """The stretch around the turn, its samples, pauses and words from the stretch's start."""
    write_corpus(tmp_path / "talks", question="What is it?")
    corpus = load_corpus(tmp_path / "talks")
    sound, _ = make_recording(3)
    assert (corpus.name, corpus.sources, len(corpus.turns)) == ("talks", ("a synthetic voice (CC0-1.0)",), 3)
    turn = corpus.turns[1]
    head = int(HEAD_MS * 8)
    first = (GAP_MS + TURN_MS + GAP_MS) * 8 - head
    expected = np.rint(sound[first : first + len(turn.pcm)] * 32_768)
    assert len(turn.pcm) == head + TURN_MS * 8 + int(TAIL_MS * 8)
    assert np.abs(turn.pcm - expected).max() <= 1
    assert (turn.start_sample, turn.end_sample) == (head, head + TURN_MS * 8)
    assert turn.pauses == ((head + SPEECH_MS * 8, head + (SPEECH_MS + PAUSE_MS) * 8),)
    assert [(word.text, word.start_ms) for word in turn.words] == [
        ("scripted", HEAD_MS),
        ("words", HEAD_MS + SPEECH_MS + PAUSE_MS),
    ]
    assert (turn.text, turn.speaker, turn.question, turn.uncertainty_ms) == ("scripted words", "B", "What is it?", 5.0)


def test_only_the_named_channel_is_heard(tmp_path: Path) -> None:
    """The other speaker's channel is not mixed in."""
    write_corpus(tmp_path / "one")
    write_corpus(tmp_path / "two", channel=1, channels=2)
    for alone, beside in zip(load_corpus(tmp_path / "one").turns, load_corpus(tmp_path / "two").turns, strict=True):
        assert np.array_equal(alone.pcm, beside.pcm)


@pytest.mark.parametrize("rate", [16_000, 44_100, 48_000])
def test_other_rates_keep_the_place_of_a_sound(tmp_path: Path, rate: int) -> None:
    """A stretch that is read on its own is where it would be in the whole recording, to a sample."""
    t = np.arange(3 * rate) / rate
    pulse = np.exp(-0.5 * ((t - 1.2345) / 0.002) ** 2) * np.cos(2 * np.pi * 500 * (t - 1.2345)) * 0.5
    soundfile.write(tmp_path / "a.wav", pulse, rate, subtype="FLOAT")
    for start in (0.0, 500.0, 1003.7):
        pcm, first_ms = read_stretch(tmp_path / "a.wav", 0, start, 2000.0, 2000.0)
        assert first_ms == pytest.approx(start, abs=0.0626)
        assert first_ms + int(np.argmax(pcm)) / 8 == pytest.approx(1234.5, abs=0.13)
        assert len(pcm) == pytest.approx((2000 - start) * 8, abs=1)


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"file": "tolk.flac"}, "there is no file .*tolk.flac; did you mean 'talk.flac'"),
        ({"channel": 2}, "there is no channel 2; it has 1, counted from 0"),
        ({"end_ms": 99_000}, "it is 7,500 ms long, and the turn ends at 99,000 ms"),
        ({"file": "corpus.jsonl"}, "cannot be read as audio"),
    ],
)
def test_audio_that_does_not_fit_the_table_is_named(tmp_path: Path, keys: dict[str, object], message: str) -> None:
    """With the row's place."""
    table = write_corpus(tmp_path / "talks")
    row = json.loads(table.read_text().splitlines()[0]) | keys
    table.write_text(json.dumps(row))
    with pytest.raises(ScenarioError, match=f"corpus.jsonl:1: .*{message}") as caught:
        load_corpus(tmp_path / "talks")
    assert caught.value.code == "scenario.audio"
