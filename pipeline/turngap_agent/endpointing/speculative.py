"""The policy that takes a turn for over at the first short silence, and is sure of it later.

Between the two, work has begun and nothing of it may be heard; `RESUMED` says that it was for nothing.
"""

from __future__ import annotations

from turngap_agent.endpointing import ConfirmedBy, EndpointEvent, EventKind, Voicing
from turngap_agent.endpointing.confirmation import Confirmation
from turngap_agent.endpointing.utterance import Utterance, samples
from turngap_agent.profile.endpointing import EndpointingSettings

GRACE_MS = 160
"""Sounds in a pause may be the caller going on softly, or the line: so much longer it takes to be sure of the end."""


class SpeculativeEndpointer:
    """Provisional end at `provisional_ms`, together with the question how complete the turn sounds; then confirmation.

    One provisional end and one question a pause; a pause ends with RESUMED or CONFIRMED_END.
    """

    def __init__(self, settings: EndpointingSettings) -> None:
        self._provisional = samples(settings.provisional_ms)
        self._noise = samples(settings.noise_ms)
        self._asks = settings.model is not None
        self._confirmation = Confirmation(settings)
        self._utterance = Utterance(settings, settings.drop_db)
        self._asked_at: int | None = None
        """Where the pause that is going on was taken for the end."""
        self._completeness: float | None = None

    def push(self, voicing: Voicing) -> list[EndpointEvent]:
        """Take the next verdict; give what it decides, as a rule nothing."""
        utterance = self._utterance
        events = [utterance.event(EventKind.SPEECH_STARTED)] if utterance.push(voicing) else []
        if self._asked_at is not None and utterance.voiced:
            self._asked_at = self._completeness = None
            events.append(utterance.event(EventKind.RESUMED))
        if not utterance.began:
            return events
        if self._asked_at is None and utterance.too_long:
            events.append(utterance.event(EventKind.PROVISIONAL_END))
        elif self._asked_at is None and self._silence_samples >= self._provisional:
            self._asked_at = utterance.now
            events.append(utterance.event(EventKind.PROVISIONAL_END))
            if self._asks:
                events.append(utterance.event(EventKind.COMPLETION_ASKED))
        return events + self._confirmed()

    def completion(self, at_sample: int, probability: float) -> list[EndpointEvent]:
        """Take the answer to the question of `at_sample`; an answer on a pause that is over changes nothing."""
        if at_sample != self._asked_at:
            return []
        self._completeness = probability
        return self._confirmed()

    @property
    def _silence_samples(self) -> int:
        """Quiet counts at once; what is no speech but is not quiet either keeps a turn open for `GRACE_MS` more."""
        quiet = 0 if self._utterance.stirring else self._utterance.silence_samples
        return max(quiet, self._utterance.unvoiced_samples - samples(GRACE_MS))

    def _confirmed(self) -> list[EndpointEvent]:
        utterance = self._utterance
        by: ConfirmedBy | None = None
        if utterance.too_long:
            by = ConfirmedBy.LIMIT
        elif self._asked_at is not None:
            doubtful = self._noise if utterance.never_quiet else 0
            by = self._confirmation.confirmed_by(self._silence_samples - doubtful, self._completeness)
        if by is None:
            return []
        event = utterance.event(EventKind.CONFIRMED_END, by)
        utterance.end()
        self._asked_at = self._completeness = None
        return [event]
