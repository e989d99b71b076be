"""How an agent reacted to a caller who spoke over it: when it yielded, what followed, how its sentence continued. Pure.

The agent *yields* when its sound ends for at least 200 ms, or at a `clear`, whichever is first after the caller began.
Sound of the old reply after that is stale. Which sound is a new answer is known from the agent's spans if
they are complete; otherwise from the time at which it was received.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from turngap.caller import onset, playout
from turngap.caller.onset import AudibleFrames, Segment
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE, to_ms
from turngap.model.records import CallRecord, Pcm16, Received, Spoken
from turngap.scenario import Expectation
from turngap.scoring import attempts
from turngap.scoring.attempts import CallSpans
from turngap.scoring.continuation import count_audible_samples, find_lost_and_repeated
from turngap.scoring.milestones import BEFORE_T0_NS, Milestones, find_message_playing, find_sound_end_ns

REACTION_NS = 300 * NS_PER_MS
"""A pause that starts within this time after a backchannel is attributed to it; a later one is not."""


@dataclass(frozen=True, slots=True)
class SentenceOutcome:
    """How the agent's sentence continued after a backchannel."""

    resumed_ns: int | None
    """When it was audible again; None if it was not, or never paused."""
    paused: bool
    """The agent was silent for 200 ms or longer, or cleared the caller's buffer."""
    ended_by_itself: bool
    """Nothing followed, and the sentence was complete."""
    lost_ns: int
    """Audible sound that was cut and never played."""
    repeated_ns: int
    """Audible sound that was played twice."""


@dataclass(frozen=True, slots=True)
class Overlap:
    """A turn's overlap with the agent; times in ms, None for turns without it."""

    over_agent: bool
    """The caller was to speak over the agent, and did."""
    window_ns: tuple[int, int]
    """Where the instrument's own lateness counts."""
    stop_ms: float | None = None
    stale_ms: float | None = None
    talk_over_ms: float | None = None
    went_on_ms: float | None = None
    lost_ms: float | None = None
    repeated_ms: float | None = None
    sentence_gone: bool = False
    """The agent's sentence did not continue after a backchannel, although it had not ended."""
    answered: bool = False
    """The agent started a reply to what it should have ignored."""


def measure_overlap(
    record: CallRecord,
    call: CallSpans,
    expectation: Expectation,
    spoken: Spoken,
    moments: Milestones,
    until_ns: int,
) -> Overlap:
    """Return how the agent reacted to that utterance; `until_ns` is the start of the next one, or the call's end."""
    segments = playout.played_segments(record.received)
    audible = onset.audible_frames(segments, audible_dbfs=record.audible_dbfs)
    speech_ns = moments.speech_ns
    from_ns, to_ns = moments.window_ns

    talk_over_ms = to_ms(talk_over_ns(record, audible, spoken, moments)) if expectation.needs_answer else None
    over = expectation.speaks_over_agent and spoken.over_agent
    window_ns = (min(from_ns, speech_ns - BEFORE_T0_NS), to_ns) if over else (from_ns, to_ns)
    if expectation is Expectation.STOP and over:
        yielded = find_yield_ns(record, audible, speech_ns)
        answer_ns = until_ns if moments.onset_ns is None else _find_answer_frame_ns(audible, moments.onset_ns)
        return Overlap(
            True,
            (window_ns[0], max(to_ns, yielded)),
            stop_ms=to_ms(yielded - speech_ns),
            stale_ms=to_ms(audible_between_ns(audible, yielded, answer_ns)),
            talk_over_ms=talk_over_ms,
        )
    if expectation is not Expectation.IGNORE:
        return Overlap(over, window_ns, talk_over_ms=talk_over_ms)
    answered_ns = attempts.first_answer_sent_ns(call, speech_ns)
    answered = answered_ns is not None and answered_ns < until_ns
    if not over:
        return Overlap(False, window_ns, answered=answered)
    end_ns = min(until_ns, answered_ns) if answered_ns is not None else until_ns
    sentence = measure_sentence(
        record, segments, audible, moments, end_ns, given_up=attempts.was_reply_interrupted(call, speech_ns)
    )
    abandoned = sentence.paused and sentence.resumed_ns is None and not sentence.ended_by_itself
    resumed_ms = 0.0 if sentence.resumed_ns is None else max(0.0, to_ms(sentence.resumed_ns - moments.t0_ns))
    return Overlap(
        True,
        (window_ns[0], max(moments.t0_ns, sentence.resumed_ns or moments.t0_ns)),
        went_on_ms=None if abandoned else resumed_ms,
        lost_ms=to_ms(sentence.lost_ns),
        repeated_ms=to_ms(sentence.repeated_ns),
        sentence_gone=abandoned,
        answered=answered,
    )


def find_yield_ns(record: CallRecord, audible: AudibleFrames, speech_ns: int) -> int:
    """Return when the agent's last sound before it yielded ended; `speech_ns` if it was silent from then on."""
    return find_sound_end_ns(record, audible, speech_ns, from_ns=speech_ns, silent_ns=speech_ns)


def audible_between_ns(audible: AudibleFrames, from_ns: int, to_ns: int) -> int:
    """Return how long the agent was audible in that time."""
    ends_ns = np.minimum(audible.start_ns + audible.samples * NS_PER_SAMPLE, to_ns)
    return int(np.maximum(0, ends_ns - np.maximum(audible.start_ns, from_ns)).sum())


def _find_answer_frame_ns(audible: AudibleFrames, onset_ns: int) -> int:
    """Return the start of the audible frame that contains the onset: what it holds is the answer's sound."""
    frame = int(np.searchsorted(audible.start_ns, onset_ns, side="right")) - 1
    contains = frame >= 0 and onset_ns < audible.start_ns[frame] + onset.LEVEL_FRAME_NS
    return int(audible.start_ns[frame]) if contains else onset_ns


def talk_over_ns(record: CallRecord, audible: AudibleFrames, spoken: Spoken, moments: Milestones) -> int:
    """Return how long caller and agent were audible at once, without the utterance's own pauses."""
    edges = [moments.speech_ns]
    for first, beyond in spoken.clip.pauses:
        edges += [record.sample_ns(spoken.start_sample + first), record.sample_ns(spoken.start_sample + beyond)]
    edges.append(moments.t0_ns)
    pairs = zip(edges[::2], edges[1::2], strict=True)
    return sum(audible_between_ns(audible, from_ns, to_ns) for from_ns, to_ns in pairs)


def measure_sentence(
    record: CallRecord,
    segments: Sequence[Segment],
    audible: AudibleFrames,
    moments: Milestones,
    until_ns: int,
    *,
    given_up: bool | None,
) -> SentenceOutcome:
    """Return what happened to the sentence that the caller spoke a backchannel over.

    Args:
        record: The call.
        segments: What was played, in pieces without a hole.
        audible: Its audible frames.
        moments: The milestones of the backchannel.
        until_ns: When the next utterance or a new reply begins, or the call's end.
        given_up: Whether the agent reported that it gave up the sentence; None if it reported nothing.
    """
    speech_ns = moments.speech_ns
    yielded = find_yield_ns(record, audible, speech_ns)
    clears_ns = [at_ns for at_ns in record.clears_ns if speech_ns <= at_ns < until_ns]
    if not clears_ns and yielded >= moments.t0_ns + REACTION_NS:
        return SentenceOutcome(None, paused=False, ended_by_itself=False, lost_ns=0, repeated_ns=0)
    cut = _cut_audio(record, speech_ns, clears_ns)
    resumed_ns = onset.find_onset(segments, yielded, record.audible_dbfs)
    message = (
        None if resumed_ns is None or resumed_ns >= until_ns else find_message_playing(record.received, resumed_ns)
    )
    if resumed_ns is None or message is None:
        last_ns = max(
            (received.recv_ns for received in record.received if received.recv_ns < until_ns), default=speech_ns
        )
        marked = any(last_ns <= mark.recv_ns for mark in record.marks)
        whole = marked if given_up is None else not given_up
        lost_ns = count_audible_samples(cut, record.audible_dbfs) * NS_PER_SAMPLE
        return SentenceOutcome(None, paused=True, ended_by_itself=whole and not lost_ns, lost_ns=lost_ns, repeated_ns=0)
    if message.recv_ns < yielded:  # it was in the caller's buffer all the time: a silence between clauses
        return SentenceOutcome(resumed_ns, paused=True, ended_by_itself=False, lost_ns=0, repeated_ns=0)
    from_ns = _sentence_from_ns(record, speech_ns)
    before = _played_audio(received for received in record.received if from_ns <= received.recv_ns < message.recv_ns)
    fit = find_lost_and_repeated(
        before,
        cut,
        _played_audio(received for received in record.received if received.recv_ns >= message.recv_ns),
        record.audible_dbfs,
    )
    return SentenceOutcome(
        resumed_ns,
        paused=True,
        ended_by_itself=False,
        lost_ns=fit.lost_samples * NS_PER_SAMPLE,
        repeated_ns=fit.repeated_samples * NS_PER_SAMPLE,
    )


def _sentence_from_ns(record: CallRecord, speech_ns: int) -> int:
    """Return when the last utterance ended that the sentence can answer: what came before may be said again."""
    answered = (utterance for utterance in record.spoken if utterance.expectation is not Expectation.IGNORE)
    return max(
        (at_ns for utterance in answered if (at_ns := record.sample_ns(utterance.end_sample)) <= speech_ns), default=0
    )


def _cut_audio(record: CallRecord, speech_ns: int, clears_ns: Sequence[int]) -> Pcm16:
    """Return the audio that the first of these clears removed."""
    if not clears_ns:
        return _concatenate([])
    after_ns = max((at_ns for at_ns in record.clears_ns if at_ns < speech_ns), default=0)
    return _concatenate(
        [
            message.pcm[message.played_samples :]
            for message in record.received
            if after_ns <= message.recv_ns < clears_ns[0]
        ]
    )


def _played_audio(messages: Iterable[Received]) -> Pcm16:
    return _concatenate([message.pcm[: message.played_samples] for message in messages])


def _concatenate(pieces: Sequence[Pcm16]) -> Pcm16:
    return np.concatenate([np.empty(0, np.int16), *pieces])
