"""When a pause is the end of the turn: the more complete the turn sounds, the less silence is needed."""

from __future__ import annotations

from turngap_agent.endpointing import ConfirmedBy
from turngap_agent.endpointing.utterance import samples
from turngap_agent.profile.endpointing import EndpointingSettings


class Confirmation:
    """The rule, without state.

    A turn that sounds complete (`threshold` or more) ends after `min_silence_ms`, one that does not (`doubt` or less,
    or no answer yet) after `max_silence_ms`; in between the silence falls in a straight line. Without a model
    `min_silence_ms` ends them all.
    """

    def __init__(self, settings: EndpointingSettings) -> None:
        self._settings = settings
        self._least = samples(settings.min_silence_ms)
        self._most = self._least if settings.model is None else samples(settings.max_silence_ms)

    def needed_samples(self, completeness: float | None) -> int:
        """The silence that ends a turn of that completeness, in samples at 8 kHz; None: it is not known."""
        if completeness is None:
            return self._most
        doubt, sure = self._settings.doubt, self._settings.threshold
        share = min(1.0, max(0.0, (completeness - doubt) / (sure - doubt)))
        return round(self._most - share * (self._most - self._least))

    def confirmed_by(self, silence_samples: int, completeness: float | None) -> ConfirmedBy | None:
        """What ends a turn after so much silence; None where it goes on."""
        if silence_samples >= self._most:
            return ConfirmedBy.SILENCE
        return ConfirmedBy.SMART_TURN if silence_samples >= self.needed_samples(completeness) else None
