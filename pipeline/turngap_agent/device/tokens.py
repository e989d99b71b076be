"""A tokenizer for weights that know no words: as many tokens as text has, each an id that stays the same."""

from __future__ import annotations

import re
import zlib


class StandInTokenizer:
    """For random weights: about as many tokens as a large vocabulary gives for English, each a hash of its letters."""

    _PIECE = re.compile(r" ?[^\W\d]{1,9}|\d{1,3}| ?[^\w\s]+|\s+|_")

    def __init__(self, vocabulary: int) -> None:
        self._vocabulary = vocabulary

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, the same in every process."""
        return [zlib.crc32(piece.encode()) % self._vocabulary for piece in self.pieces(text)]

    def pieces(self, text: str) -> list[str]:
        """`text` as its tokens, which joined are the text."""
        return self._PIECE.findall(text)
