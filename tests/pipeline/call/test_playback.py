"""What the agent takes for heard, from marks and its playback clock; and its own voice, returned as an echo."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from turngap_agent.call.playback import Playback, PlayedLevels
from turngap_agent.endpointing.windows import level_dbfs
from turngap_agent.profile.sections import BargeInSettings
from turngap_agent.telephony import mulaw

MS = 1_000_000
SETTINGS = BargeInSettings(echo_below_db=20, echo_within_ms=500)


def test_audio_is_played_in_order_at_8_khz():
    """Messages are appended to what is buffered: 100 ms and 50 ms end 150 ms after the first."""
    playback = Playback()
    playback.add_audio(800, 0)
    playback.add_audio(400, 10 * MS)
    assert playback.unheard_samples(0) == 1200
    assert playback.unheard_samples(100 * MS) == 400
    assert playback.unheard_samples(200 * MS) == 0


def test_after_a_pause_playing_begins_anew():
    """What is sent when the buffer has run dry starts then, not at the old end."""
    playback = Playback()
    playback.add_audio(800, 0)
    playback.add_audio(800, 500 * MS)
    assert playback.unheard_samples(550 * MS) == 400


def test_a_mark_that_is_back_proves_that_its_audio_was_heard():
    """An echo that arrives before the clock expects it corrects it, for what was sent after the mark too."""
    playback = Playback()
    playback.add_audio(800, 0)
    playback.add_mark("turn-0-1")
    playback.add_audio(800, 10 * MS)
    assert playback.pending_marks == ("turn-0-1",)
    assert playback.take_echo("turn-0-1", 80 * MS)
    assert playback.unheard_samples(80 * MS) == 800
    assert playback.pending_marks == ()


def test_a_late_echo_proves_nothing_new():
    """The way back takes its time: the clock stays as it is."""
    playback = Playback()
    playback.add_audio(800, 0)
    playback.add_mark("a")
    playback.add_audio(800, 10 * MS)
    assert playback.take_echo("a", 150 * MS)
    assert playback.unheard_samples(150 * MS) == 400


def test_an_unknown_echo_is_refused():
    """A mark that was never sent, or came back already, is refused."""
    playback = Playback()
    playback.add_mark("a")
    assert not playback.take_echo("b", 0)
    assert playback.take_echo("a", 0)
    assert not playback.take_echo("a", 0)


def test_clear_ends_it():
    """After `clear` nothing plays and nothing is to come."""
    playback = Playback()
    playback.add_audio(8000, 0)
    playback.add_mark("a")
    playback.clear(100 * MS)
    assert playback.pending_marks == ()
    assert playback.unheard_samples(100 * MS) == 0


def test_the_echo_of_a_cleared_mark_does_not_count_for_its_successor():
    """The same mark sent again after a `clear` is the second to be echoed, not the first."""
    playback = Playback()
    playback.add_audio(8000, 0)
    playback.add_mark("a")
    playback.clear(100 * MS)
    playback.add_audio(7200, 200 * MS)
    playback.add_mark("a")
    assert playback.take_echo("a", 210 * MS)
    assert playback.unheard_samples(210 * MS) == 7120
    assert playback.take_echo("a", 300 * MS)
    assert playback.unheard_samples(300 * MS) == 0


def test_a_sample_that_is_being_played_is_not_yet_heard():
    """A sample cut in two is to be played again whole."""
    playback = Playback()
    playback.add_audio(8, 0)
    assert playback.unheard_samples(62_500) == 8
    assert playback.unheard_samples(125_000) == 7


def noise(dbfs: float, samples: int = 256, seed: int = 0) -> bytes:
    pcm = np.random.default_rng(seed).normal(0, 32_768 * 10 ** (dbfs / 20), samples)
    return mulaw.encode(np.clip(pcm, -32_767, 32_767).astype(np.int16))


def is_echo(played: PlayedLevels, window: bytes, arrived_ms: int) -> bool:
    return played.is_echo(level_dbfs(mulaw.decode(window)), (arrived_ms - 32) * MS, arrived_ms * MS)


@given(
    agent=st.floats(-30, -10),
    attenuation=st.floats(25, 35),
    delay_ms=st.integers(100, 250),
    at_ms=st.integers(0, 1400),
)
def test_an_echo_is_known_for_one(agent, attenuation, delay_ms, at_ms):
    """The agent's audio back at -25 to -35 dB after 100 to 250 ms, in any window, while it speaks and just after."""
    audio = noise(agent, 8000)
    played = PlayedLevels(SETTINGS)
    played.add(audio, 0)
    line = np.zeros(24_000)
    line[delay_ms * 8 : delay_ms * 8 + 8000] = mulaw.decode(audio) * 10 ** (-attenuation / 20)
    window = mulaw.encode(line[at_ms * 8 : at_ms * 8 + 256].astype(np.int16))
    audible = np.any(line[at_ms * 8 : at_ms * 8 + 256])
    assert not audible or is_echo(played, window, at_ms + 32)


@given(agent=st.floats(-30, -10), below=st.floats(0, 15), at_ms=st.integers(0, 2000))
def test_a_caller_over_the_agent_is_not_an_echo(agent, below, at_ms):
    """A voice up to 15 dB weaker than the agent's is heard, at any time."""
    played = PlayedLevels(SETTINGS)
    played.add(noise(agent, 8000), 0)
    assert not is_echo(played, noise(agent - below, seed=1), at_ms + 32)


def test_when_nothing_was_played_the_weakest_voice_is_heard():
    """Before the agent's first word, and longer after its last than an echo takes."""
    played = PlayedLevels(SETTINGS)
    assert not is_echo(played, noise(-60), 0)
    played.add(noise(-15, 8000), 1000 * MS)
    assert not is_echo(played, noise(-60), 900)
    assert is_echo(played, noise(-60), 1100)
    assert not is_echo(played, noise(-60), 2600)


def test_what_was_cleared_has_no_echo():
    """After a `clear` only what was heard before it can be echoed."""
    played = PlayedLevels(SETTINGS)
    played.add(noise(-15, 8000), 0)
    played.cut(200 * MS)
    assert is_echo(played, noise(-60), 600)
    assert not is_echo(played, noise(-60), 900)
