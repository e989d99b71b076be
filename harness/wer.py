"""Was the caller understood? Word errors after Whisper's English normaliser, and whether the last word was heard.

Formula: WER = (substitutions + deletions + insertions) / reference words, on the alignment of least edit distance
(jiwer). Both sides are normalised first: case, punctuation, fillers, contractions, spelling, numbers.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import jiwer


@dataclass(frozen=True, slots=True)
class WordErrors:
    """One transcript against what was said."""

    errors: int
    words: int
    """Reference words, at least 1."""
    wer: float
    """Over 1 where more words were invented than said."""
    missing_last_word: str | None
    """The last reference word of two or more letters, normalised, where the transcript does not have it in its place.

    A word with a digit counts whatever its length: the normaliser writes numbers as digits.
    """


def word_errors(reference: str, transcript: str) -> WordErrors | None:
    """Compare a transcript with the words that were said; None where normalising leaves no reference word."""
    normalise = normaliser()
    said, heard = normalise(reference), normalise(transcript)
    words = said.split()
    if not words:
        return None
    aligned = jiwer.process_words(said, heard)
    errors = aligned.substitutions + aligned.deletions + aligned.insertions
    equal = {
        position
        for chunk in aligned.alignments[0]
        if chunk.type == "equal"
        for position in range(chunk.ref_start_idx, chunk.ref_end_idx)
    }
    last = next((position for position in reversed(range(len(words))) if _counts(words[position])), None)
    missing = words[last] if last is not None and last not in equal else None
    return WordErrors(errors, len(words), errors / len(words), missing)


@functools.cache
def normaliser() -> Callable[[str], str]:
    """Whisper's English normaliser, made once: its import takes a fifth of a second, so only scoring pays for it."""
    from whisper_normalizer.english import EnglishTextNormalizer

    normalise: Callable[[str], str] = EnglishTextNormalizer()
    return normalise


def _counts(word: str) -> bool:
    return sum(character.isalpha() for character in word) >= 2 or any(character.isdigit() for character in word)
