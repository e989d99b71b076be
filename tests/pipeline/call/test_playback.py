"""What the agent takes for heard, from marks and from its playback clock."""

from turngap_agent.call.playback import Playback

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


def test_a_mark_that_is_back_proves_that_its_audio_was_heard():
    """The clock is put right by an echo that comes before it expects it, for what was sent after the mark too."""
    playback = Playback()
    playback.sent(800, 0)
    playback.marked("turn-0-1")
    playback.sent(800, 10 * MS)
    assert playback.pending == ("turn-0-1",)
    assert playback.echoed("turn-0-1", 80 * MS)
    assert playback.unheard(80 * MS) == 800
    assert playback.pending == ()


def test_a_late_echo_proves_nothing_new():
    """The way back takes its time: the clock stays as it is."""
    playback = Playback()
    playback.sent(800, 0)
    playback.marked("a")
    playback.sent(800, 10 * MS)
    assert playback.echoed("a", 150 * MS)
    assert playback.unheard(150 * MS) == 400


def test_an_unknown_echo_is_not_taken():
    """A mark that was never sent, or came back already, is refused."""
    playback = Playback()
    playback.marked("a")
    assert not playback.echoed("b", 0)
    assert playback.echoed("a", 0)
    assert not playback.echoed("a", 0)


def test_clear_ends_it():
    """After `clear` nothing plays and nothing is to come."""
    playback = Playback()
    playback.sent(8000, 0)
    playback.marked("a")
    playback.cleared(100 * MS)
    assert playback.pending == ()
    assert playback.unheard(100 * MS) == 0


def test_the_echo_of_a_cleared_mark_is_not_taken_for_its_successors():
    """The same mark sent again after a `clear` is the second to come back, not the first."""
    playback = Playback()
    playback.sent(8000, 0)
    playback.marked("a")
    playback.cleared(100 * MS)
    playback.sent(7200, 200 * MS)
    playback.marked("a")
    assert playback.echoed("a", 210 * MS)
    assert playback.unheard(210 * MS) == 7120
    assert playback.echoed("a", 300 * MS)
    assert playback.unheard(300 * MS) == 0


def test_a_sample_that_is_being_played_is_not_yet_heard():
    """Of a sample cut in two the whole is to be said again."""
    playback = Playback()
    playback.sent(8, 0)
    assert playback.unheard(62_500) == 8
    assert playback.unheard(125_000) == 7
