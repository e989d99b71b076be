"""The milestones of a turn, from audio alone: t0, its frame, the first byte, t1, and how the reply was played.

t0 is the end of the utterance's last sample of speech, at the sample's own time. The agent's *onset* is its first
audible sample (`onset.py`) after an utterance has started, without its earlier talk: an onset before t0
is a cut-off, one at or after t0 is t1.

Earlier talk, heard while the caller speaks, is neither an answer to the utterance nor a cut-off. It is
1. what was received before the utterance started, and up to 300 ms into it (never after t0): no agent notices at once
   that the caller speaks;
2. what continues from there without a pause: no `clear` before it, and less than 200 ms without audible sound. A tail
   that barge-in is still clearing ends with the `clear` or the pause. An agent that speaks over the whole utterance,
   and past t0 without a pause, has not answered it.

A reply lasts from t1 to its last audible sample before the answer to the next utterance, or the end of the call.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from turngap_agent.telephony import FRAME_SAMPLES

from turngap.caller import onset, playout
from turngap.caller.onset import AudibleFrames, Segment
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE
from turngap.model.records import CallEnd, CallRecord, Received, Spoken

NOTICE_NS = 300 * NS_PER_MS
"""What is received within this time after the utterance's start is earlier talk."""
PAUSE_NS = 200 * NS_PER_MS
"""Silence that ends earlier talk; longer silences inside a reply are counted."""
STALL_NS = 100 * NS_PER_MS
"""A longer underrun at the end of a probe call is a stall, if the reply had not ended."""
WHOLE_REPLY_NS = 300 * NS_PER_MS
"""For an agent without marks, a reply with this much sound counts as complete."""
BEFORE_T0_NS = 500 * NS_PER_MS
"""The instrument's own lateness counts from this time before t0."""

_NONE: Mapping[int, int] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Hole:
    """A time without audio to play (an underrun)."""

    start_ns: int
    end_ns: int


@dataclass(frozen=True, slots=True)
class Reply:
    """A reply as it was played."""

    start_ns: int
    """t1."""
    end_ns: int
    """The end of its last audible 10 ms frame."""
    underruns: tuple[Hole, ...]
    """Holes between its first and last audible sample."""
    silence_ns: int
    """Time without audible sound before the caller spoke again, in pieces over 200 ms."""
    longest_silence_ns: int
    """The longest such piece, of any length."""


@dataclass(frozen=True, slots=True)
class Milestones:
    """The milestones of one utterance; ns on the host's monotonic clock."""

    speech_ns: int
    """The utterance's first sample of speech."""
    t0_ns: int
    frame: int
    """The number of the frame that contains t0, from 0."""
    frame_due_ns: int
    frame_sent_ns: int | None
    """None: the call ended before it."""
    until_ns: int
    """When the caller stopped waiting for the answer, or the end of the call if that was earlier."""
    onset_ns: int | None
    onset_message: Received | None
    """The message that contains the onset."""
    first_recv_ns: int | None
    """When the first media message after t0 was received that is not earlier talk, silent or not."""
    reply: Reply | None
    """None if there is no t1."""
    talked_through: bool
    """The agent's earlier talk lasted until the utterance ended, or until less than 200 ms before that."""

    @property
    def t1_ns(self) -> int | None:
        """The reply's first audible sample; None without an answer in time, and if the agent cut the caller off."""
        return self.onset_ns if self.onset_ns is not None and self.onset_ns >= self.t0_ns else None

    @property
    def cut_off_ns(self) -> int | None:
        """How long before t0 the agent was audible; None if it waited."""
        return self.t0_ns - self.onset_ns if self.onset_ns is not None and self.onset_ns < self.t0_ns else None

    @property
    def window_ns(self) -> tuple[int, int]:
        """The window in which the instrument's own lateness counts: from 500 ms before t0 to t1.

        For a cut-off, from 500 ms before the onset to t0; without an answer, until the caller stopped waiting.
        """
        if self.onset_ns is None:
            return self.t0_ns - BEFORE_T0_NS, max(self.t0_ns, self.until_ns)
        return min(self.t0_ns, self.onset_ns) - BEFORE_T0_NS, max(self.t0_ns, self.onset_ns)


def find_milestones(record: CallRecord, answered_from_ns: Mapping[int, int] = _NONE) -> tuple[Milestones, ...]:
    """Return the milestones of every utterance that was started, in order.

    `answered_from_ns`, by position of the utterance: sound received before that time is no answer to it.
    """
    return tuple(iter_milestones(record, answered_from_ns))


def iter_milestones(record: CallRecord, answered_from_ns: Mapping[int, int] = _NONE) -> Iterator[Milestones]:
    """Yield the milestones one by one, so that an event loop can run between two of a long call."""
    segments = playout.played_segments(record.received)
    audible = onset.audible_frames(segments, audible_dbfs=record.audible_dbfs)
    talk_ns = [_own_talk_from_ns(record, audible, spoken) for spoken in record.spoken]
    ends_ns = [*talk_ns, record.ended_ns][1:]
    speech_ns = [_speech_ns(record, spoken) for spoken in record.spoken]
    for index, from_ns in answered_from_ns.items():
        plays = (message.play_ns for message in record.received if message.recv_ns >= from_ns)
        talk_ns[index] = max(talk_ns[index], next(plays, record.ended_ns))
    nexts_ns = [*speech_ns, record.ended_ns][1:]
    for spoken, begins_ns, until_ns, next_ns in zip(record.spoken, talk_ns, ends_ns, nexts_ns, strict=True):
        yield _find_utterance_milestones(record, segments, spoken, begins_ns, until_ns, next_ns)


def find_sound_end_ns(record: CallRecord, audible: AudibleFrames, speech_ns: int, from_ns: int, silent_ns: int) -> int:
    """Return when the agent's sound from `from_ns` on ends for 200 ms, or at a `clear` after the caller started.

    Args:
        record: The call.
        audible: The audible frames of what was played.
        speech_ns: When the caller started to speak.
        from_ns: Frames from then on are followed; it is returned if no sound continues.
        silent_ns: When the silence at `from_ns` started; `from_ns` itself if there is sound.
    """
    cleared_ns = min((at_ns for at_ns in record.clears_ns if at_ns >= speech_ns), default=None)
    first = int(np.searchsorted(audible.start_ns, from_ns))
    starts_ns = audible.start_ns[first:]
    ends_ns = starts_ns + audible.samples[first:] * NS_PER_SAMPLE
    until_ns = from_ns
    for start_ns, end_ns in zip(starts_ns.tolist(), ends_ns.tolist(), strict=True):
        message = find_message_playing(record.received, start_ns) if cleared_ns is not None else None
        after_clear = cleared_ns is not None and message is not None and message.recv_ns >= cleared_ns
        if start_ns - silent_ns >= PAUSE_NS or after_clear:
            break
        silent_ns = until_ns = end_ns
    return until_ns


def find_final_stall(record: CallRecord, reply: Reply) -> Hole | None:
    """Return the underrun in which a probe call was hung up, if its last reply had stalled; None if it may be complete.

    A probe ends half a second after its answer starts, so a reply that stalls there never continues and has no hole
    *inside*. It stalled if playout was dry for more than 100 ms when the caller hung up, and neither a mark nor a
    `clear` had come after the last audio: an agent that marks the ends of its replies had not ended this one. One
    that sent no mark in the whole call may never send any (or only at the end of this reply, which is not known): its
    reply is taken for whole from 300 ms of sound on, as hardly an answer is shorter.
    """
    audio = [message for message in record.received if message.played_samples]
    if record.end is not CallEnd.COMPLETED or not audio:
        return None
    hole = Hole(max(map(_end_ns, audio)), record.ended_ns)
    last_ns = audio[-1].recv_ns
    ended = any(at_ns >= last_ns for at_ns in (*(mark.recv_ns for mark in record.marks), *record.clears_ns))
    unmarked = not record.marks and reply.end_ns - reply.start_ns >= WHOLE_REPLY_NS
    return None if ended or unmarked or hole.end_ns - hole.start_ns <= STALL_NS else hole


def _find_utterance_milestones(
    record: CallRecord, segments: Sequence[Segment], spoken: Spoken, begins_ns: int, ends_ns: int, next_ns: int
) -> Milestones:
    t0_ns = record.sample_ns(spoken.end_sample)
    frame = max(0, spoken.end_sample - 1) // FRAME_SAMPLES
    until_ns = min(spoken.reply_deadline_ns, record.ended_ns)
    onset_ns = onset.find_onset(segments, begins_ns, record.audible_dbfs)
    if onset_ns is not None and onset_ns >= min(ends_ns, until_ns):
        onset_ns = None
    after_t0 = (message.recv_ns for message in record.received if len(message.pcm) and message.play_ns >= begins_ns)
    return Milestones(
        speech_ns=_speech_ns(record, spoken),
        t0_ns=t0_ns,
        frame=frame,
        frame_due_ns=record.frame_due_ns(frame),
        frame_sent_ns=int(record.sent_ns[frame]) if frame < len(record.sent_ns) else None,
        until_ns=until_ns,
        onset_ns=onset_ns,
        onset_message=None if onset_ns is None else find_message_playing(record.received, onset_ns),
        first_recv_ns=next((recv_ns for recv_ns in after_t0 if t0_ns <= recv_ns < ends_ns), None),
        reply=_measure_reply(segments, onset_ns, ends_ns, next_ns, record.audible_dbfs)
        if onset_ns is not None and onset_ns >= t0_ns
        else None,
        talked_through=begins_ns > max(_speech_ns(record, spoken) + NOTICE_NS, t0_ns - PAUSE_NS),
    )


def _speech_ns(record: CallRecord, spoken: Spoken) -> int:
    return record.sample_ns(spoken.start_sample + spoken.clip.speech_start_sample)


def _own_talk_from_ns(record: CallRecord, audible: AudibleFrames, spoken: Spoken) -> int:
    """Return from when on played audio is no longer earlier talk."""
    speech_ns = _speech_ns(record, spoken)
    noticed_ns = min(speech_ns + NOTICE_NS, record.sample_ns(spoken.end_sample))
    earlier = (message for message in record.received if message.recv_ns < noticed_ns and message.played_samples)
    from_ns = max([speech_ns, *(_end_ns(message) for message in earlier)])
    later = int(np.searchsorted(audible.start_ns, from_ns))
    if later == 0:
        return from_ns
    silent_ns = int(audible.start_ns[later - 1] + audible.samples[later - 1] * NS_PER_SAMPLE)
    return find_sound_end_ns(record, audible, speech_ns, from_ns, silent_ns)


def _measure_reply(segments: Sequence[Segment], t1_ns: int, before_ns: int, next_ns: int, audible_dbfs: float) -> Reply:
    """Return the reply from `t1_ns` to its last sound before `before_ns`; from `next_ns` on, when the caller
    speaks again, silence is not counted.
    """
    # t1 lies inside an audible frame, or in the inaudible one before it: frames that end after it count.
    frames = onset.audible_frames(segments, t1_ns - onset.LEVEL_FRAME_NS + 1, audible_dbfs)
    is_heard = frames.start_ns < before_ns
    starts_ns = frames.start_ns[is_heard]
    ends_ns = starts_ns + frames.samples[is_heard] * NS_PER_SAMPLE
    end_ns = int(ends_ns[-1])
    holes = (Hole(segment.end_ns, next_.start_ns) for segment, next_ in itertools.pairwise(segments))
    silences_ns = (np.minimum(starts_ns[1:], next_ns) - ends_ns[:-1])[ends_ns[:-1] < next_ns]
    return Reply(
        start_ns=t1_ns,
        end_ns=end_ns,
        underruns=tuple(hole for hole in holes if t1_ns < hole.start_ns < next_ns and hole.end_ns < end_ns),
        silence_ns=int(silences_ns[silences_ns > PAUSE_NS].sum()),
        longest_silence_ns=int(silences_ns.max(initial=0)),
    )


def find_message_playing(received: Sequence[Received], at_ns: int) -> Received | None:
    """Return the message whose audio is played at that time."""
    return next((message for message in received if message.play_ns <= at_ns < _end_ns(message)), None)


def _end_ns(message: Received) -> int:
    return message.play_ns + message.played_samples * NS_PER_SAMPLE
