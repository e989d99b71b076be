"""Which words of a reply carry content: openings such as "um" or a bare "thank you," do not. Pure, but for the list.

The list is data (`scenarios/contentless.yaml`, or a scenario's own `contentless`). Openings are taken off the start of
a reply one after the other, the longest that fits first; the first word that remains is the first content. An entry may
have optional words in parentheses. It counts anywhere; if it ends with a comma, before a mark, a pause, the end of the
clause or another opening; if it ends with a plus sign, before another opening only. One that ends with an equals sign
is content, although it begins like an opening.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache
from itertools import product
from pathlib import Path
from typing import Annotated

from pydantic import Field
from turngap_agent import documents
from turngap_agent.documents import FrozenModel
from turngap_agent.errors import ScenarioError

LIST = Path(__file__).parents[1] / "scenarios" / "contentless.yaml"
_ENDS_PHRASE = re.compile(r"[,;:.!?…—–-][\"'”’)\]]*$")
_RUN = re.compile(r"(.)\1+")
_OPTIONAL = re.compile(r"\(([^()]*)\)")


class OpeningList(FrozenModel):
    """A file that lists openings."""

    openings: Annotated[tuple[str, ...], Field(min_length=1)]


@dataclass(frozen=True, slots=True)
class Word:
    """One word as it was written or recognised."""

    text: str
    stands_last: bool = False
    """A pause or the end of the clause follows it."""

    @property
    def plain(self) -> str:
        """The word in lower case, without marks, each run of one letter as one letter; "" for a mark alone."""
        return _RUN.sub(r"\1", "".join(letter for letter in self.text.lower() if letter.isalnum()))

    @property
    def ends_phrase(self) -> bool:
        """Whether a mark, a pause or the end of the clause follows it."""
        return self.stands_last or _ENDS_PHRASE.search(self.text) is not None


class _Counts(Enum):
    """Where an opening counts; of two entries of the same words, the one that counts in more places."""

    NEVER = -1
    """It is content: "right now" is, though "right," is an opening."""
    ANYWHERE = 0
    ALONE = 1
    """Before a mark, a pause, the end of the clause, or another opening."""
    BEFORE_ANOTHER = 2
    """Before another opening: alone it is an answer, as "yes" is."""


_MARKS = {",": _Counts.ALONE, "+": _Counts.BEFORE_ANOTHER, "=": _Counts.NEVER}


class Openings:
    """The openings that carry no content."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._counts: dict[tuple[str, ...], _Counts] = {}
        for entry in entries:
            counts = _MARKS.get(entry.rstrip()[-1:], _Counts.ANYWHERE)
            for variant in expand_entry(entry):
                words = tuple(word.plain for word in split_words(variant))
                if words:
                    self._counts[words] = min(counts, self._counts.get(words, counts), key=lambda one: one.value)
        self._longest = max(map(len, self._counts), default=0)

    def count(self, words: Sequence[Word]) -> int:
        """Return how many of the leading words carry no content; all of them if the reply has none."""
        lengths = [0] * (len(words) + 1)  # of the longest opening at each word: what follows decides, so from the end
        for first in reversed(range(len(words))):
            lengths[first] = self._match(words, first, lengths)
        first = 0
        while length := lengths[first]:
            first += length
        return first

    def _match(self, words: Sequence[Word], first: int, lengths: Sequence[int]) -> int:
        """Return the length of the longest opening at `first`, 0 if there is none; of later words it is known."""
        for length in range(min(self._longest, len(words) - first), 0, -1):
            piece = words[first : first + length]
            counts = self._counts.get(tuple(word.plain for word in piece))
            if counts is _Counts.NEVER:
                return 0
            if (
                counts is _Counts.ANYWHERE
                or (counts is not None and lengths[first + length] > 0)
                or (counts is _Counts.ALONE and piece[-1].ends_phrase)
            ):
                return length
        return 0


def expand_entry(entry: str) -> list[str]:
    """Return an entry with and without each of its optional words: "let me (just) check" gives two."""
    parts = _OPTIONAL.split(entry)
    choices = [(part,) if index % 2 == 0 else (part, "") for index, part in enumerate(parts)]
    return [" ".join("".join(chosen).split()) for chosen in product(*choices)]


def split_words(text: str) -> list[Word]:
    """Return the words of a clause; a mark that stands apart belongs to the word before it."""
    words: list[Word] = []
    for token in re.split(r"[\s]+|(?<=\w)[-](?=\w)", text.strip()):
        if any(letter.isalnum() for letter in token):
            words.append(Word(token))
        elif token and words:
            words[-1] = Word(words[-1].text + token)
    if words:
        words[-1] = Word(words[-1].text, stands_last=True)
    return words


@cache
def default_openings() -> tuple[str, ...]:
    """Return the entries of the list that ships.

    Raises:
        ScenarioError: the file is damaged.
    """
    return documents.load(LIST, OpeningList, ScenarioError).openings


@cache
def make_openings(entries: tuple[str, ...]) -> Openings:
    """Return the openings of these entries; made once for each list."""
    return Openings(entries)
