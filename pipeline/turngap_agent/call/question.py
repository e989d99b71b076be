"""What an attempt answers: the caller's utterance, how much of it is transcribed already, and the call's memory."""

from __future__ import annotations

from dataclasses import dataclass

from turngap_agent.llm import Message
from turngap_agent.stt import AudioF32
from turngap_agent.telephony import SAMPLE_RATE
from turngap_agent.telephony.script import TurnScript
from turngap_agent.tts import ContextUtterance

SPECULATION_LEVELS = ("none", "transcription", "generation", "synthesis")
"""How far an attempt may go before the end of the turn is confirmed: the settings of a profile, in order."""
_MIN_REST_SAMPLES = round(1.5 * SAMPLE_RATE)
"""A shorter rest is transcribed together with what came before it: a word or two alone are easily misheard."""


@dataclass(frozen=True, slots=True)
class Question:
    """An utterance and the memory of the call it is answered with."""

    audio: AudioF32
    """The caller's utterance, 8 kHz, shape (n,)."""
    end_sample: int
    """Where in the stream it ends."""
    earlier_words: str
    """The words before `rest_from`, transcribed at a pause."""
    rest_from: int
    """The sample of `audio` from which it is still to be transcribed."""
    call_block: str
    history: tuple[Message, ...]
    context: tuple[ContextUtterance, ...]
    max_tokens: int
    speech_samples: int = 0
    """How long the caller has spoken, as the detector heard it."""
    last_chance: bool = False
    """Whether the call ends if this fails too: then it says the last words, in place of an apology."""
    preface: str = ""
    """A clause to say before what the language model says."""
    script: TurnScript | None = None
    """The turn's words and its reply's length, for engines on random weights."""
    early_phrase: bool = True
    """Whether the first clause of the reply may end before more words than later ones."""
    speculate: str = "synthesis"
    """The last of `SPECULATION_LEVELS` that may run before the end of the turn is confirmed."""


class WordsSoFar:
    """The words of a long turn up to its pauses, so that at its end only the rest has to be transcribed.

    Each provisional end transcribes the turn so far. If the caller resumes, those words are kept; once the turn is too
    long to be transcribed whole in time, transcription starts at the pause where they ended. Positions are samples from
    the stream's start at 8 kHz.
    """

    def __init__(self, whole_s: float | None) -> None:
        """Turns of up to `whole_s` seconds are transcribed whole; None: all are."""
        self._whole_samples = None if whole_s is None else round(whole_s * SAMPLE_RATE)
        self._parts: list[tuple[int, str]] = []

    def reset(self) -> None:
        """Start a new turn."""
        self._parts.clear()

    def keep(self, end_sample: int, words: str) -> None:
        """Keep the words of the turn up to `end_sample`, which is in a pause."""
        if self._whole_samples is not None and words:
            self._parts.append((end_sample, words))

    def split(self, start_sample: int, end_sample: int) -> tuple[int, str]:
        """For a turn from `start_sample` to `end_sample`: return where to transcribe from, and the words before that.

        As much is transcribed as can be in time: from the first pause that leaves no more than that, else from the last
        one that leaves enough.
        """
        if self._whole_samples is None or end_sample - start_sample <= self._whole_samples:
            return start_sample, ""
        long_enough = [part for part in self._parts if end_sample - part[0] >= _MIN_REST_SAMPLES]
        in_time = (part for part in long_enough if end_sample - part[0] <= self._whole_samples)
        return next(in_time, long_enough[-1] if long_enough else (start_sample, ""))
