"""What the caller's voice over the agent means: fall silent at once, then go on after a backchannel, or give way.

Pure: it looks at voicings and sample counts. To fall silent costs nothing, for what was not heard can be said later;
so the agent does it at the first sign of a voice, and decides what it was when there is more of it.
"""

from __future__ import annotations

from enum import StrEnum

from turngap_agent.endpointing import EndpointEvent, EventKind, Voicing
from turngap_agent.endpointing.utterance import samples
from turngap_agent.profile.barge_in import BargeInSettings
from turngap_agent.profile.endpointing import EndpointingSettings


class Move(StrEnum):
    """What the agent is to do."""

    PAUSE = "pause"
    """Fall silent, and remember where."""
    GO_ON = "go_on"
    """It was a backchannel or a cough: say the rest."""
    GIVE_WAY = "give_way"
    """It is a barge-in: the turn is the caller's."""
    GIVE_BACK = "give_back"
    """The agent has said what it had to say to a caller who would not stop: what the caller says counts again."""


class Interruption:
    """Follows the caller's voice over the agent, in samples from the stream's start."""

    def __init__(self, settings: BargeInSettings, endpointing: EndpointingSettings) -> None:
        self._sure = settings.sure_probability
        self._speech, self._silence = endpointing.speech_probability, endpointing.silence_probability
        # An utterance must not begin before the agent has paused for it.
        self._pause = samples(min(settings.pause_ms, endpointing.min_speech_ms))
        self._utterance = samples(endpointing.min_speech_ms)
        self._backchannel, self._go_on = samples(settings.backchannel_ms), samples(settings.go_on_ms)
        self._now = self._run_start = self._last_voice = 0
        self._voiced = self._spoke = self._gave_way = False
        self.began: int | None = None
        """Where the voice began that is going on, or that made the agent pause."""
        self.paused = False
        """The agent is silent until it is decided what the caller's voice was."""

    def push(self, voicing: Voicing, over_agent: bool) -> Move | None:
        """Take the next verdict, and whether the agent has something to say that the caller has not heard."""
        window_start, self._now = self._now, voicing.end_sample
        before, self._voiced = self._voiced, self._is_voice(voicing)
        if self._voiced:
            self._run_start = self._run_start if before else window_start
            self.began = window_start if self.began is None else self.began
            self._last_voice = self._now
        elif not self.paused:
            self.began = None
        return self._paused_move() if self.paused else self._speaking_move(over_agent, voicing.probability)

    def _speaking_move(self, over_agent: bool, probability: float) -> Move | None:
        # It takes the agent a moment to give way; until then it is not interrupted again.
        self._gave_way = self._gave_way and over_agent
        if not over_agent or self._gave_way or self.began is None:
            return None
        if self._now - self.began < self._pause and probability < self._sure:
            return None
        self.paused, self._spoke = True, False
        return Move.PAUSE

    def _paused_move(self) -> Move | None:
        assert self.began is not None
        self._spoke = self._spoke or (self._voiced and self._now - self._run_start >= self._utterance)
        silent = self._now - self._last_voice
        if self._last_voice - self.began >= self._backchannel and self._spoke:
            self.paused, self._gave_way = False, True
            return Move.GIVE_WAY
        # Clicks that go on and on, none of them long enough for speech, must not keep the agent silent for ever.
        if silent >= self._go_on or (not self._spoke and self._now - self.began >= 2 * self._backchannel):
            self.paused, self.began = False, None
            return Move.GO_ON
        return None

    def _is_voice(self, voicing: Voicing) -> bool:
        return voicing.probability >= (self._silence if self._voiced else self._speech)


class Withheld:
    """The endpointer's events of an utterance of which it is not known whether it counts."""

    def __init__(self) -> None:
        self._events: list[EndpointEvent] = []
        self._open = False
        self._dropped_at = 0

    def hold(self) -> None:
        """From now on events are held."""
        self._open = True

    def passed(self, event: EndpointEvent, over_agent: bool) -> list[EndpointEvent]:
        """Take an event; give what counts now, as a rule the event itself.

        An utterance that began with a backchannel may be open when the agent has gone on, and become one that counts:
        its events are held until its end, or until there is more of it and the agent has nothing more to say.
        """
        if not self._open and not self._events:
            return [event]
        self._events.append(event)
        if not self._open and event.speech_end_sample > self._dropped_at and not over_agent:
            return self.release()
        if not self._open:
            self._forget_ended()
        return []

    def drop(self, at_sample: int) -> None:
        """What was heard up to `at_sample` was a backchannel: it does not count, unless more of it comes."""
        self._open, self._dropped_at = False, at_sample
        self._forget_ended()

    def release(self) -> list[EndpointEvent]:
        """It counts: all that was held, in order."""
        events, self._events, self._open = self._events, [], False
        return events

    def _forget_ended(self) -> None:
        if self._events and self._events[-1].kind is EventKind.CONFIRMED_END:
            self._events = []
