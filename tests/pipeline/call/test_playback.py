"""What the agent takes for heard, from marks and from its playback clock."""

from pipeline.call.playback import GRACE_NS, Playback

MS = 1_000_000


def test_audio_is_played_in_order_at_8_khz():
    """Messages are appended to what is buffered: 100 ms and 50 ms end 150 ms after the first."""
    playback = Playback()
    playback.sent(800, 0)
    playback.sent(400, 10 * MS)
    assert playback.unheard(0) == 1200
    assert playback.unheard(100 * MS) == 400
    assert playback.unheard(200 * MS) == 0


def test_after_a_pause_playing_begins_anew():
    """What is sent when the buffer has run dry starts then, not at the old end."""
    playback = Playback()
    playback.sent(800, 0)
    playback.sent(800, 500 * MS)
    assert playback.unheard(550 * MS) == 400


def test_the_agent_is_silent_once_the_mark_is_back():
    """Audio counts as playing until its mark's echo."""
    playback = Playback()
    assert not playback.playing(0)
    playback.sent(800, 0)
    assert playback.playing(1 * MS)
    playback.marked("turn-0-1")
    assert playback.playing(150 * MS)
    assert playback.echoed("turn-0-1")
    assert not playback.playing(150 * MS)


def test_an_unknown_echo_proves_nothing():
    """A mark that was never sent, or was sent back already, is not taken."""
    playback = Playback()
    playback.sent(800, 0)
    playback.marked("a")
    assert not playback.echoed("b")
    assert playback.playing(0)
    assert playback.echoed("a")
    assert not playback.echoed("a")


def test_a_line_that_never_echoes_falls_silent_by_the_clock():
    """Without an echo the clock decides, some time after the audio's end."""
    playback = Playback()
    playback.sent(800, 0)
    playback.marked("a")
    assert playback.playing(100 * MS + GRACE_NS - 1)
    assert not playback.playing(100 * MS + GRACE_NS)


def test_clear_ends_it():
    """After `clear` nothing plays and nothing is to come."""
    playback = Playback()
    playback.sent(8000, 0)
    playback.marked("a")
    playback.cleared(100 * MS)
    assert not playback.playing(100 * MS)
    assert playback.unheard(100 * MS) == 0
