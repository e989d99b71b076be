"""The endpointing policies: by silence alone, or by how complete the turn sounds, with or without speculation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from turngap_agent.endpointing import ConfirmedBy, Endpointer, EndpointEvent, EventKind, Voicing
from turngap_agent.endpointing.utterance import Utterance, samples
from turngap_agent.endpointing.waiting import silence_ms
from turngap_agent.profile.sections import EndpointingSettings
from turngap_agent.telephony import SAMPLE_RATE

SHORT_TURN_S = 2.0
"""Up to this length `provisional_ms` leaves the time that the work takes."""
SOONEST_WORK_MS = 64
"""Less silence is found inside words; `provisional_ms` may be less all the same."""
GRACE_MS = 160
"""Sounds in a pause may be the caller going on softly, or line noise: confirming the end takes this much longer."""


def make_endpointer(settings: EndpointingSettings) -> Endpointer:
    """Return a fresh endpointer for one call, of the policy that the profile names."""
    match settings.policy:
        case "silence":
            return SilenceEndpointer(settings)
        case "smart_turn":
            return SmartTurnEndpointer(settings)
        case "speculative":
            return SpeculativeEndpointer(settings)


class SilenceEndpointer:
    """Ends a turn after `min_silence_ms` without speech, or at `max_turn_ms`; provisional and confirmed are one."""

    def __init__(self, settings: EndpointingSettings) -> None:
        self._min_silence = samples(settings.min_silence_ms)
        self._utterance = Utterance(settings)

    def push(self, voicing: Voicing) -> list[EndpointEvent]:
        """Take the next voicing; return the decisions, usually none."""
        utterance = self._utterance
        events = [utterance.event(EventKind.SPEECH_STARTED)] if utterance.push(voicing) else []
        if utterance.began and (utterance.silence_samples >= self._min_silence or utterance.too_long):
            by = ConfirmedBy.LIMIT if utterance.too_long else ConfirmedBy.SILENCE
            events += [utterance.event(EventKind.PROVISIONAL_END), utterance.event(EventKind.CONFIRMED_END, by)]
            utterance.end()
        return events

    def completion(self, at_sample: int, probability: float) -> list[EndpointEvent]:
        """Return nothing: this policy never queries the turn model."""
        return []


class SpeculativeEndpointer:
    """Takes a turn for over at the first short silence, and confirms it later.

    A provisional end is declared at `provisional_ms`, and the turn model judges how complete the turn sounds; then the
    confirmation, or RESUMED: the work that started at the provisional end is void. One provisional end and one query a
    pause.
    """

    def __init__(self, settings: EndpointingSettings) -> None:
        self._provisional_ms, self._early_ms_per_s = settings.provisional_ms, settings.early_ms_per_s
        self._noise = samples(settings.noise_ms)
        self._has_model = settings.model is not None
        self._confirmation = Confirmation(settings)
        self._utterance = Utterance(settings, settings.drop_db)
        self._provisional_at: int | None = None
        """Where the current pause was taken for the end."""
        self._completeness: float | None = None
        self._own_pauses_ms: list[float] = []
        """This caller's pauses of `provisional_ms` and more inside turns, so far in the call."""

    def push(self, voicing: Voicing) -> list[EndpointEvent]:
        """Take the next voicing; return the decisions, usually none."""
        utterance = self._utterance
        spoke_until = utterance.last_speech
        events = [utterance.event(EventKind.SPEECH_STARTED)] if utterance.push(voicing) else []
        if self._provisional_at is not None and utterance.voiced:
            pause_ms = (utterance.now - spoke_until) * 1000 / SAMPLE_RATE
            if pause_ms >= self._provisional_ms:
                self._own_pauses_ms.append(pause_ms)
            self._provisional_at = self._completeness = None
            events.append(utterance.event(EventKind.RESUMED))
        if not utterance.began:
            return events
        if self._provisional_at is None and utterance.too_long:
            events.append(utterance.event(EventKind.PROVISIONAL_END))
        elif self._provisional_at is None and (
            max(self._silence_samples, utterance.faint_samples) >= self._needed_for_work
        ):
            self._provisional_at = utterance.now
            events.append(utterance.event(EventKind.PROVISIONAL_END))
            if self._has_model:
                events.append(utterance.event(EventKind.COMPLETION_ASKED))
        return events + self._confirm()

    def completion(self, at_sample: int, probability: float) -> list[EndpointEvent]:
        """Take the answer to the query of `at_sample`; an answer about a pause that is over changes nothing."""
        if at_sample != self._provisional_at:
            return []
        self._completeness = probability
        return self._confirm()

    @property
    def _needed_for_work(self) -> int:
        """The silence at which work starts, samples: less after a long turn, since its transcription takes longer."""
        over_s = max(0.0, self._utterance.length_samples / SAMPLE_RATE - SHORT_TURN_S)
        soonest_ms = min(SOONEST_WORK_MS, self._provisional_ms)
        return samples(max(soonest_ms, self._provisional_ms - self._early_ms_per_s * over_s))

    @property
    def _silence_samples(self) -> int:
        """Quiet counts at once; sound that is not speech keeps a turn open for `GRACE_MS` more."""
        quiet = 0 if self._utterance.stirring else self._utterance.silence_samples
        return max(quiet, self._utterance.unvoiced_samples - samples(GRACE_MS))

    @property
    def _sure_samples(self) -> int:
        """The silence that counts for the confirmation: on a noisy line less what the noise may hide of the speech."""
        utterance = self._utterance
        doubtful = self._noise if utterance.never_quiet else 0
        return max(
            self._silence_samples - doubtful, utterance.faint_samples - max(self._noise, utterance.hidden_samples)
        )

    def _confirm(self) -> list[EndpointEvent]:
        utterance = self._utterance
        by: ConfirmedBy | None = None
        if utterance.too_long:
            by = ConfirmedBy.LIMIT
        elif self._provisional_at is not None:
            by = self._confirmation.confirmed_by(self._sure_samples, self._completeness, self._own_pauses_ms)
        if by is None:
            return []
        event = utterance.event(EventKind.CONFIRMED_END, by)
        utterance.end()
        self._provisional_at = self._completeness = None
        return [event]


class SmartTurnEndpointer:
    """Decides as `SpeculativeEndpointer`, at the same moments, but lets no work start before the end is confirmed."""

    def __init__(self, settings: EndpointingSettings) -> None:
        self._speculative = SpeculativeEndpointer(settings)

    def push(self, voicing: Voicing) -> list[EndpointEvent]:
        """Take the next voicing; return the decisions, usually none."""
        return _without_speculation(self._speculative.push(voicing))

    def completion(self, at_sample: int, probability: float) -> list[EndpointEvent]:
        """Take the answer to the query of `at_sample`; an answer about a pause that is over changes nothing."""
        return _without_speculation(self._speculative.completion(at_sample, probability))


class Confirmation:
    """When a pause is the end of the turn: the more complete the turn sounds, the less silence is needed. No state.

    A turn that sounds complete (`threshold` or more) ends after `min_silence_ms`, one that does not (`doubt` or less,
    or no answer yet) after `max_silence_ms`; in between the silence falls in a straight line. Without a model
    `min_silence_ms` ends them all. With a `cut_off_rate` the silence in between is the shortest that keeps to it, given
    the pauses of this caller (`waiting`).
    """

    def __init__(self, settings: EndpointingSettings) -> None:
        self._settings = settings
        self._min_samples = samples(settings.min_silence_ms)
        self._max_samples = self._min_samples if settings.model is None else samples(settings.max_silence_ms)

    def needed_samples(self, completeness: float | None, own_pauses_ms: Sequence[float] = ()) -> int:
        """Return the silence that ends a turn of that completeness (None: unknown), in samples at 8 kHz."""
        if completeness is None:
            return self._max_samples
        if (rate := self._settings.cut_off_rate) is not None:
            asked_ms = self._settings.provisional_ms
            needed_ms = silence_ms(completeness, rate, asked_ms, self._settings.pauses, own_pauses_ms)
            return max(self._min_samples, samples(min(needed_ms, self._settings.max_silence_ms)))
        doubt, sure = self._settings.doubt, self._settings.threshold
        share = min(1.0, max(0.0, (completeness - doubt) / (sure - doubt)))
        return round(self._max_samples - share * (self._max_samples - self._min_samples))

    def confirmed_by(
        self, silence_samples: int, completeness: float | None, own_pauses_ms: Sequence[float] = ()
    ) -> ConfirmedBy | None:
        """Return what ends a turn after so much silence; None if it continues."""
        if silence_samples >= self._max_samples:
            return ConfirmedBy.SILENCE
        if silence_samples < self._min_samples:
            return None
        if silence_samples < self.needed_samples(completeness, own_pauses_ms):
            return None
        return ConfirmedBy.SMART_TURN if self._settings.cut_off_rate is None else ConfirmedBy.TURN_MODEL


def _without_speculation(events: Iterable[EndpointEvent]) -> list[EndpointEvent]:
    """Drop provisional events, and put a provisional end just before each confirmed one."""
    certain: list[EndpointEvent] = []
    for event in events:
        if event.kind in (EventKind.PROVISIONAL_END, EventKind.RESUMED):
            continue
        if event.kind is EventKind.CONFIRMED_END:
            certain.append(
                EndpointEvent(
                    EventKind.PROVISIONAL_END, event.at_sample, event.speech_start_sample, event.speech_end_sample
                )
            )
        certain.append(event)
    return certain
