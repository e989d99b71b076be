"""A tokenizer for random weights, which know no words. It imports no library."""

from __future__ import annotations

import re
import zlib


class StandInTokenizer:
    """Splits English into about as many tokens as a large vocabulary does; each id is a hash of the token's letters."""

    _PIECE = re.compile(r" ?[^\W\d]{1,9}|\d{1,3}| ?[^\w\s]+|\s+|_")

    def __init__(self, vocabulary: int) -> None:
        """`vocabulary` is the number of ids."""
        self._vocabulary = vocabulary

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`, the same in every process."""
        return [zlib.crc32(piece.encode()) % self._vocabulary for piece in self.split(text)]

    def split(self, text: str) -> list[str]:
        """Return `text` as its tokens; joined they are the text."""
        return self._PIECE.findall(text)
