"""Chooses the endpointing policy a profile names."""

from __future__ import annotations

from pipeline.endpointing import Endpointer
from pipeline.endpointing.silence import SilenceEndpointer
from pipeline.endpointing.smart_turn import SmartTurnEndpointer
from pipeline.endpointing.speculative import SpeculativeEndpointer
from pipeline.profile.endpointing import EndpointingSettings


def endpointer(settings: EndpointingSettings) -> Endpointer:
    """A fresh endpointer for one call."""
    match settings.policy:
        case "silence":
            return SilenceEndpointer(settings)
        case "smart_turn":
            return SmartTurnEndpointer(settings)
        case "speculative":
            return SpeculativeEndpointer(settings)
