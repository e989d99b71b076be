"""What of the agent's audio counts as sound: file headers do not, nor does its background. Pure."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from turngap_agent.telephony import mulaw

from turngap.caller.background import find_background, measure_levels
from turngap.caller.playout import played_segments
from turngap.clock import NS_PER_MS
from turngap.model.records import CallRecord, Pcm16, Spoken

NOTICE_NS = 300 * NS_PER_MS
"""An agent that is spoken over goes on for so long at least: that is no quiet time."""
_RIFF, _WAVE, _DATA = b"RIFF", b"WAVE", b"data"
_LONGEST_HEADER = 512


def select_speech(record: CallRecord) -> CallRecord:
    """Return the record with the level over which the agent's sound is speech, and without file headers in its audio.

    The record of an agent that sends neither headers nor an audible background is returned as it is.
    """
    if any(find_header_bytes(message.pcm) for message in record.received):
        received = (replace(message, pcm=_without_header(message.pcm)) for message in record.received)
        record = replace(record, received=tuple(received))
    background = find_background(measure_levels(played_segments(record.received)), list_quiet_times(record))
    if background is None:
        return record
    return replace(record, audible_dbfs=background.audible_dbfs, background_dbfs=background.level_dbfs)


def list_quiet_times(record: CallRecord) -> list[tuple[int, int]]:
    """Return when the agent has nothing to say, (from_ns, to_ns) each: before the first utterance, and during each."""
    if not record.spoken:
        return []
    first_ns = _speech_ns(record, record.spoken[0])
    during = [(_speech_ns(record, spoken) + NOTICE_NS, record.sample_ns(spoken.end_sample)) for spoken in record.spoken]
    return [(from_ns, to_ns) for from_ns, to_ns in [(record.started_ns, first_ns), *during] if to_ns > from_ns]


def find_header_bytes(pcm: Pcm16) -> int:
    """Return how many bytes of a WAV file's header a message starts with; 0 if it is none.

    Each byte of a message was decoded as a sample of μ-law; encoding gives the bytes back.
    """
    if len(pcm) < len(_RIFF) or mulaw.encode(pcm[:4]) != _RIFF:
        return 0
    head = mulaw.encode(pcm[:_LONGEST_HEADER])
    if head[8:12] != _WAVE:
        return 0
    data = head.find(_DATA)
    return min(len(pcm), data + 8 if data >= 0 else 44)


def _without_header(pcm: Pcm16) -> Pcm16:
    header = find_header_bytes(pcm)
    return pcm if not header else np.concatenate([np.zeros(header, np.int16), pcm[header:]])


def _speech_ns(record: CallRecord, spoken: Spoken) -> int:
    return record.sample_ns(spoken.start_sample + spoken.clip.speech_start_sample)
