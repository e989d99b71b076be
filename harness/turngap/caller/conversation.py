"""When the caller speaks, waits and hangs up: the turn logic of one call, decided frame by frame.

An utterance starts `pause_ms` after the stream's start or after the end of the agent's reply, and never while the agent
is audible or was audible in the last 600 ms. A reply has ended when nothing audible was played for 600 ms and nothing
is buffered; an agent that marks the ends of its replies is given up to 3 s for the mark, since a gap between clauses is
not an end. A probe call is hung up half a second after its last answer starts, or once it has heard content.

Sound is not yet an answer. A caller that waits for content (`ContentWatch`) goes on listening after an opening
such as "um": it neither speaks nor hangs up before content was heard, or before the answer's deadline.

A turn that speaks over the agent starts once the current reply has been audible for `over_agent_ms`. The turn's
expectation determines what the caller waits for: an answer (respond, stop); the end of the turn's time and of the reply
that was spoken over (ignore); or the end of the turn's time (wait).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np
from turngap_agent.telephony import FRAME_NS, FRAME_SAMPLES

from turngap.caller.content_watch import ContentWatch
from turngap.caller.playout import Playout
from turngap.caller.reply_tracker import ReplyTracker
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE
from turngap.model.records import Clip, Pcm16, Spoken
from turngap.scenario import QUIET_MS, Expectation, Turn

MARK_PATIENCE_NS = 3_000 * NS_PER_MS
PROBE_NS = 500 * NS_PER_MS
PATIENCE_NS = 30_000 * NS_PER_MS
"""The caller speaks into a reply that is longer."""
NOTICE_NS = 300 * NS_PER_MS
"""An agent that is spoken over goes on for so long at least."""


class Conversation:
    """One call's turns. Call `decide` before each frame; `mix_voice` puts the utterances into the line's audio."""

    def __init__(
        self,
        turns: Sequence[Turn],
        clips: Mapping[str, Clip],
        playout: Playout,
        *,
        probe: bool,
        started_ns: int,
        rng: random.Random,
        on_grid: bool = False,
        quiet_ms: int = QUIET_MS,
        content: ContentWatch | None = None,
    ) -> None:
        """`quiet_ms` is the silence of the agent after which its reply is over; `content`: what to wait for."""
        self._turns = turns
        self._clips = clips
        self._playout = playout
        self._probe = probe
        self._started_ns = started_ns
        self._rng = rng
        self._on_grid = on_grid
        self._quiet_ns = quiet_ms * NS_PER_MS
        self._spoken: list[Spoken] = []
        self._is_listening = False
        self._pause_from_ns = started_ns
        self._patience_ns = started_ns + turns[0].pause_ms * NS_PER_MS + PATIENCE_NS
        self._onset_ns: int | None = None
        self._reply_ns: int | None = None
        self._tracker = ReplyTracker(playout)
        self._tracker.wait_from(started_ns)
        self._content = content
        self.notes: list[str] = []
        self.changes = 0
        """How often what is to be said has changed: an utterance was placed, or its turn ended."""

    @property
    def spoken(self) -> tuple[Spoken, ...]:
        """The utterances placed so far, the current one included."""
        return tuple(self._spoken)

    def hear(self) -> None:
        """Examine what has arrived; to be called after each message, so that no frame has much to examine."""
        self._tracker.update()

    def decide(self, frame: int) -> bool:
        """Examine what was heard before that frame, and place an utterance if it is time; False means: hang up now."""
        now_ns = self._started_ns + (frame + 1) * FRAME_NS
        self._tracker.update()
        self._tracker.estimate_background(now_ns)
        if self._is_listening and not self._listen(frame, now_ns):
            return False
        if not self._is_listening:
            self._speak(frame, now_ns)
        return True

    def mix_voice(self, line: Pcm16, frame: int) -> Pcm16:
        """Return the line from that frame on with the caller's voice and background noise; (n * 160,) in and out.

        It holds for as long as `changes` stays the same.
        """
        at = frame * FRAME_SAMPLES
        bed, bed_start = self._current_bed()
        if bed is not None:
            line = bed.take(np.arange(len(line)) + (at - bed_start), mode="wrap")
        if not self._spoken:
            return line
        spoken = self._spoken[-1]
        ahead = spoken.start_sample - at
        first, end = max(0, ahead), min(len(line), ahead + len(spoken.clip.pcm))
        if end > first:
            line = line.copy()
            line[first:end] = spoken.clip.pcm[first - ahead : end - ahead]
        return line

    def keys_released_in(self, frame: int) -> str:
        """Return the keys that are released in that frame; they are sent as messages after it."""
        if not self._spoken or not self._spoken[-1].clip.keys:
            return ""
        ahead = self._spoken[-1].start_sample - frame * FRAME_SAMPLES
        return "".join(digit for sample, digit in self._spoken[-1].clip.keys if 0 <= ahead + sample < FRAME_SAMPLES)

    def utterance_ends_in(self, frame: int) -> bool:
        """Return whether an utterance ends in that frame."""
        return bool(self._spoken) and (self._spoken[-1].end_sample - 1) // FRAME_SAMPLES == frame

    def _current_bed(self) -> tuple[Pcm16 | None, int]:
        """Return the background noise of the current turn and its pause, and the sample at which the loop starts."""
        if self._is_listening:
            return self._spoken[-1].clip.bed, self._spoken[-1].start_sample
        bed = self._clips[self._turns[len(self._spoken)].key].bed if len(self._spoken) < len(self._turns) else None
        return bed, 0

    def _speak(self, frame: int, now_ns: int) -> None:
        turn = self._turns[len(self._spoken)]
        not_before_ns = self._pause_from_ns + turn.pause_ms * NS_PER_MS
        if self._tracker.audible_until_ns and now_ns < self._patience_ns:
            quiet_ns = self._tracker.audible_until_ns + max(turn.pause_ms * NS_PER_MS, self._quiet_ns)
            not_before_ns = max(not_before_ns, quiet_ns)
        if not_before_ns >= now_ns:
            return
        if turn.over_agent_ms is not None:
            reason = "was over by then" if self._reply_ns is not None else "never started"
            self.notes.append(
                f"turn {turn.key!r} did not speak over the agent: {turn.over_agent_ms} ms into its reply were planned, "
                f"but the reply {reason}"
            )
        self._place(turn, frame, not_before_ns)
        self._reply_ns = None

    def _speak_over(self, frame: int, now_ns: int) -> bool:
        """Place the next turn if it speaks over the agent and if it is time; return whether it was placed."""
        turn = self._turns[len(self._spoken)] if len(self._spoken) < len(self._turns) else None
        if turn is None or turn.over_agent_ms is None or self._reply_ns is None:
            return False
        due_ns = self._reply_ns + turn.over_agent_ms * NS_PER_MS
        speech_ns = now_ns + FRAME_NS + self._clips[turn.key].speech_start_sample * NS_PER_SAMPLE
        if due_ns >= now_ns or self._tracker.audible_until_ns <= speech_ns:
            return False
        self._place(turn, frame, due_ns)
        if turn.agent is not Expectation.IGNORE:
            self._reply_ns = None
        return True

    def _place(self, turn: Turn, frame: int, not_before_ns: int) -> None:
        earliest = max(frame * FRAME_SAMPLES, -(-(not_before_ns - self._started_ns) // NS_PER_SAMPLE))
        clip = self._clips[turn.key]
        to_grid = -(earliest + len(clip.pcm)) % FRAME_SAMPLES
        start = earliest + (to_grid if self._on_grid else self._rng.randrange(FRAME_SAMPLES))
        end = start + len(clip.pcm)
        speech_ns, end_ns = (
            self._started_ns + sample * NS_PER_SAMPLE for sample in (start + clip.speech_start_sample, end)
        )
        over_agent = self._tracker.audible_until_ns > speech_ns
        deadline_ns = end_ns + turn.answer_within_ms * NS_PER_MS
        self.changes += 1
        self._spoken.append(Spoken(turn.key, clip, start, end, deadline_ns, turn.agent, over_agent))
        self._is_listening, self._onset_ns = True, None
        self._tracker.add_quiet_time(speech_ns + NOTICE_NS, end_ns)
        self._tracker.expect_onset_from(end_ns, spoken_over_ns=speech_ns if turn.over_agent_ms is not None else None)

    def _listen(self, frame: int, now_ns: int) -> bool:
        """Wait for the answer and its end; return False when the call is over."""
        spoken = self._spoken[-1]
        is_last = len(self._spoken) == len(self._turns)
        if spoken.expectation is Expectation.IGNORE:
            if self._speak_over(frame, now_ns):
                return True
            if now_ns < spoken.reply_deadline_ns or (
                now_ns < spoken.reply_deadline_ns + PATIENCE_NS and self._reply_continues(now_ns)
            ):
                return True
            self._end_turn(max(self._tracker.audible_until_ns, self._pause_from_ns), PATIENCE_NS)
            return not is_last
        if self._onset_ns is None:
            self._reply_ns = self._onset_ns = self._tracker.find_onset_ns(now_ns)
        if self._onset_ns is not None and self._speak_over(frame, now_ns):
            return True
        if self._onset_ns is None:
            if now_ns < spoken.reply_deadline_ns:
                return True
            self._end_turn(spoken.reply_deadline_ns, PATIENCE_NS)
        elif self._probe and is_last:
            return now_ns < self._onset_ns + PROBE_NS or self._awaits_content(spoken, now_ns)
        elif now_ns >= self._onset_ns + PATIENCE_NS:
            self.notes.append(
                f"turn {spoken.utterance_id!r}: the reply lasted over 30 s; the caller did not wait for its end"
            )
            self._end_turn(now_ns, 0)
        elif self._reply_continues(now_ns) or self._awaits_content(spoken, now_ns):
            return True
        else:
            self._end_turn(self._tracker.audible_until_ns, PATIENCE_NS)
        return not is_last

    def _awaits_content(self, spoken: Spoken, now_ns: int) -> bool:
        """Return whether the caller still waits for the reply's content, which it does to the deadline at most."""
        if self._content is None or self._onset_ns is None or now_ns >= spoken.reply_deadline_ns:
            return False
        speech_ns = self._started_ns + (spoken.start_sample + spoken.clip.speech_start_sample) * NS_PER_SAMPLE
        quiet_ns = now_ns - self._tracker.audible_until_ns
        audible_ns = self._tracker.audible_ns(self._onset_ns, now_ns)
        return not self._content.is_heard(
            speech_ns, now_ns, audible_ns=audible_ns, ended=quiet_ns >= self._quiet_ns and self._is_marked()
        )

    def _is_marked(self) -> bool:
        """Return whether a mark followed the last audio."""
        mark_ns, audio_ns = self._playout.last_mark_recv_ns, self._playout.last_audio_recv_ns
        return mark_ns is not None and audio_ns is not None and mark_ns >= audio_ns

    def _end_turn(self, pause_from_ns: int, patience_ns: int) -> None:
        """End the turn: the next pause counts from `pause_from_ns`; silence is awaited for `patience_ns` after it."""
        self.changes += 1
        self._is_listening = False
        self._pause_from_ns, self._patience_ns = pause_from_ns, pause_from_ns + patience_ns

    def _reply_continues(self, now_ns: int) -> bool:
        quiet_ns = now_ns - self._tracker.audible_until_ns
        if quiet_ns < self._quiet_ns:
            return True
        mark_ns, audio_ns = self._playout.last_mark_recv_ns, self._playout.last_audio_recv_ns
        mark_expected = mark_ns is not None and audio_ns is not None and mark_ns < audio_ns
        return mark_expected and quiet_ns < MARK_PATIENCE_NS
