"""The model behind the agent's interface: words first, then the melody if there is one, then one small sum.

It has no thread of its own: transcript and language model have done their work by the time it is asked, and the
melody's model works on its own thread.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, cast

from turngap_agent import parts
from turngap_agent.endpointing import AudioF32, Pause, TurnModel
from turngap_agent.endpointing.words_and_melody.features import SHIPPED, load_model, read_features

if TYPE_CHECKING:
    from turngap_agent.endpointing.words_and_melody.settings import WordsAndMelodySettings


class WordsAndMelody:
    """Fitted weights, and the melody's model; shared by calls."""

    parts: tuple[str, ...] = ("words",)

    def __init__(self, settings: WordsAndMelodySettings) -> None:
        """Raises:
        ProfileError: the file of coefficients is missing or malformed.
        WeightsError: the melody's weights are missing and cannot be fetched.
        """
        self._model = load_model(SHIPPED if settings.coefficients is None else Path(settings.coefficients))
        built = settings.melody.build() if settings.melody is not None else None
        self._melody_line = built.describe() if built is not None else "no melody"
        self._melody = cast(TurnModel | None, built)
        if isinstance(built, parts.HasParts):
            self.parts = (*built.parts, "words")

    def describe(self) -> str:
        """Return one line for the ready message and the report."""
        return f"words_and_melody, words of the transcript, {self._melody_line}"

    async def warm_up(self) -> None:
        """Warm the melody's model."""
        if self._melody is not None:
            await self._melody.warm_up()

    async def judge(self, pause: Pause) -> float:
        """Return the probability, 0-1, that the caller is done; 0 where no words were recognised.

        Raises:
            EngineError: the melody's model failed.
        """
        if not pause.words.strip():
            return 0.0
        melody = await self._melody.completeness(pause.audio) if self._melody is not None else None
        with parts.part("words"):
            weights = self._model.words if melody is None else self._model.words_and_melody
            return weights.probability(read_features(pause, self._model, melody))

    async def completeness(self, audio: AudioF32) -> float:
        """Return the probability from the sound alone; without a melody's model 0.5, as nothing is known."""
        return await self._melody.completeness(audio) if self._melody is not None else 0.5

    async def close(self) -> None:
        """Free the melody's threads and memory."""
        if self._melody is not None:
            await self._melody.close()
