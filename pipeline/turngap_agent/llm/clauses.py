"""Splits a reply, as its tokens arrive, into clauses that can be spoken; the first clause as early as possible.

A clause ends at `, ; : . ! ?`, at a dash or at a line break once it has enough words; once it has more, also before a
word that opens a phrase ("for", "and"); and at its greatest length in any case. A mark after a letter ends the clause
at once, without waiting for the next token: a token takes about 20 ms of the time to first audio. After a digit, an
initial or an abbreviation the mark may not end it, so the next character decides. The first clause may be short,
because the caller waits for it; the second must be ready when the first has been spoken; later ones are longer and
sound better.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_MARK = re.compile(r"[,;:.!?…]|[—–]|--|(?<=\s)-(?=\s)|\n")
_CLOSERS = "\"'”’)]"
_LEFTOVERS = " \t\r\n,;:.!?…—–)]”"
"""Characters between two clauses that belong to neither."""
_MARKUP = str.maketrans("", "", "*#`")
_ABBREVIATIONS = re.compile(
    r"(mr|mrs|ms|dr|prof|st|jr|sr|vs|etc|inc|ltd|co|corp|dept|apt|ave|blvd|rd|ext|approx|est|min|max|hr|hrs|tel"
    r"|jan|feb|aug|sept|oct|nov|dec|eg|ie|www)",
    re.IGNORECASE,
)
_OPENERS = re.compile(
    r"\s(and|or|but|because|if|when|while|until|before|after|for|with|from|about|at)(?!\S)", re.IGNORECASE
)
"""Words that open a phrase: a speaker may breathe before them."""
_EARLY_OPENERS = re.compile(r"\s(to|what|which|who|where|how)(?=\s)", re.IGNORECASE)
"""Words that open one too, in the first clause: "I am happy | to help you". Later ones sound better without. The next
word must have begun: "to" may be the first token of "today"."""


@dataclass(frozen=True, slots=True)
class ClauseSize:
    """How long a clause may be, in words."""

    least: int
    """A mark ends the clause from this length on. One word ("Sure!") is never enough: it answers nothing."""
    phrase: int
    """A word that opens a phrase ends the clause from this length on."""
    most: int
    early: bool = False
    """Whether "to", "what" and the like open a phrase too."""


LATER_SIZES = (ClauseSize(3, 6, 9), ClauseSize(3, 12, 12))
"""Sizes of the second clause, and of all later ones."""
SIZES = (ClauseSize(2, 4, 7, early=True), *LATER_SIZES)
"""Sizes of the first clause, the second, and all later ones."""
SIZES_WITHOUT_EARLY_PHRASES = (ClauseSize(2, 4, 7), *LATER_SIZES)


class ClauseSplitter:
    """Turns a reply's text in pieces into clauses. No word is lost, repeated or changed."""

    def __init__(self, sizes: Sequence[ClauseSize] = SIZES) -> None:
        self._sizes = list(sizes)
        self._text = ""

    def push(self, piece: str) -> list[str]:
        """Add the next piece of text; return the clauses that are complete, usually none."""
        self._text = (self._text + piece).lstrip(_LEFTOVERS)
        clauses = []
        while (end := self._find_end()) is not None:
            clauses.append(_clean(self._text[:end]))
            self._text = self._text[end:].lstrip(_LEFTOVERS)
            if len(self._sizes) > 1:
                del self._sizes[0]
        return clauses

    def flush(self) -> list[str]:
        """End the reply; return the rest of its text, if it has anything to speak."""
        rest, self._text = _clean(self._text), ""
        return [rest] if _count_words(rest) else []

    def _find_end(self) -> int | None:
        """Return where the first clause of the text ends; None if it is not complete."""
        limit = self._find_limit()
        for mark in _MARK.finditer(self._text):
            if limit is not None and mark.start() >= limit:
                break
            if not _ends_clause(self._text, mark):
                continue
            end = mark.end()
            while end < len(self._text) and self._text[end] in _CLOSERS:
                end += 1
            if _count_words(self._text[:end]) >= self._sizes[0].least:
                return end
        return limit

    def _find_limit(self) -> int | None:
        """Return where the clause ends without a mark: before a word that opens a phrase, or at its greatest length.

        None until more text has arrived after it.
        """
        size, count = self._sizes[0], 0
        for word in re.finditer(r"\S+(?=\s+\S)", self._text):
            count += _count_words(word[0])
            if count >= size.most or (count >= size.phrase and self._opens_phrase(word.end())):
                return word.end()
        return None

    def _opens_phrase(self, at: int) -> bool:
        openers = (_OPENERS, _EARLY_OPENERS) if self._sizes[0].early else (_OPENERS,)
        return any(opener.match(self._text, at) for opener in openers)


def _ends_clause(text: str, mark: re.Match[str]) -> bool:
    """Return whether this mark ends a clause, judged by the text so far."""
    kind, before, after = mark[0], text[: mark.start()], text[mark.end() :]
    if kind == "\n":
        return True
    last = before.rstrip()[-1:]
    if kind in ("—", "–", "-", "--"):
        return last.isalpha() or (bool(last) and after[:1].isspace())
    last = before[-1:]
    if kind in ("!", "?", "…") or (kind in (",", ";") and last.isalpha()):
        return True
    if kind == ".":
        word = re.split(r"[\s(\"“'‘—–]", before)[-1]
        if "." in word or "@" in word or (len(word) == 1 and word.isalpha()) or _ABBREVIATIONS.fullmatch(word):
            return False
    # "3.5", "10:30", "1,000" continue, so a mark after a digit waits for the next character. After a letter it does not
    # wait; the price is that a bare "example.com" that arrives in two tokens is split.
    return after[:1].isspace() or after[:1] in tuple(_CLOSERS) or (not after and last.isalpha())


def _count_words(text: str) -> int:
    return sum(any(character.isalnum() for character in word) for word in text.split())


def _clean(text: str) -> str:
    return " ".join(text.translate(_MARKUP).split())
