"""Pins how known audio is located: to the sample, through μ-law and noise, and not where it is not."""

from __future__ import annotations

import numpy as np
import pytest
from turngap.calibration.utterances import make_burst
from turngap.caller.comfort_noise import make_comfort_noise
from turngap.live.cross_correlation import find_end, find_match
from turngap.model.records import Pcm16
from turngap_agent.telephony import mulaw


def within(pcm: Pcm16, at: int, length: int = 16_000) -> Pcm16:
    line = make_comfort_noise(length, 5)
    line[at : at + len(pcm)] = pcm
    return mulaw.decode(mulaw.encode(line))


@pytest.mark.parametrize("at", [0, 1, 777, 14_000])
def test_known_audio_is_located_to_the_sample(at: int) -> None:
    """Through μ-law, wherever it is."""
    known = make_burst(200, 3).pcm
    match = find_match(known, within(known, at))
    assert match is not None
    assert match.at == at
    assert match.score > 0.95


def test_a_line_that_turns_its_sign_or_level_changes_nothing() -> None:
    """Likeness is of form: half as loud and upside down is the same speech."""
    known = make_burst(200, 3).pcm
    line = (-0.5 * within(known, 4321)).astype(np.int16)
    match = find_match(known, line)
    assert match is not None
    assert match.at == 4321


def test_other_audio_is_not_located() -> None:
    """Another burst, noise, silence, and too little audio."""
    known = make_burst(200, 3).pcm
    for audio in (
        within(make_burst(200, 4).pcm, 500),
        make_comfort_noise(8000, 1),
        np.zeros(8000, np.int16),
        known[:100],
    ):
        assert find_match(known, audio) is None
    assert find_match(np.zeros(100, np.int16), known) is None
    assert find_match(np.empty(0, np.int16), known) is None


def test_the_last_second_locates_the_end() -> None:
    """A long utterance's end, though its beginning was lost."""
    known = make_burst(2500, 9).pcm
    line = within(known, 3000, 40_000)
    line[3000:9000] = 0
    assert find_end(known, line) == 3000 + len(known)
