"""Declares the engine: a small fitted model of the caller's words, and of their melody if it is given one."""

from __future__ import annotations

from typing import Annotated, Literal

from turngap_agent.engines import LoadedEngine, TurnSettings
from turngap_agent.engines.section import Section


class WordsAndMelodySettings(TurnSettings):
    """Whether a turn is over, from its words, the language model's reading of them, and its melody if it is heard."""

    reads_words = True

    engine: Literal["words_and_melody"]
    melody: Annotated[TurnSettings, Section("turn")] | None = None
    """Hears how complete the turn sounds, as soon as its words are known: `{engine: smart_turn}`. null: the words alone
    decide, from what the language model computes for the reply anyway."""
    coefficients: str | None = None
    """A file that `python -m benchmarks.fit_turns` wrote; null: the one that ships."""

    def build(self) -> LoadedEngine:
        """Load the melody's model, if there is one, and the coefficients."""
        from turngap_agent.endpointing.words_and_melody.engine import WordsAndMelody

        return WordsAndMelody(self)

    def pinned_weights(self) -> str | None:
        """Those of the melody's model."""
        return self.melody.pinned_weights() if self.melody is not None else None
