"""What was wrong with the agent's audio or messages: kinds of findings, those of one call, and those of a run."""

from __future__ import annotations

from enum import StrEnum

from turngap_agent.documents import FrozenModel


class FindingKind(StrEnum):
    """A kind of finding. The texts and remedies are in `turngap.findings.wording`."""

    LINEAR_PCM = "linear_pcm"
    """16-bit linear PCM, low byte first, sent as μ-law."""
    LINEAR_PCM_SWAPPED = "linear_pcm_swapped"
    """The same, high byte first."""
    BYTE_SWAPPED = "byte_swapped"
    """16-bit audio on a line that carries it, with its bytes in the wrong order."""
    LINEAR_8BIT = "linear_8bit"
    """8-bit linear PCM, signed or not, sent as μ-law."""
    FLOAT_PCM = "float_pcm"
    """32-bit floating point sent as μ-law."""
    ALAW = "alaw"
    FILE_HEADER = "file_header"
    """The header of a WAV file in a message's payload."""
    COMPRESSED = "compressed"
    """A payload that begins like an Ogg, FLAC, MP3 or WebM file, or whose bytes are as random as theirs."""
    BASE64_TWICE = "base64_twice"
    DOUBLED_SAMPLES = "doubled_samples"
    """Each sample twice: two channels, or a rate raised by repetition."""
    SECOND_CHANNEL = "second_channel"
    """Every other sample is silence: a second channel."""
    REPEATED = "repeated"
    """Each message twice."""
    PADDED = "padded"
    """Short messages that are each filled up with silence."""
    ECHO = "echo"
    """The caller's own voice."""
    SLOW = "slow"
    """Speech at half its speed or less: 16 or 24 kHz sent as 8 kHz."""
    FAST = "fast"
    CLIPPED = "clipped"
    DC_OFFSET = "dc_offset"
    WRONG_SILENCE = "wrong_silence"
    """Silence sent as a byte that is none in μ-law."""
    BACKGROUND = "background"
    LOUD_BACKGROUND = "loud_background"
    """The agent is audible all the time, hardly fainter than its voice."""
    FAINT = "faint"
    """Sound that is too faint to be an answer."""
    SILENT = "silent"
    """Audio without any sound."""
    NO_VOICE = "no_voice"
    """A reply in which a voice detector finds no voice."""
    LATE_VOICE = "late_voice"
    """A reply in which a voice detector finds a voice later than the sound that counts as the answer."""
    SILENT_HEAD = "silent_head"
    STARVED = "starved"
    DRIPPED = "dripped"
    """Audio sent more slowly than it is played."""
    OVERFLOWED = "overflowed"
    """More audio than the caller's buffer holds."""
    CLOSED_EARLY = "closed_early"
    NO_MARKS = "no_marks"
    CLEARED_OWN = "cleared_own"
    """`clear` while the caller was silent: the agent threw away its own reply."""
    NO_CLEAR = "no_clear"
    SENT_AFTER_CLEAR = "sent_after_clear"
    SPOKE_TWICE = "spoke_twice"
    BEEP = "beep"
    """A tone, then silence, then other sound."""
    HUGE_MESSAGE = "huge_message"
    FLOOD = "flood"
    FLOODED = "flooded"
    """So much came that the caller hung up."""


SPOILS_SOUND = frozenset(
    {
        FindingKind.LINEAR_PCM,
        FindingKind.LINEAR_PCM_SWAPPED,
        FindingKind.BYTE_SWAPPED,
        FindingKind.LINEAR_8BIT,
        FindingKind.FLOAT_PCM,
        FindingKind.ALAW,
        FindingKind.COMPRESSED,
        FindingKind.BASE64_TWICE,
        FindingKind.DOUBLED_SAMPLES,
        FindingKind.SECOND_CHANNEL,
        FindingKind.REPEATED,
        FindingKind.ECHO,
        FindingKind.SLOW,
        FindingKind.FAST,
        FindingKind.WRONG_SILENCE,
        FindingKind.LOUD_BACKGROUND,
    }
)
"""With one of these a caller hears no answer, or it is not known when one began: no budget is passed with it."""


class Finding(FrozenModel):
    """A finding in one call."""

    kind: FindingKind
    count: int
    """How often: messages, replies or places, by the kind."""
    value: float = 0.0
    """The worst of them: ms, dBFS, Hz or a share, by the kind."""
    note: str = ""
    """What its text needs beside the value, such as the limit that was exceeded."""


class RunFinding(FrozenModel):
    """One kind of finding in a run."""

    kind: FindingKind
    count: int
    calls: int
    """The calls in which it was found."""
    value: float
    text: str
    """What was found, with its counts."""
    remedy: str
