"""What of a text can be spoken, and in which pieces.

The language model's markup, emoji and control characters are no speech. A piece is short enough that CSM keeps its
voice and its place; it ends where a speaker would breathe.
"""

from __future__ import annotations

import math
import re
import unicodedata

PIECE_CHARACTERS = 240
CHARACTERS_PER_SECOND = 14.0
"""Read English, digits and pauses included."""
FRAMES_PER_SECOND = 12.5

_MARKUP = re.compile(r"[*_`#~|<>\\^]+")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_SPACE = re.compile(r"\s+")
_BREAKS = (re.compile(r"[.!?…][\"')\]]*\s"), re.compile(r"[;:]\s"), re.compile(r",\s|\s[–—-]\s"), re.compile(r"\s"))
"""From the best place to breathe to the worst."""


def pieces(text: str) -> list[str]:
    """`text` as speakable pieces in order, none longer than PIECE_CHARACTERS; empty if there is nothing to speak."""
    rest = cleaned(text)
    found: list[str] = []
    while len(rest) > PIECE_CHARACTERS:
        cut = _cut(rest[: PIECE_CHARACTERS + 1])
        found.append(rest[:cut].strip())
        rest = rest[cut:].strip()
    found.append(rest)
    return [piece for piece in found if any(character.isalnum() for character in piece)]


def cleaned(text: str) -> str:
    """`text` without markup, emoji and control characters, on one line."""
    text = _MARKUP.sub(" ", _LINK.sub(r"\1", unicodedata.normalize("NFKC", text)))
    return _SPACE.sub(" ", "".join(character if _spoken(character) else " " for character in text)).strip()


def expected_frames(text: str) -> int:
    """About how many 80 ms frames speaking `text` takes."""
    return max(1, round(len(text) / CHARACTERS_PER_SECOND * FRAMES_PER_SECOND))


def most_frames(text: str) -> int:
    """More frames than any sane reading of `text` takes: past this, the model has lost its place."""
    return math.ceil(2.5 * expected_frames(text)) + 25


def _spoken(character: str) -> bool:
    """Letters, marks, numbers, punctuation, separators, and money signs; no symbols, controls, surrogates."""
    if character in "\ufe0e\ufe0f":  # variation selectors, left over from emoji
        return False
    category = unicodedata.category(character)
    return category[0] in "LMNPZ" or category == "Sc" or character in "+=%"


def _cut(head: str) -> int:
    for place in _BREAKS:
        ends = [match.end() for match in place.finditer(head)]
        # A break in the first third would leave scraps: a worse place further on is better.
        if ends and ends[-1] > len(head) // 3:
            return ends[-1]
    return PIECE_CHARACTERS
