"""Cuts a reply that comes token by token into clauses that can be spoken, the first as early as it can be.

A clause ends at `, ; : . ! ?`, at a dash or at a line break once it has enough words, without a mark before a word that
opens a phrase ("for", "and") once it has more, and after its longest in any case. A mark after a letter ends its clause
at once, without waiting for the next token: on the way to the first sound a token is about 20 ms. Where that would be
rash (after a digit, an initial, an abbreviation) the next character decides. The first clause may be short, for the
caller waits for it; the second must be there when the first has been spoken; later ones are longer and sound better.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

_MARK = re.compile(r"[,;:.!?…]|[—–]|--|(?<=\s)-(?=\s)|\n")
_CLOSERS = "\"'”’)]"
_LEFTOVERS = " \t\r\n,;:.!?…—–)]”"
"""What may stand between two clauses and belongs to neither."""
_MARKUP = str.maketrans("", "", "*#`")
_ABBREVIATIONS = re.compile(
    r"(mr|mrs|ms|dr|prof|st|jr|sr|vs|etc|inc|ltd|co|corp|dept|apt|ave|blvd|rd|ext|approx|est|min|max|hr|hrs|tel"
    r"|jan|feb|aug|sept|oct|nov|dec|eg|ie|www)",
    re.IGNORECASE,
)
_OPENERS = re.compile(
    r"\s(and|or|but|because|if|when|while|until|before|after|for|with|from|about|at)(?!\S)", re.IGNORECASE
)
"""Words that open a phrase: a speaker may take a breath before them."""


@dataclass(frozen=True, slots=True)
class Size:
    """How long a clause may be, in words."""

    least: int
    """A mark ends it from here on. One word ("Sure!") is never enough: it promises, and answers nothing."""
    phrase: int
    """A word that opens a phrase ends it from here on."""
    most: int


SIZES = (Size(2, 4, 7), Size(3, 6, 9), Size(3, 12, 12))
"""Of the first clause, the second, and all that follow."""


class ClauseSplitter:
    """Takes a reply's text in pieces, gives its clauses; words are never lost, repeated or changed."""

    def __init__(self, sizes: Sequence[Size] = SIZES) -> None:
        self._sizes = list(sizes)
        self._text = ""

    def push(self, piece: str) -> list[str]:
        """Take the next piece of text; give the clauses that are complete, as a rule none."""
        self._text = (self._text + piece).lstrip(_LEFTOVERS)
        clauses = []
        while (end := self._end()) is not None:
            clauses.append(_speakable(self._text[:end]))
            self._text = self._text[end:].lstrip(_LEFTOVERS)
            if len(self._sizes) > 1:
                del self._sizes[0]
        return clauses

    def flush(self) -> list[str]:
        """The reply is over: what is left, if there is anything to speak."""
        rest, self._text = _speakable(self._text), ""
        return [rest] if _words(rest) else []

    def _end(self) -> int | None:
        """Where the first clause of the text ends, or None while it goes on."""
        limit = self._limit()
        for mark in _MARK.finditer(self._text):
            if limit is not None and mark.start() >= limit:
                break
            if not _ends(self._text, mark):
                continue
            end = mark.end()
            while end < len(self._text) and self._text[end] in _CLOSERS:
                end += 1
            if _words(self._text[:end]) >= self._sizes[0].least:
                return end
        return limit

    def _limit(self) -> int | None:
        """Where the clause ends without a mark: before a word that opens a phrase, or after its longest.

        Only when more text has come after it.
        """
        size, count = self._sizes[0], 0
        for word in re.finditer(r"\S+(?=\s+\S)", self._text):
            count += _words(word[0])
            if count >= size.most or (count >= size.phrase and _OPENERS.match(self._text, word.end())):
                return word.end()
        return None


def _ends(text: str, mark: re.Match[str]) -> bool:
    """Whether this mark ends a clause, as far as the text has come."""
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
    # "3.5", "10:30", "1,000" go on, so a digit waits for what follows; so does no letter, at the price that a bare
    # "example.com" that comes in two tokens is cut.
    return after[:1].isspace() or after[:1] in tuple(_CLOSERS) or (not after and last.isalpha())


def _words(text: str) -> int:
    return sum(any(character.isalnum() for character in word) for word in text.split())


def _speakable(text: str) -> str:
    return " ".join(text.translate(_MARKUP).split())
