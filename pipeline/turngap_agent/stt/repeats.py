"""Tells a transcript that repeats itself, as Whisper's do when its encoder window was too short."""

from __future__ import annotations

import itertools
import re

_LEAST_WORDS = 4
_LEAST_DISTINCT = 0.75
"""Of a text said twice over, half the bigrams are distinct; of ordinary utterances, nearly all."""


def repeats_itself(text: str) -> bool:
    """True when two or more words follow themselves at once, or many of the text's bigrams come again."""
    words = re.findall(r"[\w']+", text.lower())
    if len(words) < _LEAST_WORDS:
        return False
    for size in range(2, len(words) // 2 + 1):
        if any(words[at : at + size] == words[at + size : at + 2 * size] for at in range(len(words) - 2 * size + 1)):
            return True
    bigrams = list(itertools.pairwise(words))
    return len(set(bigrams)) < _LEAST_DISTINCT * len(bigrams)
