"""Chooses the endpointing policy a profile names."""

from __future__ import annotations

from pipeline.endpointing import Endpointer
from pipeline.endpointing.silence import SilenceEndpointer
from pipeline.profile.endpointing import EndpointingSettings


def endpointer(settings: EndpointingSettings) -> Endpointer:
    """A fresh endpointer for one call."""
    match settings.policy:
        case "silence":
            return SilenceEndpointer(settings)
