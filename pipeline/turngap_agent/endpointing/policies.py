"""Chooses the endpointing policy a profile names."""

from __future__ import annotations

from turngap_agent.endpointing import Endpointer
from turngap_agent.endpointing.silence import SilenceEndpointer
from turngap_agent.endpointing.smart_turn import SmartTurnEndpointer
from turngap_agent.endpointing.speculative import SpeculativeEndpointer
from turngap_agent.profile.endpointing import EndpointingSettings


def endpointer(settings: EndpointingSettings) -> Endpointer:
    """A fresh endpointer for one call."""
    match settings.policy:
        case "silence":
            return SilenceEndpointer(settings)
        case "smart_turn":
            return SmartTurnEndpointer(settings)
        case "speculative":
            return SpeculativeEndpointer(settings)
