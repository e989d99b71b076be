"""Was the caller understood? Word errors after Whisper's English normaliser, and whether the last word was heard.

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
class WordErrors:
    """One transcript against what was said."""

    errors: int
    words: int
    """Reference words, at least 1."""
    wer: float
    """Over 1 where more words were invented than said."""
    missing_last_word: str | None
    """The last reference word of two or more letters, normalised, where nothing like it stands in its place.

    A word that was misheard ("deal" for "dial") is a word error; one that stops early ("tomor") was cut off.
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
    there: dict[int, str] = {}
    for chunk in aligned.alignments[0]:
        if chunk.type in ("equal", "substitute"):
            there |= zip(
                range(chunk.ref_start_idx, chunk.ref_end_idx),
                heard.split()[chunk.hyp_start_idx : chunk.hyp_end_idx],
                strict=True,
            )
    last = next((position for position in reversed(range(len(words))) if _counts(words[position])), None)
    missing = None if last is None or _alike(words[last], there.get(last, "")) else words[last]
    return WordErrors(errors, len(words), errors / len(words), missing)


@functools.cache
def normaliser() -> Callable[[str], str]:
    """Whisper's English normaliser, made once: its import takes a fifth of a second, so only scoring pays for it."""
    from whisper_normalizer.english import EnglishTextNormalizer

    normalise: Callable[[str], str] = EnglishTextNormalizer()
    return normalise


def _alike(said: str, heard: str) -> bool:
    """The same word, perhaps misheard: half the letters of both agree in order, and it does not just stop early.

    (Ratcliff-Obershelp similarity.) "Stops early": it lacks its last two letters or more, and no other.
    """
    if said.startswith(heard) and len(said) - len(heard) > 1:
        return False
    return difflib.SequenceMatcher(None, said, heard, autojunk=False).ratio() >= 0.5


def _counts(word: str) -> bool:
    return sum(character.isalpha() for character in word) >= 2 or any(character.isdigit() for character in word)
