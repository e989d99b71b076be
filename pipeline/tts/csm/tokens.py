"""Text to the ids CSM reads: `[128000] + tokens("[speaker]text") + [128001]`, without the gated processor.

The numbers are csm-1b's; they come from the checkpoint's configuration.
"""

from __future__ import annotations

import re
import zlib
from pathlib import Path
from typing import Any, Protocol

AGENT, CALLER = 0, 1
"""Speaker numbers; the agent has the voice prompt's."""


class Tokenizer(Protocol):
    """Text to token ids, without special tokens."""

    def encode(self, text: str) -> list[int]:
        """The ids of `text`."""
        ...


class FileTokenizer:
    """A checkpoint's own `tokenizer.json`."""

    def __init__(self, path: Path) -> None:
        """Raises whatever the tokenizers package raises for a file that is none."""
        from tokenizers import Tokenizer as Rust

        self._tokenizer: Any = Rust.from_file(str(path))

    def encode(self, text: str) -> list[int]:
        """The ids of `text`; tokenizers of transformers 5 lost the post-processor that adds special tokens."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


class StandInTokenizer:
    """For random weights: about as many tokens as a large vocabulary gives for English, each a hash of its letters."""

    _PIECE = re.compile(r" ?[^\W\d]{1,9}|\d{1,3}| ?[^\w\s]+|\s+|_")

    def __init__(self, vocabulary: int) -> None:
        self._vocabulary = vocabulary

    def encode(self, text: str) -> list[int]:
        """The ids of `text`, the same in every process."""
        return [zlib.crc32(piece.encode()) % self._vocabulary for piece in self._PIECE.findall(text)]


def utterance(tokenizer: Tokenizer, speaker: int, text: str, begin_id: int) -> tuple[int, ...]:
    """One utterance's text as CSM's ids; `begin_id` is the configuration's, and the next id ends a text."""
    return (begin_id, *tokenizer.encode(f"[{speaker}]{text}"), begin_id + 1)
