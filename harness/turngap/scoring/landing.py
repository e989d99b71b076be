"""How an agent landed that had begun to speak before the caller had finished: it may give way before a word is lost.

The caller goes on to the end of the utterance. From the audio come how much of the agent was heard, how soon it fell
silent once the caller went on, and when the answer to the whole came; whether words were lost only spans can say. Pure.
"""

from __future__ import annotations

from turngap_agent import tracing

from turngap.caller import onset, playout
from turngap.caller.onset import LEVEL_FRAME_NS
from turngap.clock import to_ms
from turngap.model.landing import Landing
from turngap.model.records import CallRecord, Spoken
from turngap.scoring import attempts, wer
from turngap.scoring.attempts import CallSpans
from turngap.scoring.milestones import Milestones, find_message_playing, find_sound_end_ns
from turngap.scoring.overlap import audible_between_ns

SOFT_MS = 500.0
"""An agent that is audible for longer beside a caller who goes on did not land softly: a person would stop."""


def measure_landing(
    record: CallRecord, call: CallSpans, spoken: Spoken, moments: Milestones, until_ns: int, reference: str | None
) -> Landing | None:
    """Return how the agent landed in a turn that it cut off; None if it did not.

    Args:
        record: The call.
        call: Its spans.
        spoken: The utterance.
        moments: Its milestones.
        until_ns: When the caller spoke again, or the end of the call.
        reference: The utterance's words; None if they are not known.
    """
    if moments.onset_ns is None or moments.onset_ns >= moments.t0_ns:
        return None
    segments = playout.played_segments(record.received)
    audible = onset.audible_frames(segments)
    speech = _stretches_of_speech(record, spoken, moments)
    starts = heard_ns = gave_way_ns = 0
    onset_ns: int | None = moments.onset_ns
    while onset_ns is not None and onset_ns < moments.t0_ns:
        next_sound_ns = next((max(onset_ns, from_ns) for from_ns, to_ns in speech if onset_ns < to_ns), moments.t0_ns)
        end_ns = find_sound_end_ns(record, audible, next_sound_ns, onset_ns - LEVEL_FRAME_NS + 1, onset_ns)
        starts += 1
        heard_ns += audible_between_ns(audible, onset_ns, end_ns)
        gave_way_ns = max(gave_way_ns, end_ns - next_sound_ns)
        onset_ns = onset.find_onset(segments, max(end_ns, onset_ns + LEVEL_FRAME_NS))
    answer_ns = None if onset_ns is None or onset_ns >= min(until_ns, moments.until_ns) else onset_ns
    lost, lost_by_answer = _count_lost_words(record, call, moments, answer_ns, until_ns, reference)
    gave_way_ms = to_ms(gave_way_ns)
    answered_whole = False if answer_ns is None else None if lost_by_answer is None else lost_by_answer == 0
    in_time = gave_way_ms <= SOFT_MS and answer_ns is not None
    return Landing(
        starts=starts,
        heard_ms=to_ms(heard_ns),
        gave_way_ms=gave_way_ms,
        gap_ms=None if answer_ns is None else to_ms(answer_ns - moments.t0_ns),
        lost_words=lost,
        answered_whole=answered_whole,
        soft=False if not in_time else None if lost is None else lost == 0 and bool(answered_whole),
    )


def _stretches_of_speech(record: CallRecord, spoken: Spoken, moments: Milestones) -> list[tuple[int, int]]:
    """Return when the caller spoke, between the utterance's pauses."""
    edges = [moments.speech_ns]
    for first, beyond in spoken.clip.pauses:
        edges += [record.sample_ns(spoken.start_sample + first), record.sample_ns(spoken.start_sample + beyond)]
    edges.append(moments.t0_ns)
    return list(zip(edges[::2], edges[1::2], strict=True))


def _count_lost_words(
    record: CallRecord,
    call: CallSpans,
    moments: Milestones,
    answer_ns: int | None,
    until_ns: int,
    reference: str | None,
) -> tuple[int | None, int | None]:
    """Return how many words of the utterance no heard attempt's transcript has, and how many that of the answer lacks.

    An agent that takes the rest of the utterance for a new turn has the words in two transcripts, and answers the
    second alone. None where transcripts or spans are missing.
    """
    message = None if answer_ns is None else find_message_playing(record.received, answer_ns)
    heard_until_ns = until_ns if message is None else message.recv_ns
    heard = (
        sorted(
            (at_ns, span)
            for span in call.turns
            if (at_ns := attempts.first_sent_ns(span)) is not None and moments.speech_ns <= at_ns <= heard_until_ns
        )
        if call.whole
        else []
    )
    if reference is None or not heard:
        return None, None
    last_of_turn = {span.turn: span for _, span in heard}
    transcripts = [attempts.text_attribute(span, tracing.TRANSCRIPT) for span in last_of_turn.values()]
    known = [words for words in transcripts if words is not None]
    if len(known) < len(transcripts):
        return None, None
    return _lost(reference, " ".join(known)), _lost(reference, known[-1])


def _lost(reference: str, transcript: str) -> int | None:
    words = wer.word_errors(reference, transcript)
    return None if words is None else max(words.missing, words.missing_last_word is not None)
