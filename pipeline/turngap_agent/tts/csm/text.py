"""What CSM gets to speak: a text without markup, in short pieces, as token ids.

Markup, emoji and control characters of the language model are no speech. A piece is short enough that CSM keeps its
voice and does not skip or repeat words; it ends where a speaker would breathe. The ids of an utterance are
`[128000] + tokens("[speaker]text") + [128001]`, made without the gated processor; the numbers are csm-1b's, and come
from the checkpoint's configuration.
"""

from __future__ import annotations

import math
import re
import unicodedata
from pathlib import Path
from typing import Any, Protocol

PIECE_CHARACTERS = 240
CHARACTERS_PER_SECOND = 14.0
"""Of read English, digits and pauses included."""
FRAMES_PER_SECOND = 12.5
AGENT, CALLER = 0, 1
"""Speaker numbers; the agent's voice is that of the voice prompt."""

_MARKUP = re.compile(r"[*_`#~|<>\\^]+")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_SPACE = re.compile(r"\s+")
_BREAKS = (re.compile(r"[.!?…][\"')\]]*\s"), re.compile(r"[;:]\s"), re.compile(r",\s|\s[–—-]\s"), re.compile(r"\s"))
"""From the best place to breathe to the worst."""


def split_pieces(text: str) -> list[str]:
    """Return `text` as speakable pieces, none longer than PIECE_CHARACTERS; empty if there is nothing to speak."""
    rest = clean(text)
    pieces: list[str] = []
    while len(rest) > PIECE_CHARACTERS:
        cut = _find_cut(rest[: PIECE_CHARACTERS + 1])
        pieces.append(rest[:cut].strip())
        rest = rest[cut:].strip()
    pieces.append(rest)
    return [piece for piece in pieces if any(character.isalnum() for character in piece)]


def clean(text: str) -> str:
    """Return `text` without markup, emoji and control characters, on one line."""
    text = _MARKUP.sub(" ", _LINK.sub(r"\1", unicodedata.normalize("NFKC", text)))
    return _SPACE.sub(" ", "".join(character if _is_speakable(character) else " " for character in text)).strip()


def expected_frames(text: str) -> int:
    """Return about how many frames of 80 ms the speech of `text` has."""
    return max(1, round(len(text) / CHARACTERS_PER_SECOND * FRAMES_PER_SECOND))


def max_frames(text: str) -> int:
    """Return more frames than correct speech of `text` has: a model that reaches them no longer follows the text."""
    return math.ceil(2.5 * expected_frames(text)) + 25


class Tokenizer(Protocol):
    """Text to token ids, without special tokens."""

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`."""
        ...


class FileTokenizer:
    """A checkpoint's own `tokenizer.json`."""

    def __init__(self, path: Path) -> None:
        """Raise whatever the tokenizers package raises for a file that is no tokenizer."""
        from tokenizers import Tokenizer as RustTokenizer

        self._tokenizer: Any = RustTokenizer.from_file(str(path))

    def encode(self, text: str) -> list[int]:
        """Return the ids of `text`; the tokenizers of transformers 5 do not add special tokens any more."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids


def encode_utterance(tokenizer: Tokenizer, speaker: int, text: str, begin_id: int) -> tuple[int, ...]:
    """Return the ids of one utterance's text; `begin_id` is the configuration's, and `begin_id + 1` ends a text."""
    return (begin_id, *tokenizer.encode(f"[{speaker}]{text}"), begin_id + 1)


def _is_speakable(character: str) -> bool:
    """Letters, marks, numbers, punctuation, separators, and money signs; no symbols, controls, surrogates."""
    if character in "\ufe0e\ufe0f":  # variation selectors, left over from emoji
        return False
    category = unicodedata.category(character)
    return category[0] in "LMNPZ" or category == "Sc" or character in "+=%"


def _find_cut(head: str) -> int:
    for place in _BREAKS:
        ends = [match.end() for match in place.finditer(head)]
        # A break in the first third would leave a very short piece: a worse place further on is better.
        if ends and ends[-1] > len(head) // 3:
            return ends[-1]
    return PIECE_CHARACTERS
