"""The plain policy: so much silence after speech, and the turn is over."""

from __future__ import annotations

from turngap_agent.endpointing import ConfirmedBy, EndpointEvent, EventKind, Voicing
from turngap_agent.endpointing.utterance import Utterance, samples
from turngap_agent.profile.endpointing import EndpointingSettings


class SilenceEndpointer:
    """Ends a turn after `min_silence_ms` without speech, or at `max_turn_ms`; provisional and confirmed are one."""

    def __init__(self, settings: EndpointingSettings) -> None:
        self._min_silence = samples(settings.min_silence_ms)
        self._utterance = Utterance(settings)

    def push(self, voicing: Voicing) -> list[EndpointEvent]:
        """Take the next verdict; give what it decides, as a rule nothing."""
        utterance = self._utterance
        events = [utterance.event(EventKind.SPEECH_STARTED)] if utterance.push(voicing) else []
        if utterance.began and (utterance.silence_samples >= self._min_silence or utterance.too_long):
            by = ConfirmedBy.LIMIT if utterance.too_long else ConfirmedBy.SILENCE
            events += [utterance.event(EventKind.PROVISIONAL_END), utterance.event(EventKind.CONFIRMED_END, by)]
            utterance.end()
        return events

    def completion(self, at_sample: int, probability: float) -> list[EndpointEvent]:
        """Nothing is ever asked, so nothing follows."""
        return []
