"""What the agent says when it cannot converse: sentences whose audio is made once, before the first call.

So a caller who is turned away hears why, even if every engine is busy or broken.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from turngap_agent.call.encoding import ReplyEncoder
from turngap_agent.profile.sections import AnnouncementTexts
from turngap_agent.tts import Synthesizer


class Announcement(StrEnum):
    """An occasion; the value is the key of its text in the profile."""

    BUSY = "busy"
    """All lines are taken."""
    DEAD_LINE = "dead_line"
    """No audio has come for too long."""
    TIME_LIMIT = "time_limit"
    """The call has lasted as long as a call may."""


Announcements = Mapping[str, tuple[bytes, ...]]
"""The audio of each as the payloads of messages, μ-law at 8 kHz."""


async def make_announcements(texts: AnnouncementTexts, tts: Synthesizer) -> Announcements:
    """Speak all texts.

    Raises:
        EngineError: the synthesiser failed.
    """
    return {kind: await _speak(getattr(texts, kind.value), tts) for kind in Announcement}


async def _speak(text: str, tts: Synthesizer) -> tuple[bytes, ...]:
    encoder = ReplyEncoder(tts.sample_rate)
    payloads: list[bytes] = []
    async for pcm in tts.speak(text):
        payloads += encoder.push(pcm)
    return (*payloads, *encoder.flush())
