"""What of a long turn has been transcribed at its pauses, so that at its end only the rest has to be heard.

Each provisional end transcribes the turn so far. Where the caller goes on, those words are kept: once the turn is too
long to be heard whole in time, the transcription begins at the pause where they ended.
"""

from __future__ import annotations

from turngap_agent.telephony import SAMPLE_RATE

_LEAST_REST_SAMPLES = round(1.5 * SAMPLE_RATE)
"""A shorter rest is heard together with what was before it: a word or two alone are easily misheard."""


class WordsSoFar:
    """One turn's words up to its pauses; positions are samples from the stream's start at 8 kHz."""

    def __init__(self, whole_s: float | None) -> None:
        """Turns up to `whole_s` are heard whole; None: all are."""
        self._whole_samples = None if whole_s is None else round(whole_s * SAMPLE_RATE)
        self._parts: list[tuple[int, str]] = []

    def forget(self) -> None:
        """A new turn begins."""
        self._parts.clear()

    def keep(self, end_sample: int, words: str) -> None:
        """The turn up to `end_sample`, which lies in a pause, has these words."""
        if self._whole_samples is not None and words:
            self._parts.append((end_sample, words))

    def rest(self, start_sample: int, end_sample: int) -> tuple[int, str]:
        """For a turn from `start_sample` up to `end_sample`: from where it is to be heard, and the words before that.

        As much as can be heard in time is: it begins at the first pause that leaves no more than that, else at the
        last one that leaves enough.
        """
        if self._whole_samples is None or end_sample - start_sample <= self._whole_samples:
            return start_sample, ""
        enough = [part for part in self._parts if end_sample - part[0] >= _LEAST_REST_SAMPLES]
        in_time = (part for part in enough if end_sample - part[0] <= self._whole_samples)
        return next(in_time, enough[-1] if enough else (start_sample, ""))
