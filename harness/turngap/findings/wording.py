"""What is said of each kind of finding: what was found, and the remedy."""

from __future__ import annotations

from turngap.caller.traffic import BURST_BYTES, BURST_MESSAGES
from turngap.model.finding import FindingKind
from turngap.model.plural import plural

_MULAW = "encode it as G.711 μ-law, 8 kHz, one byte a sample"

_TEXTS: dict[FindingKind, tuple[str, str]] = {
    FindingKind.LINEAR_PCM: (
        "16-bit linear PCM was sent as μ-law in {messages}: callers hear noise",
        f"{_MULAW}, before base64",
    ),
    FindingKind.LINEAR_PCM_SWAPPED: (
        "16-bit linear PCM, high byte first, was sent as μ-law in {messages}: callers hear noise",
        f"{_MULAW}, before base64",
    ),
    FindingKind.BYTE_SWAPPED: (
        "16-bit audio came with its bytes exchanged in {messages}: callers hear noise",
        "send the low byte first",
    ),
    FindingKind.LINEAR_8BIT: (
        "8-bit linear PCM was sent as μ-law in {messages}: callers hear noise",
        _MULAW,
    ),
    FindingKind.FLOAT_PCM: (
        "32-bit floating point was sent as μ-law in {messages}: callers hear noise",
        f"scale it to 16 bits, resample to 8 kHz, then {_MULAW}",
    ),
    FindingKind.ALAW: (
        "A-law was sent as μ-law in {messages}: callers hear distorted speech",
        "encode it as μ-law (PCMU), not A-law (PCMA)",
    ),
    FindingKind.FILE_HEADER: (
        "{messages} began with the header of a WAV file, heard as a click of up to {bytes_ms} ms and left out here",
        "send raw samples: cut off what is before the file's data",
    ),
    FindingKind.COMPRESSED: (
        "{messages} had compressed audio, such as MP3, Ogg, FLAC or WebM: callers hear noise",
        f"decode it first, then {_MULAW}",
    ),
    FindingKind.BASE64_TWICE: (
        "the payload of {messages} was base64 twice: callers hear noise",
        "encode the bytes of the audio once",
    ),
    FindingKind.DOUBLED_SAMPLES: (
        "each sample came twice in {messages}: speech at half its speed",
        "mix two channels to one, and send 8 kHz",
    ),
    FindingKind.SECOND_CHANNEL: (
        "every other sample was silence in {messages}: speech at half its speed, with a whistle",
        "send one channel, and 8 kHz",
    ),
    FindingKind.REPEATED: (
        "{messages} came twice, one after the other: callers hear a stutter at half the speed",
        "send each piece of audio once; look for two tasks that write to one socket",
    ),
    FindingKind.PADDED: (
        "{messages} had {value:.0f} ms of silence at an end, between pieces of speech: callers hear it chopped",
        "cut the whole reply into frames, not each piece of it; only the last frame may be filled up",
    ),
    FindingKind.ECHO: (
        "the caller's own voice came back in {calls}, {value:.0f} ms later: it passes for an answer",
        "send only what the agent says, never what it received",
    ),
    FindingKind.SLOW: (
        "speech was played too slowly in {calls}, with a pitch of {value:.0f} Hz: like 16 or 24 kHz sent as 8 kHz",
        "resample to 8 kHz before encoding",
    ),
    FindingKind.FAST: (
        "speech was played too fast in {calls}, with a pitch of {value:.0f} Hz: like audio below 8 kHz sent as 8 kHz",
        "resample to 8 kHz before encoding",
    ),
    FindingKind.CLIPPED: (
        "audio was clipped in {calls}, {value:.1%} of the loud samples at full scale",
        "lower the level before encoding",
    ),
    FindingKind.DC_OFFSET: (
        "audio was off zero by {value:.1%} of full scale in {calls}",
        "remove the constant part, and check whether samples are signed",
    ),
    FindingKind.WRONG_SILENCE: (
        "silence was sent as a constant of {value:.0f} dBFS, {places} in {calls}: callers hear clicks",
        "silence in μ-law is the byte FF; 00 is the loudest sample",
    ),
    FindingKind.BACKGROUND: (
        "the agent has a background of {value:.0f} dBFS in {calls}: replies begin and end where speech is over it",
        "none is needed; soft edges of speech are hidden in it",
    ),
    FindingKind.LOUD_BACKGROUND: (
        "the agent was audible all the time in {calls}, hardly fainter than its voice: when it answers is not known",
        "lower its background to 15 dB below its voice for the measurement",
    ),
    FindingKind.FAINT: (
        "all that was sent in {calls} was fainter than -45 dBFS, up to {value:.0f} dBFS: it counts as silence",
        "raise the level of the voice: -20 dBFS is usual",
    ),
    FindingKind.SILENT: (
        "{value:.0f} ms of audio were sent in {calls}, all of it silent",
        "look at what the synthesiser returns, and at its conversion to μ-law",
    ),
    FindingKind.NO_VOICE: (
        "a voice detector found no voice in {replies}: what counts as the answer may be a tone, music or noise",
        "listen to the recordings; the turn gap counts from the first sound, the time to substance from the words",
    ),
    FindingKind.LATE_VOICE: (
        "a voice detector heard the voice later than the sound that counts as the answer in {replies}, "
        "up to {value:.0f} ms",
        "listen to the recordings; the turn gap counts from the first sound, the time to substance from the words",
    ),
    FindingKind.SILENT_HEAD: (
        "{replies} had silence before the voice, up to {value:.0f} ms: the caller waits for it",
        "cut the silence at the start of what the synthesiser returns",
    ),
    FindingKind.STARVED: (
        "the caller's buffer ran dry inside {replies}, up to {value:.0f} ms in one",
        "send audio as soon as it is there, or hold the first piece back until the next is ready",
    ),
    FindingKind.DRIPPED: (
        "audio was sent more slowly than it is played in {replies}, up to {value:.0f} ms of holes in one",
        "pace by a clock, not by sleeping between messages, or send ahead",
    ),
    FindingKind.OVERFLOWED: (
        "{value:.0f} s of audio were lost in {calls}: {note}",
        "send a reply no faster than it can be played",
    ),
    FindingKind.CLOSED_EARLY: (
        "the agent closed the socket before its audio could play in {calls}, {value:.0f} ms unplayed",
        "send a mark after the last audio, and close once it has come back",
    ),
    FindingKind.NO_MARKS: (
        "the agent sent no mark in {calls}: whether a reply was complete, and heard, is not known",
        "send a mark after each reply; it comes back when the reply has been played",
    ),
    FindingKind.CLEARED_OWN: (
        "`clear` came {places} in {calls} while the caller was silent, and took back up to {value:.0f} ms of speech",
        "send `clear` only when the caller is heard; what it takes back is never played",
    ),
    FindingKind.NO_CLEAR: (
        "no `clear` came on {interruptions}: the old reply was audible for up to {value:.0f} ms more",
        "send `clear` as soon as the caller is heard",
    ),
    FindingKind.SENT_AFTER_CLEAR: (
        "old audio was sent after `clear` on {interruptions}: up to {value:.0f} ms of stale sound",
        "stop the reply's sender before sending `clear`, and discard what it still has",
    ),
    FindingKind.SPOKE_TWICE: (
        "the agent answered twice in {turns}",
        "cancel the first answer when a second one starts",
    ),
    FindingKind.BEEP: (
        "{replies} began with a tone of up to {value:.0f} ms, then silence: a tone is no content",
        "compare the time to substance, which counts from the words",
    ),
    FindingKind.HUGE_MESSAGE: (
        "{messages} had up to {value:.0f} s of audio, or as many bytes",
        "send pieces of 20 ms to some seconds: a `clear` can't take back what one message holds",
    ),
    FindingKind.FLOOD: (
        "up to {value:.0f} messages came in one second in {calls}; fifty are enough",
        "send 20 ms or more in a message, and one mark a reply",
    ),
    FindingKind.FLOODED: (
        f"the agent sent over {BURST_MESSAGES:,} messages or {BURST_BYTES // 2**20} MiB at once in {{calls}}, "
        "and the caller hung up",
        "send 20 ms or more in a message, one mark a reply, and each reply once",
    ),
}


def describe_finding(kind: FindingKind, count: int, calls: int, value: float, note: str = "") -> tuple[str, str]:
    """Return what was found, with its counts, and the remedy."""
    text, remedy = _TEXTS[kind]
    said = text.format(
        messages=plural(count, "message"),
        replies=plural(count, "reply", "replies"),
        interruptions=plural(count, "barge-in"),
        turns=plural(count, "turn"),
        places=f"{count} time{'s' if count > 1 else ''}",
        calls=plural(calls, "call"),
        bytes_ms=f"{value / 8:.0f}",
        note=note or "the caller's buffer was full",
        value=value,
    )
    return said, remedy
