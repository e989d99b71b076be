"""What the caller's voice over the agent means: pause at once, then resume after a backchannel or yield to a barge-in.

Pure: it looks at voicings and sample counts. A pause costs nothing, because the unheard part can be played later. So
the agent pauses at the first sign of a voice, and decides what it was when there is more of it.
"""

from __future__ import annotations

from enum import StrEnum

from turngap_agent.endpointing import EndpointEvent, EventKind, Voicing
from turngap_agent.endpointing.utterance import samples
from turngap_agent.profile.sections import BargeInSettings, EndpointingSettings


class Move(StrEnum):
    """What the agent is to do."""

    PAUSE = "pause"
    """Fall silent, and remember where."""
    RESUME = "resume"
    """It was a backchannel or a cough: say the rest."""
    YIELD = "yield"
    """It is a barge-in: the turn is the caller's."""
    LISTEN = "listen"
    """The uninterruptible reply to a caller who did not stop has been played: the caller's speech counts again."""


class Interruption:
    """Follows the caller's voice over the agent, in samples from the stream's start."""

    def __init__(self, settings: BargeInSettings, endpointing: EndpointingSettings) -> None:
        self._sure = settings.sure_probability
        self._speech, self._silence = endpointing.speech_probability, endpointing.silence_probability
        # An utterance must not begin before the agent has paused for it.
        self._pause = samples(min(settings.pause_ms, endpointing.min_speech_ms))
        self._utterance = samples(endpointing.min_speech_ms)
        self._backchannel, self._resume = samples(settings.backchannel_ms), samples(settings.go_on_ms)
        self._now = self._run_start = self._last_voice = 0
        self._voiced = self._spoke = self._yielded = False
        self.began: int | None = None
        """The sample at which the current voice began, or the one that made the agent pause."""
        self.paused = False
        """Whether the agent is silent until it is decided what the caller's voice was."""

    def push(self, voicing: Voicing, over_agent: bool, *, going_on: bool = False) -> Move | None:
        """Take the next voicing, and whether the agent has audio that the caller has not heard; return what to do.

        `going_on`: the voice started too soon to be a reaction to the reply. Then it is no backchannel, however short:
        the agent yields as soon as it surely is speech.
        """
        window_start, self._now = self._now, voicing.end_sample
        before, self._voiced = self._voiced, self._is_voice(voicing)
        if self._voiced:
            self._run_start = self._run_start if before else window_start
            self.began = window_start if self.began is None else self.began
            self._last_voice = self._now
        elif not self.paused:
            self.began = None
        return self._paused_move(going_on) if self.paused else self._speaking_move(over_agent, voicing.probability)

    def _speaking_move(self, over_agent: bool, probability: float) -> Move | None:
        # It takes the agent a moment to yield; until then it is not interrupted again.
        self._yielded = self._yielded and over_agent
        if not over_agent or self._yielded or self.began is None:
            return None
        if self._now - self.began < self._pause and probability < self._sure:
            return None
        self.paused, self._spoke = True, False
        return Move.PAUSE

    def _paused_move(self, going_on: bool) -> Move | None:
        assert self.began is not None
        self._spoke = self._spoke or (self._voiced and self._now - self._run_start >= self._utterance)
        silent = self._now - self._last_voice
        if self._spoke and (going_on or self._last_voice - self.began >= self._backchannel):
            self.paused, self._yielded = False, True
            return Move.YIELD
        # Repeated clicks, none of them long enough for speech, must not keep the agent silent for ever.
        if silent >= self._resume or (not self._spoke and self._now - self.began >= 2 * self._backchannel):
            self.paused, self.began = False, None
            return Move.RESUME
        return None

    def _is_voice(self, voicing: Voicing) -> bool:
        return voicing.probability >= (self._silence if self._voiced else self._speech)


class HeldEvents:
    """Holds endpointer events until the utterance is known to be a real turn."""

    def __init__(self) -> None:
        self._events: list[EndpointEvent] = []
        self._open = False
        self._dropped_at = 0

    def hold(self) -> None:
        """Hold events from now on."""
        self._open = True

    def admit(self, event: EndpointEvent, over_agent: bool) -> list[EndpointEvent]:
        """Take an event; return the events that count now, usually the event itself.

        An utterance that began with a backchannel may still be open when the agent has resumed, and become a real turn:
        its events are held until its end, or until there is more of it and the agent has nothing more to say.
        """
        if not self._open and not self._events:
            return [event]
        self._events.append(event)
        if not self._open and event.speech_end_sample > self._dropped_at and not over_agent:
            return self.release()
        if not self._open:
            self._drop_ended()
        return []

    def drop(self, at_sample: int) -> None:
        """Drop what was heard up to `at_sample`, a backchannel; it counts only if more of it follows."""
        self._open, self._dropped_at = False, at_sample
        self._drop_ended()

    def release(self) -> list[EndpointEvent]:
        """Return all held events, in order: the utterance is a real turn."""
        events, self._events, self._open = self._events, [], False
        return events

    def _drop_ended(self) -> None:
        if self._events and self._events[-1].kind is EventKind.CONFIRMED_END:
            self._events = []
