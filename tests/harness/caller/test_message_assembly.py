"""Messages that come in several frames."""

from __future__ import annotations

from turngap.caller.message_assembly import MessageAssembly
from websockets.frames import Frame, Opcode


def test_a_text_is_put_together_wherever_its_frames_cut_it() -> None:
    """Also in the middle of a character; bytes that come after it are bytes again."""
    assembly, data = MessageAssembly(), "é€".encode()
    assert assembly.add(Frame(Opcode.TEXT, data[:1], fin=False)) is None
    assert assembly.is_in_message
    assert assembly.add(Frame(Opcode.CONT, data[1:3], fin=False)) is None
    assert assembly.add(Frame(Opcode.CONT, data[3:])) == "é€"
    assert not assembly.is_in_message
    assert assembly.add(Frame(Opcode.BINARY, b"\x00", fin=False)) is None
    assert assembly.add(Frame(Opcode.CONT, b"\xff")) == b"\x00\xff"


def test_bytes_that_are_no_text_are_replaced() -> None:
    """The agent's message is read as far as it goes; what it means is judged later."""
    assert MessageAssembly().add(Frame(Opcode.TEXT, b"a\xff")) == "a\ufffd"
