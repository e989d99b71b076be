"""Recordings: caller left, agent right as played, and only of calls worth hearing."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
from turngap.model.records import CallEnd, CallRecord, Received
from turngap.model.turn import Outcome
from turngap.store import recording

from tests.harness import report_builders as builders

START_NS = 5_000_000_000


def call(*received: Received) -> CallRecord:
    """A call in which the caller sent 100 ms of ones."""
    return CallRecord(
        index=0,
        call_sid="CA",
        stream_sid="MZ",
        started_ns=START_NS,
        sent_ns=START_NS + (np.arange(5) + 1) * 20_000_000,
        caller_pcm=np.ones(800, np.int16),
        spoken=(),
        received=received,
        marks=(),
        clears_ns=(),
        stalls=np.empty((0, 2), np.int64),
        ended_ns=START_NS + 100_000_000,
        end=CallEnd.COMPLETED,
    )


def received_message(at_ms: float, samples: int, played: int) -> Received:
    at_ns = START_NS + round(at_ms * 1e6)
    return Received(at_ns, at_ns, np.full(samples, 7, np.int16), played)


def test_the_agents_audio_is_where_it_was_played() -> None:
    """Audio begins at its play time, and what a clear threw away is silent."""
    pcm = recording.make_stereo(call(received_message(50, 400, 80)))
    assert pcm.shape == (800, 2)
    assert (pcm[:, 0] == 1).all()
    assert pcm[:, 1].nonzero()[0].tolist() == list(range(400, 480))


def test_audio_beyond_the_last_frame_is_kept() -> None:
    """A reply that outlasts the caller's frames makes the file longer."""
    pcm = recording.make_stereo(call(received_message(90, 400, 400)))
    assert pcm.shape == (720 + 400, 2)
    assert pcm[-1].tolist() == [0, 7]


def test_audio_before_the_stream_is_cut() -> None:
    """What an agent sent too early is not wrapped around to the end."""
    pcm = recording.make_stereo(call(received_message(-10, 160, 160)))
    assert pcm[:, 1].nonzero()[0].tolist() == list(range(80))


def test_a_recording_is_an_ordinary_wav(tmp_path: Path) -> None:
    """Two channels, 16 bits, 8 kHz, and no temporary file beside it."""
    recording.write_wav(tmp_path / "call.wav", recording.make_stereo(call(received_message(0, 160, 160))))
    with wave.open(str(tmp_path / "call.wav")) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()) == (2, 2, 8000, 800)
    assert [path.name for path in tmp_path.iterdir()] == ["call.wav"]


def test_failures_the_representative_and_the_worst_are_kept(tmp_path: Path) -> None:
    """All other files go, and the turns say so."""
    calls = tmp_path / "calls"
    calls.mkdir()
    turns = []
    for index, gap in enumerate((400.0, 410.0, 420.0, 900.0, 405.0)):
        outcome = Outcome.MISSED if index == 4 else Outcome.ANSWERED
        (calls / f"{index}.wav").touch()
        audio = {"audio": f"calls/{index}.wav", "audio_offset_ms": 1.0}
        turns.append(
            builders.turn(index, spans=False, outcome=outcome).model_copy(
                update={"turn_gap_ms": None if index == 4 else gap, **audio}
            )
        )
    kept = recording.drop_references(tmp_path, turns)
    recording.delete_unused(tmp_path, calls, kept)
    left = sorted(path.name for path in calls.iterdir())
    assert left == sorted(Path(turn.audio).name for turn in kept if turn.audio)
    assert {"3.wav", "4.wav"} < set(left)
    assert len(left) == 3
    assert all(turn.audio_offset_ms is None for turn in kept if turn.audio is None)


def test_a_wholly_spoilt_run_keeps_its_slowest_call() -> None:
    """Somebody will want to hear what happened."""
    turns = [builders.turn(i, outcome=Outcome.INVALID, scale=1 + i) for i in range(3)]
    assert recording.select_calls(turns) == {max(turns, key=lambda turn: turn.turn_gap_ms or 0).call}
