"""What a pause shows of whether the turn is over, as numbers, and the logistic model that combines them; pure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from turngap_agent import documents
from turngap_agent.documents import FrozenModel
from turngap_agent.endpointing import Pause
from turngap_agent.errors import ProfileError

SHIPPED = Path(__file__).parent / "coefficients.yaml"
_SOFT = 0.01
"""Keeps the log odds of a probability near 0 or 1 within ±4.6: a model's own last per mille says nothing."""
_WORDS = re.compile(r"[a-z']+|(?<!\d[.,:])(?:\d{1,2}:\d\d|\d+\.\d\d?|\d{1,3}(?:,\d{3})+)(?![.,:]?\d)|\d+")
"""A time, an amount and thousands are one word each; other digits are a word a group."""
_LEAST_READING = -0.78
"""Log odds. Of spontaneous sentences that are over many sound open to a small model, so its reading alone asks for
half a second of silence at most. A last word that asks for another one, digits and the agent's question may ask for
more."""
_ASKED_WORDS = 8
"""Of an agent's words without any mark, as a transcript has them, so many of the last are taken for its question."""
_ASKING = frozenset({"what", "which", "when", "where", "who", "whose", "how"})
_POLITE_REQUEST = re.compile(r"(?:can|could|would|will) you\b|(?:can|could|may) i (?:please )?(?:have|get|take)\b")
"""Sounds like a question for yes or no, and asks for what follows."""
_FEW_WORDS = 3
"""Of so few words the language model's probability says nothing: "Thursday" is as often an answer as a beginning."""


@dataclass(frozen=True, slots=True)
class Features:
    """One pause. A feature that is not known is 0, which moves nothing."""

    sentence: float
    """Log odds of the language model's probability that the sentence ends there, where there are words enough."""
    melody: float
    """Log odds of the probability, from the sound, that the turn is complete."""
    open_word: float
    """1 if the last word asks for another one: an article, a conjunction, a preposition, a filler."""
    dictated: float
    """1 if the agent has asked for what is given piece by piece (a number, a spelling, an address), or if the words end
    in two groups of digits."""
    short_answer: float
    """1 if the agent has asked a question for yes or no, and the caller's words begin with such an answer."""


class Coefficients(FrozenModel):
    """The weights of the features, and the constant."""

    constant: float
    sentence: float
    melody: float = 0.0
    open_word: float
    dictated: float
    short_answer: float

    def probability(self, features: Features) -> float:
        """Return the probability, 0-1, that the turn is over."""
        odds = (
            self.constant
            + max(_LEAST_READING, self.sentence * features.sentence)
            + self.melody * features.melody
            + self.open_word * features.open_word
            + self.dictated * features.dictated
            + self.short_answer * features.short_answer
        )
        return 1 / (1 + math.exp(-odds)) if odds >= 0 else math.exp(odds) / (1 + math.exp(odds))


class FittedModel(FrozenModel):
    """The file of coefficients: what was fitted, on what, and the lists of words."""

    fitted_on: str
    """The corpora, the number of pauses and ends, and the date."""
    set_by_hand: tuple[str, ...]
    """The coefficients that no corpus of the fit could say anything about."""
    words: Coefficients
    """Without a melody."""
    words_and_melody: Coefficients
    open_words: frozenset[str]
    dictated_words: frozenset[str]
    """In an agent's question or request: what asks for a number, a name, a spelling."""
    request_words: frozenset[str] = frozenset()
    """In an agent's last sentence without a question mark: what makes it a request all the same."""
    yes_no_openings: tuple[str, ...]
    """How a question for yes or no begins."""
    yes_no_answers: frozenset[str]


def load_model(path: Path = SHIPPED) -> FittedModel:
    """Read a file of coefficients.

    Raises:
        ProfileError: it is missing or malformed; the message has file, line and key.
    """
    return documents.load(path, FittedModel, ProfileError)


def read_features(pause: Pause, model: FittedModel, melody: float | None = None) -> Features:
    """Return the features of a pause; `melody` is the probability, 0-1, that it sounds complete, None if unheard."""
    words = _WORDS.findall(pause.words.lower())
    asked, asks = _read_question(pause.question)
    requested = bool(model.request_words.intersection(asked.split()))
    polite = _POLITE_REQUEST.match(asked)
    yes_no = asked.startswith(model.yes_no_openings) and asks and not (polite and (requested or " i " in polite[0]))
    request = asks or requested
    dictated = request and bool(model.dictated_words.intersection(asked.split()))
    sentence = pause.sentence_end if len(words) > _FEW_WORDS else None
    return Features(
        sentence=0.0 if sentence is None else log_odds(sentence),
        melody=0.0 if melody is None else log_odds(melody),
        open_word=float(bool(words) and words[-1] in model.open_words),
        dictated=float((dictated and not yes_no) or _ends_in_digits(words)),
        short_answer=float(yes_no and bool(words) and words[0] in model.yes_no_answers),
    )


def _ends_in_digits(words: Sequence[str]) -> bool:
    return len(words) > 1 and words[-1].isdigit() and words[-2].isdigit()


def _read_question(said: str) -> tuple[str, bool]:
    """Return the agent's last sentence in lower case, and whether it asks."""
    text = said.strip()
    last = _WORDS.findall(re.split(r"[.!?]", text.rstrip(".!? ").lower())[-1])
    if re.search(r"[.!?]", text):
        return " ".join(last), text.endswith("?")
    tail = last[-_ASKED_WORDS:]
    start = next((at for at, word in enumerate(tail) if word.split("'")[0] in _ASKING), None)
    return " ".join(tail if start is None else tail[start:]), start is not None


def log_odds(probability: float) -> float:
    """Return the logarithm of p / (1 - p), for p from 0 to 1 both included."""
    return math.log((probability + _SOFT) / (1 - probability + _SOFT))
