"""Messages over a pipe: whole ones arrive as they were sent, a torn last one is left out."""

from __future__ import annotations

import os
import threading

from turngap.cluster.messages import Began, Ended, Finished
from turngap.processes.pickled_messages import encode_message, read_messages

from tests.harness.cluster.fake_callers import score


def test_messages_arrive_whole_and_in_order() -> None:
    """Also a recording larger than a pipe; after the last whole one the reader ends."""
    sent = [Began(3), Ended(3, score(3, "a", "one"), b"\x01" * 300_000, "{}\n"), Finished(("a note",))]
    data = b"".join(map(encode_message, sent)) + encode_message(Began(4))[:-3]
    reading, writing = os.pipe()

    def write() -> None:
        with os.fdopen(writing, "wb") as stream:
            stream.write(data)

    writer = threading.Thread(target=write)
    writer.start()
    with os.fdopen(reading, "rb", buffering=0) as stream:
        received = list(read_messages(stream))
    writer.join()
    assert [type(message) for message in received] == [Began, Ended, Finished]
    ended = received[1]
    assert isinstance(ended, Ended)
    assert (ended.call, ended.recording, ended.scored.turns) == (3, sent[1].recording, sent[1].scored.turns)  # type: ignore[union-attr]
