"""Cuts a reply that comes token by token into clauses that can be spoken, the first as early as it can be.

A clause ends at `, ; : . ! ?`, at a dash or at a line break once it has `min_words` words, and after `max_words` words
in any case. A mark after a letter ends its clause at once, without waiting for the next token: on the way to the first
sound a token is about 20 ms. Where that would be rash (after a digit, an initial, an abbreviation) the next character
decides.
"""

from __future__ import annotations

import re

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


class ClauseSplitter:
    """Takes a reply's text in pieces, gives its clauses; words are never lost, repeated or changed."""

    def __init__(self, min_words: int = 3, max_words: int = 12) -> None:
        self._min_words = min_words
        self._max_words = max_words
        self._text = ""

    def push(self, piece: str) -> list[str]:
        """Take the next piece of text; give the clauses that are complete, as a rule none."""
        self._text = (self._text + piece).lstrip(_LEFTOVERS)
        clauses = []
        while (end := self._end()) is not None:
            clauses.append(_speakable(self._text[:end]))
            self._text = self._text[end:].lstrip(_LEFTOVERS)
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
            if _words(self._text[:end]) >= self._min_words:
                return end
        return limit

    def _limit(self) -> int | None:
        """Where `max_words` whole words end, when more text has come after them."""
        count = 0
        for word in re.finditer(r"\S+(?=\s+\S)", self._text):
            count += _words(word[0])
            if count >= self._max_words:
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
