"""The policy that listens to how complete a turn sounds, and lets no work begin before the end is certain."""

from __future__ import annotations

from collections.abc import Iterable

from turngap_agent.endpointing import EndpointEvent, EventKind, Voicing
from turngap_agent.endpointing.speculative import SpeculativeEndpointer
from turngap_agent.profile.endpointing import EndpointingSettings


class SmartTurnEndpointer:
    """Decides as `speculative` does, at the same moments; its provisional end is the confirmed one."""

    def __init__(self, settings: EndpointingSettings) -> None:
        self._decided = SpeculativeEndpointer(settings)

    def push(self, voicing: Voicing) -> list[EndpointEvent]:
        """Take the next verdict; give what it decides, as a rule nothing."""
        return _certain(self._decided.push(voicing))

    def completion(self, at_sample: int, probability: float) -> list[EndpointEvent]:
        """Take the answer to the question of `at_sample`; an answer on a pause that is over changes nothing."""
        return _certain(self._decided.completion(at_sample, probability))


def _certain(events: Iterable[EndpointEvent]) -> list[EndpointEvent]:
    """Without what was provisional, and with a provisional end just before each confirmed one."""
    found: list[EndpointEvent] = []
    for event in events:
        if event.kind in (EventKind.PROVISIONAL_END, EventKind.RESUMED):
            continue
        if event.kind is EventKind.CONFIRMED_END:
            found.append(
                EndpointEvent(
                    EventKind.PROVISIONAL_END, event.at_sample, event.speech_start_sample, event.speech_end_sample
                )
            )
        found.append(event)
    return found
