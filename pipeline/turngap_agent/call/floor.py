"""Who has the floor while agent and caller are both heard: the agent pauses, resumes or yields.

Echo is removed first, then `interruption` decides. This module carries the decision out on the outbound audio, notes it
in the reply's spans, and holds the endpointer's events until it is known whether they count.
"""

from __future__ import annotations

from dataclasses import replace

from turngap_agent import tracing
from turngap_agent.call.interruption import HeldEvents, Interruption, Move
from turngap_agent.call.outbound import OutboundAudio
from turngap_agent.call.playback import NS_PER_SAMPLE
from turngap_agent.call.reply import Reply
from turngap_agent.endpointing import EndpointEvent, Voicing
from turngap_agent.endpointing.utterance import samples
from turngap_agent.endpointing.windows import WINDOW_SAMPLES
from turngap_agent.profile import Profile


def still_talking(event: EndpointEvent) -> bool:
    """Whether the end of a turn was decided in the middle of speech, as only the limit of a turn's length does."""
    return event.speech_end_sample >= event.at_sample


class Floor:
    """The floor of one call. `push` each voicing of the detector, pass each event of the endpointer through `admit`."""

    def __init__(self, profile: Profile, outbound: OutboundAudio) -> None:
        self._outbound = outbound
        self._interruption = Interruption(profile.barge_in, profile.endpointing)
        self._tail = samples(profile.barge_in.tail_ms)
        self._landing_ns = profile.landing_ms * 1_000_000
        self._held = HeldEvents()
        self._uninterruptible = False
        self._resumed_at = 0
        self._voice_ns = 0
        """When the current voice was first heard."""

    def push(self, voicing: Voicing, arrived_ns: int, reply: Reply | None) -> tuple[Voicing, Move | None]:
        """Take a voicing that was read at `arrived_ns`; return it without echo, and what to do."""
        start_ns = arrived_ns - WINDOW_SAMPLES * NS_PER_SAMPLE
        if self._outbound.levels.is_echo(voicing.level_dbfs, start_ns, arrived_ns):
            voicing = replace(voicing, probability=0.0)
        if self._interruption.began is None:
            self._voice_ns = arrived_ns
        move = self._interruption.push(
            voicing, not self._uninterruptible and self.is_over_agent(reply), going_on=self.is_going_on(reply)
        )
        if move is Move.RESUME:
            self._resumed_at = voicing.end_sample
        finished = reply is None or (reply.result is not None and not self._outbound.unheard_samples)
        if self._uninterruptible and finished:
            self._uninterruptible, move = False, Move.LISTEN
        return voicing, move

    def admit(self, event: EndpointEvent, reply: Reply | None) -> list[EndpointEvent]:
        """Take an event of the endpointer; return the events that count now, usually the event itself."""
        return self._held.admit(event, self.is_over_agent(reply))

    def set_uninterruptible(self, on: bool) -> None:
        """Say the next reply to its end, whatever the caller does: it is for a caller who is still talking."""
        self._uninterruptible = on
        if on:
            self._held.hold()

    async def pause(self, reply: Reply | None) -> None:
        """Silence the agent and hold what was not heard until it is known what the caller's voice is."""
        self._held.hold()
        at_ns = await self._outbound.pause()
        if reply is not None:
            reply.notes.moment(tracing.PAUSED_NS, at_ns)

    async def resume(self, reply: Reply | None) -> None:
        """Say the rest: it was a backchannel."""
        self._held.drop(self._resumed_at)
        at_ns = await self._outbound.resume()
        if reply is not None:
            reply.notes.moment(tracing.WENT_ON_NS, at_ns)

    def release(self) -> list[EndpointEvent]:
        """Return the events held so far: what the caller says counts."""
        return self._held.release()

    def is_over_agent(self, reply: Reply | None) -> bool:
        """Whether a voice now is over the agent: part of `reply` was sent, and more than a tail of it is unheard."""
        if reply is None or not reply.sent_payload:
            return False
        return reply.result is None or self._outbound.unheard_samples > self._tail

    def is_going_on(self, reply: Reply | None) -> bool:
        """Whether the voice over the agent started too soon to be a reaction to the reply: the caller had paused."""
        return reply is not None and self._voice_ns <= reply.first_sent_ns + self._landing_ns
