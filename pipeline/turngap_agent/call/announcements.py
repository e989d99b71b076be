"""What the agent says when it cannot converse: sentences whose audio is made once, before the first call.

So a caller who is turned away, or whose answer an engine cannot make, hears why, even if every engine is broken.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

from turngap_agent.call.encoding import ReplyEncoder
from turngap_agent.profile import Profile
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
    APOLOGY = "apology"
    """An engine could not make the reply, or the rest of it."""
    NOT_UNDERSTOOD = "not_understood"
    """The caller spoke, and no words were recognised."""
    FAILING = "failing"
    """Too many turns in a row have failed: the call ends."""


Announcements = Mapping[str, tuple[bytes, ...]]
"""The audio of each as the payloads of messages, μ-law at 8 kHz."""


def choose_texts(profile: Profile) -> AnnouncementTexts:
    """Return the profile's texts; the language model's own apology goes before the general one."""
    texts = profile.announcements
    return texts.model_copy(update={"apology": profile.llm.apology}) if profile.llm.apology else texts


async def make_announcements(profile: Profile, tts: Synthesizer) -> Announcements:
    """Speak all texts.

    Raises:
        EngineError: the synthesiser failed.
    """
    texts = choose_texts(profile)
    return {kind: await _speak(getattr(texts, kind.value), tts) for kind in Announcement}


async def _speak(text: str, tts: Synthesizer) -> tuple[bytes, ...]:
    encoder = ReplyEncoder(tts.sample_rate)
    payloads: list[bytes] = []
    async for pcm in tts.speak(text):
        payloads += encoder.push(pcm)
    return (*payloads, *encoder.flush())
