"""The caller's voice told from the agent's own, come back."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.call.echo import SILENT_DBFS, Played, level_dbfs
from pipeline.profile.barge_in import BargeInSettings
from pipeline.telephony import mulaw

MS = 1_000_000
SETTINGS = BargeInSettings(echo_below_db=20, echo_within_ms=500)


def noise(dbfs: float, samples: int = 256, seed: int = 0) -> bytes:
    pcm = np.random.default_rng(seed).normal(0, 32_768 * 10 ** (dbfs / 20), samples)
    return mulaw.encode(np.clip(pcm, -32_767, 32_767).astype(np.int16))


def test_levels_are_without_the_offset():
    """RMS below full scale; a constant is silence."""
    assert level_dbfs(noise(-20, 8000)) == pytest.approx(-20, abs=0.2)
    assert level_dbfs(mulaw.encode(np.full(256, 9000, np.int16))) == SILENT_DBFS
    assert level_dbfs(b"") == SILENT_DBFS


@given(
    agent=st.floats(-30, -10),
    attenuation=st.floats(25, 35),
    delay_ms=st.integers(100, 250),
    at_ms=st.integers(0, 1400),
)
def test_an_echo_is_known_for_one(agent, attenuation, delay_ms, at_ms):
    """The agent's audio back at -25 to -35 dB after 100 to 250 ms, in any window, while it speaks and just after."""
    said = noise(agent, 8000)
    played = Played(SETTINGS)
    played.add(said, 0)
    line = np.zeros(24_000)
    line[delay_ms * 8 : delay_ms * 8 + 8000] = mulaw.decode(said) * 10 ** (-attenuation / 20)
    window = mulaw.encode(line[at_ms * 8 : at_ms * 8 + 256].astype(np.int16))
    audible = np.any(line[at_ms * 8 : at_ms * 8 + 256])
    assert not audible or played.is_echo(window, (at_ms + 32) * MS)


@given(agent=st.floats(-30, -10), below=st.floats(0, 15), at_ms=st.integers(0, 2000))
def test_a_caller_over_the_agent_is_no_echo(agent, below, at_ms):
    """A voice up to 15 dB weaker than the agent's is heard, whenever it comes."""
    played = Played(SETTINGS)
    played.add(noise(agent, 8000), 0)
    assert not played.is_echo(noise(agent - below, seed=1), (at_ms + 32) * MS)


def test_when_nothing_was_played_the_weakest_voice_is_heard():
    """Before the agent's first word, and longer after its last than an echo takes."""
    played = Played(SETTINGS)
    assert not played.is_echo(noise(-60), 0)
    played.add(noise(-15, 8000), 1000 * MS)
    assert not played.is_echo(noise(-60), 900 * MS)
    assert played.is_echo(noise(-60), 1100 * MS)
    assert not played.is_echo(noise(-60), 2600 * MS)


def test_what_was_cleared_has_no_echo():
    """After a `clear` only what was heard before it can come back."""
    played = Played(SETTINGS)
    played.add(noise(-15, 8000), 0)
    played.cut(200 * MS)
    assert played.is_echo(noise(-60), 600 * MS)
    assert not played.is_echo(noise(-60), 900 * MS)
