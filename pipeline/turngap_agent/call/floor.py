"""Whose word it is while agent and caller are both heard: the agent pauses, goes on or gives way.

Echo is taken out first, then `interruption` decides; here it is done at the line and written down in the reply's
notes, and the endpointer's events are kept from the call as long as it is open whether they count.
"""

from __future__ import annotations

from dataclasses import replace

from turngap_agent import tracing
from turngap_agent.call.interruption import Interruption, Move, Withheld
from turngap_agent.call.line import Line
from turngap_agent.call.playback import NS_PER_SAMPLE
from turngap_agent.call.reply import Reply
from turngap_agent.endpointing import EndpointEvent, Voicing
from turngap_agent.endpointing.utterance import samples
from turngap_agent.endpointing.windows import WINDOW_SAMPLES
from turngap_agent.profile import Profile

REACTION_NS = 150_000_000
"""Nobody reacts to what the agent says within this time: a voice as early as that was going on anyway."""


def still_talking(event: EndpointEvent) -> bool:
    """Whether the end of a turn was decided in the middle of speech, as only the limit of a turn's length does."""
    return event.speech_end_sample >= event.at_sample


class Floor:
    """One call's. `push` each verdict of the detector, take each event of the endpointer through `passed`."""

    def __init__(self, profile: Profile, line: Line) -> None:
        self._line = line
        self._interruption = Interruption(profile.barge_in, profile.endpointing)
        self._tail = samples(profile.barge_in.tail_ms)
        self._withheld = Withheld()
        self._insisting = False
        self._went_on_at = 0
        self._heard_ns = 0
        """When the voice that is going on was first heard."""

    def push(self, voicing: Voicing, arrived_ns: int, reply: Reply | None) -> tuple[Voicing, Move | None]:
        """Take a verdict on a window that was read at `arrived_ns`: what it is worth, and what to do."""
        begun_ns = arrived_ns - WINDOW_SAMPLES * NS_PER_SAMPLE
        if self._line.played.is_echo(voicing.level_dbfs, begun_ns, arrived_ns):
            voicing = replace(voicing, probability=0.0)
        move = self._interruption.push(voicing, not self._insisting and self.over(reply))
        if self._interruption.began == voicing.end_sample - WINDOW_SAMPLES:
            self._heard_ns = arrived_ns
        if move is Move.GO_ON:
            self._went_on_at = voicing.end_sample
        if self._insisting and (reply is None or (reply.result is not None and not self._line.unheard)):
            self._insisting, move = False, Move.GIVE_BACK
        return voicing, move

    def passed(self, event: EndpointEvent, reply: Reply | None) -> list[EndpointEvent]:
        """Take an event of the endpointer; give what counts now, as a rule the event itself."""
        return self._withheld.passed(event, self.over(reply))

    def insist(self, on: bool) -> None:
        """The reply to come is for a caller who is still talking: it is said to its end, whatever the caller does."""
        self._insisting = on
        if on:
            self._withheld.hold()

    async def pause(self, reply: Reply | None) -> None:
        """Silence the agent, keep what was not heard, and wait for what the caller's voice turns out to be."""
        self._withheld.hold()
        at_ns = await self._line.pause()
        if reply is not None:
            reply.notes.moment(tracing.PAUSED_NS, at_ns)

    async def go_on(self, reply: Reply | None) -> None:
        """It was a backchannel: say the rest."""
        self._withheld.drop(self._went_on_at)
        at_ns = await self._line.go_on()
        if reply is not None:
            reply.notes.moment(tracing.WENT_ON_NS, at_ns)

    def give_way(self) -> list[EndpointEvent]:
        """What the caller says counts: the events so far."""
        return self._withheld.release()

    def over(self, reply: Reply | None) -> bool:
        """Whether a voice now is over the agent: it has begun to say `reply`, and more than a tail is unheard."""
        if reply is None or not reply.sent_payload:
            return False
        return reply.result is None or self._line.unheard > self._tail

    def spoke_first(self, reply: Reply) -> bool:
        """Whether the voice over the agent had begun before the caller could have heard of the reply."""
        return self._heard_ns < reply.first_sent_ns + REACTION_NS
