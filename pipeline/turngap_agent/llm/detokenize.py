"""Turns the tokens of a byte-level vocabulary back into text, one at a time.

A character of several bytes may be spread over tokens: it is given with its last one, and never in pieces.
"""

from __future__ import annotations

import codecs


class Detokenizer:
    """One reply's tokens to text."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")

    def push(self, token: str) -> str:
        """The text that `token` completes; empty while a character is incomplete."""
        return self._decoder.decode(bytes(_BYTES[character] for character in token if character in _BYTES))

    def flush(self) -> str:
        """The reply is over: a replacement character when it broke off in the middle of one, else nothing."""
        return self._decoder.decode(b"", final=True)


def _bytes() -> dict[str, int]:
    """Each byte's stand-in in the vocabulary, as GPT-2 chose them.

    Printable characters of Latin-1 stand for themselves, the other bytes, in order, for the characters from U+0100 on.
    """
    printable = {*range(0x21, 0x7F), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = [byte for byte in range(256) if byte not in printable]
    return {chr(byte): byte for byte in printable} | {chr(0x100 + rank): byte for rank, byte in enumerate(others)}


_BYTES = _bytes()
