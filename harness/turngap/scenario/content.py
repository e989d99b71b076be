"""Which words of a reply carry content: openings such as "um" or a bare "thank you," do not. Pure, but for the list.

The list is data (`scenarios/contentless.yaml`, or a scenario's own `contentless`). Openings are taken off the start of
a reply one after the other, the longest that fits first; the first word that remains is the first content.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Annotated

from pydantic import Field
from turngap_agent import documents
from turngap_agent.documents import FrozenModel
from turngap_agent.errors import ScenarioError

LIST = Path(__file__).parents[1] / "scenarios" / "contentless.yaml"
_ENDS_PHRASE = re.compile(r"[,;:.!?…—–-][\"'”’)\]]*$")
_RUN = re.compile(r"(.)\1+")


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


class Openings:
    """The openings that carry no content."""

    def __init__(self, entries: Iterable[str]) -> None:
        self._alone: dict[tuple[str, ...], bool] = {}
        for entry in entries:
            words = tuple(word.plain for word in split_words(entry))
            alone = entry.rstrip().endswith(",")
            if words:
                self._alone[words] = alone and self._alone.get(words, True)
        self._longest = max(map(len, self._alone), default=0)

    def count(self, words: Sequence[Word]) -> int:
        """Return how many of the leading words carry no content; all of them if the reply has none."""
        first = 0
        while length := self._match(words, first):
            first += length
        return first

    def _match(self, words: Sequence[Word], first: int) -> int:
        """Return the length of the longest opening at `first`; 0 if there is none."""
        for length in range(min(self._longest, len(words) - first), 0, -1):
            piece = words[first : first + length]
            alone = self._alone.get(tuple(word.plain for word in piece))
            if alone is not None and (not alone or piece[-1].ends_phrase):
                return length
        return 0


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
