"""Follows a detector's verdicts with hysteresis: where the caller's utterance began, and how long it has been silent.

What every endpointing policy needs and none decides: a policy looks at an `Utterance` and says what it means.
"""

from __future__ import annotations

from pipeline.endpointing import ConfirmedBy, EndpointEvent, EventKind, Voicing
from pipeline.profile.endpointing import EndpointingSettings
from pipeline.telephony import SAMPLE_RATE


def samples(milliseconds: float) -> int:
    """Milliseconds as samples at 8 kHz."""
    return round(milliseconds * SAMPLE_RATE / 1000)


class Utterance:
    """The state of the caller's speech after the last verdict, in samples from the stream's start at 8 kHz.

    Speech begins with a window at `speech_probability` and lasts until one falls below `silence_probability`; a run
    shorter than `min_speech_ms` never was speech.
    """

    def __init__(self, settings: EndpointingSettings) -> None:
        self._settings = settings
        self._floor = 0
        self._run_start: int | None = None
        self.now = 0
        """How much audio has been judged."""
        self.voiced = False
        """The last window belongs to speech."""
        self.began = False
        """An utterance is going on: it has once had `min_speech_ms` of speech."""
        self.last_speech = 0
        """Where the utterance's last voiced window ended."""

    def push(self, voicing: Voicing) -> bool:
        """Take the next verdict; True when it is the one with which the utterance began."""
        window_start, self.now = self.now, voicing.end_sample
        least = self._settings.silence_probability if self.voiced else self._settings.speech_probability
        self.voiced = voicing.probability >= least
        if not self.voiced:
            if not self.began:
                self._run_start = None
            return False
        if self._run_start is None:
            self._run_start = window_start
        self.last_speech = self.now
        if self.began or self.now - self._run_start < samples(self._settings.min_speech_ms):
            return False
        self.began = True
        return True

    def end(self) -> None:
        """Forget the utterance; the next one's pre-roll does not reach back into it."""
        self._floor = self.now if self.voiced else self.last_speech
        self._run_start, self.began, self.voiced = None, False, False

    def event(self, kind: EventKind, confirmed_by: ConfirmedBy | None = None) -> EndpointEvent:
        """A decision on the utterance as it stands."""
        return EndpointEvent(kind, self.now, self.start, self.last_speech, confirmed_by)

    @property
    def start(self) -> int:
        """Where the utterance began, the pre-roll included."""
        begun = self.now if self._run_start is None else self._run_start
        return max(self._floor, begun - samples(self._settings.pre_roll_ms))

    @property
    def silence_samples(self) -> int:
        """How long it has been silent since the utterance's last speech; 0 when none is going on."""
        return self.now - self.last_speech if self.began else 0

    @property
    def too_long(self) -> bool:
        """The utterance has reached `max_turn_ms`."""
        begun = self._run_start if self.began else None
        return begun is not None and self.now - begun >= samples(self._settings.max_turn_ms)
