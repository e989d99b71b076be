"""A call's record as few arrays: to pickle thousands of small objects would take an event loop milliseconds."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from turngap.model.records import CallRecord, Clip, Int64, Pcm16, Received, Spoken

_NO_AUDIO = np.empty(0, np.int16)


@dataclass(frozen=True, slots=True)
class PackedRecord:
    """A record whose messages are arrays, and whose clips are those that both sides have."""

    record: CallRecord
    """Without `received`, and with clips that have no audio."""
    recv_ns: Int64
    """Of each message, shape (m,), as the following."""
    play_ns: Int64
    samples: Int64
    played_samples: Int64
    pcm: Pcm16
    """The audio of all messages, shape (sum of `samples`,)."""


def pack_record(record: CallRecord) -> PackedRecord:
    """Return a record that is quick to pickle."""
    received = record.received
    return PackedRecord(
        replace(record, received=(), spoken=tuple(map(_strip_clip, record.spoken))),
        np.array([message.recv_ns for message in received], np.int64),
        np.array([message.play_ns for message in received], np.int64),
        np.array([len(message.pcm) for message in received], np.int64),
        np.array([message.played_samples for message in received], np.int64),
        np.concatenate([_NO_AUDIO, *(message.pcm for message in received)]),
    )


def unpack_record(packed: PackedRecord, clips: Mapping[str, Clip]) -> CallRecord:
    """Return the record again; `clips` are those that the call was placed with, by turn key."""
    ends = np.cumsum(packed.samples).tolist()
    rows = zip(
        packed.recv_ns.tolist(),
        packed.play_ns.tolist(),
        ends,
        packed.samples.tolist(),
        packed.played_samples.tolist(),
        strict=True,
    )
    received = tuple(
        Received(recv_ns, play_ns, packed.pcm[end - samples : end], played)
        for recv_ns, play_ns, end, samples, played in rows
    )
    spoken = tuple(replace(one, clip=clips[one.utterance_id]) for one in packed.record.spoken)
    return replace(packed.record, received=received, spoken=spoken)


def _strip_clip(spoken: Spoken) -> Spoken:
    return replace(spoken, clip=replace(spoken.clip, pcm=_NO_AUDIO, bed=None))
