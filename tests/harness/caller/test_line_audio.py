"""What a call sends: the line composed ahead, and the messages made by template, are those of frame by frame."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.caller.comfort_noise import NoiseLoop, make_comfort_noise
from turngap.caller.dialects import StreamNames
from turngap.caller.dialects.registry import make_dialect
from turngap.caller.impairments import ImpairedLine
from turngap.caller.line_audio import NOISE_FRAMES
from turngap.caller.playout import Playout
from turngap.model.records import CallRecord, Clip, Pcm16
from turngap.scenario import LineImpairments
from turngap_agent.telephony import mulaw
from turngap_agent.telephony.messages import InboundMedia
from websockets.asyncio.server import ServerConnection

from tests.harness.caller.calls import Json, answering, call, clip, turn

SEED = "1:7"
"""Of the calls of `calls.call`."""


def compose_frames(record: CallRecord, impairments: LineImpairments) -> Pcm16:
    """Return the line as it is by its definition: each frame by itself, in order."""
    noise = make_comfort_noise(NOISE_FRAMES * 160, SEED)
    line = ImpairedLine(impairments, Playout(), SEED)
    frames = []
    for frame in range(len(record.sent_ns)):
        at = frame * 160
        pcm = noise[np.arange(at, at + 160) % len(noise)]
        for spoken in record.spoken:
            for sample in range(160):
                place = at + sample - spoken.start_sample
                if 0 <= place < len(spoken.clip.pcm):
                    pcm[sample] = spoken.clip.pcm[place]
        frames.append(line.apply(pcm, frame, 0))
    return np.concatenate(frames)


@pytest.mark.parametrize("keys", [{}, {"level_db": -6, "noise_dbfs": -50}], ids=["clean", "impaired"])
def test_a_call_sends_its_line_frame_by_frame(keys: dict[str, Any]) -> None:
    """Noise and voice by their definition, each frame in one message that is written as the format's own type is."""
    texts: list[str] = []

    async def logging(socket: ServerConnection, log: list[Json]) -> None:
        read = socket.recv

        async def recv(*arguments: Any, **options: Any) -> Any:
            texts.append(await read(*arguments, **options))
            return texts[-1]

        socket.recv = recv  # type: ignore[method-assign]
        await answering(socket, log)

    impairments = LineImpairments.model_validate(keys)
    turns = (turn("a"), turn("b"))
    record, log = call(logging, turns, clips={"a": clip(200), "b": clip(333)}, line=impairments)
    assert len(record.spoken) == 2
    expected = compose_frames(record, impairments)
    assert np.array_equal(record.caller_pcm, expected)
    media = [(message, text) for message, text in zip(log, texts, strict=True) if message["event"] == "media"]
    assert len(media) == len(record.sent_ns)
    first_ms = int(media[0][0]["media"]["timestamp"])
    for frame, (message, text) in enumerate(media):
        own = mulaw.encode(expected[frame * 160 : frame * 160 + 160])
        sequence = int(message["sequenceNumber"])
        assert text == InboundMedia(record.stream_sid, sequence, frame + 1, first_ms + 20 * frame, own).to_json()
    numbers = [int(message["sequenceNumber"]) for message in log if "sequenceNumber" in message]
    assert numbers == list(range(1, len(numbers) + 1))


@given(st.text(max_size=12), st.integers(0, 10**6), st.lists(st.binary(max_size=160), min_size=1, max_size=4))
def test_a_media_message_is_that_of_its_type(stream: str, first_ms: int, payloads: list[bytes]) -> None:
    """Whatever the stream's name and the audio; keys and marks between them count."""
    dialect = make_dialect("twilio", StreamNames(stream, "call", "account", first_ms))
    sequence = 1
    for frame, payload in enumerate(payloads):
        sequence += 1
        expected = InboundMedia(stream, sequence, frame + 1, first_ms + 20 * frame, payload).to_json()
        assert dialect.media_message(frame, payload) == expected
        dialect.key_message("1")
        sequence += 1


@given(st.lists(st.integers(1, 25), min_size=1, max_size=8))
def test_noise_is_the_same_in_pieces_of_any_length(counts: list[int]) -> None:
    """Also around the end of its loop."""
    whole = make_comfort_noise(17 * 160, "a")
    loop, at = NoiseLoop(17, "a"), 0
    for count in counts:
        expected = whole[np.arange(at * 160, (at + count) * 160) % len(whole)]
        assert np.array_equal(loop.read_frames(at, count), expected)
        at += count


def test_a_bed_is_composed_ahead_as_frame_by_frame() -> None:
    """The background noise of a turn goes on in a loop through the frames that are composed at once."""
    bed = (np.arange(-500, 501) * 3).astype(np.int16)
    noisy = Clip("clip", np.resize(bed, 1600).astype(np.int16), 0, "hello", 0, 0, "test", True, bed=bed)
    record, _ = call(answering, (turn("a"),), clips={"a": noisy})
    start = record.spoken[0].start_sample
    before, after = record.caller_pcm[: (start // 160 - 2) * 160], record.caller_pcm[start:]
    assert len(before)
    assert np.array_equal(before, bed[np.arange(len(before)) % len(bed)])
    assert np.array_equal(after, bed[np.arange(len(after)) % len(bed)])
