"""Word errors after Whisper's English normaliser, and whether the last word was recognised.

Formula: WER = (substitutions + deletions + insertions) / reference words, on the alignment of least edit distance
(jiwer). Both sides are normalised first: case, punctuation, fillers, contractions, spelling, numbers.
"""

from __future__ import annotations

import difflib
import functools
from collections.abc import Callable
from dataclasses import dataclass

import jiwer


@dataclass(frozen=True, slots=True)
class TurnWordErrors:
    """One transcript compared with the reference words."""

    errors: int
    words: int
    """Reference words, at least 1."""
    wer: float
    """Over 1 if the transcript has more wrong words than the reference has words."""
    missing_last_word: str | None
    """The last reference word of two or more letters, normalised, if the transcript has nothing like it in its place.

    A word that was misheard ("deal" for "dial") is a word error; one that stops early ("tomor") was cut off.
    A word with a digit counts whatever its length: the normaliser writes numbers as digits.
    """
    missing: int = 0
    """Reference words for which the transcript has none, and numbers of which it has fewer digits."""


def word_errors(reference: str, transcript: str) -> TurnWordErrors | None:
    """Compare a transcript with the reference words; None if none are left after normalising."""
    normalise = load_normaliser()
    expected, recognised = normalise(reference), normalise(transcript)
    words = expected.split()
    if not words:
        return None
    aligned = jiwer.process_words(expected, recognised)
    errors = aligned.substitutions + aligned.deletions + aligned.insertions
    recognised_as: dict[int, str] = {}
    for chunk in aligned.alignments[0]:
        if chunk.type in ("equal", "substitute"):
            recognised_as |= zip(
                range(chunk.ref_start_idx, chunk.ref_end_idx),
                recognised.split()[chunk.hyp_start_idx : chunk.hyp_end_idx],
                strict=True,
            )
    shortened = sum(_count_digits(word) < _count_digits(words[place]) for place, word in recognised_as.items())
    last = next((position for position in reversed(range(len(words))) if _is_counted(words[position])), None)
    missing = None if last is None or _is_same_word(words[last], recognised_as.get(last, "")) else words[last]
    return TurnWordErrors(errors, len(words), errors / len(words), missing, aligned.deletions + shortened)


def count_words(reference: str) -> int:
    """Return the number of reference words after normalising."""
    return len(load_normaliser()(reference).split())


@functools.cache
def load_normaliser() -> Callable[[str], str]:
    """Return Whisper's English normaliser, loaded once: its import takes 0.2 s, so it is imported only for scoring."""
    from whisper_normalizer.english import EnglishTextNormalizer

    normalise: Callable[[str], str] = EnglishTextNormalizer()
    return normalise


def _is_same_word(expected: str, recognised: str) -> bool:
    """Return whether it is the same word, perhaps misheard: half the letters agree, and it does not stop early.

    (Ratcliff-Obershelp similarity.) "Stops early": it lacks its last two letters or more, and no other.
    """
    if expected.startswith(recognised) and len(expected) - len(recognised) > 1:
        return False
    return difflib.SequenceMatcher(None, expected, recognised, autojunk=False).ratio() >= 0.5


def _count_digits(word: str) -> int:
    return sum(character.isdigit() for character in word)


def _is_counted(word: str) -> bool:
    return sum(character.isalpha() for character in word) >= 2 or any(character.isdigit() for character in word)
