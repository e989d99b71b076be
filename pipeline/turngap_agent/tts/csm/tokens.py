"""Text to the ids CSM reads: `[128000] + tokens("[speaker]text") + [128001]`, without the gated processor.

The numbers are csm-1b's; they come from the checkpoint's configuration.
"""

from __future__ import annotations

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


def utterance(tokenizer: Tokenizer, speaker: int, text: str, begin_id: int) -> tuple[int, ...]:
    """One utterance's text as CSM's ids; `begin_id` is the configuration's, and the next id ends a text."""
    return (begin_id, *tokenizer.encode(f"[{speaker}]{text}"), begin_id + 1)
