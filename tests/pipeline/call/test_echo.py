"""The caller's voice told from the agent's own, come back."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.call.echo import Played
from turngap_agent.endpointing.windows import level_dbfs
from turngap_agent.profile.barge_in import BargeInSettings
from turngap_agent.telephony import mulaw

MS = 1_000_000
SETTINGS = BargeInSettings(echo_below_db=20, echo_within_ms=500)


def noise(dbfs: float, samples: int = 256, seed: int = 0) -> bytes:
    pcm = np.random.default_rng(seed).normal(0, 32_768 * 10 ** (dbfs / 20), samples)
    return mulaw.encode(np.clip(pcm, -32_767, 32_767).astype(np.int16))


def is_echo(played: Played, window: bytes, arrived_ms: int) -> bool:
    return played.is_echo(level_dbfs(mulaw.decode(window)), (arrived_ms - 32) * MS, arrived_ms * MS)


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
    assert not audible or is_echo(played, window, at_ms + 32)


@given(agent=st.floats(-30, -10), below=st.floats(0, 15), at_ms=st.integers(0, 2000))
def test_a_caller_over_the_agent_is_no_echo(agent, below, at_ms):
    """A voice up to 15 dB weaker than the agent's is heard, whenever it comes."""
    played = Played(SETTINGS)
    played.add(noise(agent, 8000), 0)
    assert not is_echo(played, noise(agent - below, seed=1), at_ms + 32)


def test_when_nothing_was_played_the_weakest_voice_is_heard():
    """Before the agent's first word, and longer after its last than an echo takes."""
    played = Played(SETTINGS)
    assert not is_echo(played, noise(-60), 0)
    played.add(noise(-15, 8000), 1000 * MS)
    assert not is_echo(played, noise(-60), 900)
    assert is_echo(played, noise(-60), 1100)
    assert not is_echo(played, noise(-60), 2600)


def test_what_was_cleared_has_no_echo():
    """After a `clear` only what was heard before it can come back."""
    played = Played(SETTINGS)
    played.add(noise(-15, 8000), 0)
    played.cut(200 * MS)
    assert is_echo(played, noise(-60), 600)
    assert not is_echo(played, noise(-60), 900)
