"""When the caller speaks, waits and hangs up: the turn logic of one call, told the time frame by frame.

An utterance begins `pause_ms` after the stream's start or after the agent's reply has ended, and never while the agent
is audible or was within the last 600 ms. A reply has ended when nothing audible was played for 600 ms and nothing is
buffered; an agent that marks the ends of its replies is given up to 3 s for the mark, since a gap between clauses is
not an end. A probe call is hung up half a second after its last answer begins.

A turn that speaks over the agent begins once the reply that is under way has been audible for `over_agent_ms`. What is
expected of the agent settles what is waited for: an answer (respond, stop), or that its time goes by and the reply that
was spoken over comes to its end (ignore), or that its time goes by (wait).
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

import numpy as np
from turngap_agent.telephony import FRAME_NS
from turngap_agent.telephony import FRAME_SAMPLES as WIRE_SAMPLES

from turngap.caller.playout import Playout
from turngap.caller.reply_tracker import Ear
from turngap.clock import NS_PER_MS, NS_PER_SAMPLE
from turngap.model.records import Clip, Pcm16, Spoken
from turngap.scenario import QUIET_MS, Expectation, Turn

MARK_PATIENCE_NS = 3_000 * NS_PER_MS
PROBE_NS = 500 * NS_PER_MS
PATIENCE_NS = 30_000 * NS_PER_MS
"""A reply that is longer is talked into."""
_FRAME = np.arange(WIRE_SAMPLES)


class Conversation:
    """One call's turns. `decide` is asked before each frame; `voice` mixes the utterances into the line."""

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
    ) -> None:
        """`quiet_ms`: how long the agent is silent when its reply is over."""
        self._turns = turns
        self._clips = clips
        self._playout = playout
        self._probe = probe
        self._started_ns = started_ns
        self._rng = rng
        self._on_grid = on_grid
        self._quiet_ns = quiet_ms * NS_PER_MS
        self._spoken: list[Spoken] = []
        self._listening = False
        self._base_ns = started_ns
        self._patience_ns = started_ns + turns[0].pause_ms * NS_PER_MS + PATIENCE_NS
        self._onset_ns: int | None = None
        self._reply_ns: int | None = None
        self._ear = Ear(playout)
        self.notes: list[str] = []

    @property
    def spoken(self) -> tuple[Spoken, ...]:
        """The utterances placed so far, the one under way included."""
        return tuple(self._spoken)

    def decide(self, frame: int) -> bool:
        """Look at what was heard before that frame is composed, and place an utterance if it is time.

        False: hang up now.
        """
        now_ns = self._started_ns + (frame + 1) * FRAME_NS
        self._ear.listen()
        if self._listening and not self._listen(frame, now_ns):
            return False
        if not self._listening:
            self._speak(frame, now_ns)
        return True

    def voice(self, line: Pcm16, frame: int) -> Pcm16:
        """The frame with what the caller says, and has behind them, in place of the line's noise; (160,) in and out."""
        at = frame * WIRE_SAMPLES
        bed, began = self._bed()
        if bed is not None:
            line = bed.take(_FRAME + (at - began), mode="wrap")
        if not self._spoken:
            return line
        spoken = self._spoken[-1]
        ahead = spoken.start_sample - at
        first, beyond = max(0, ahead), min(WIRE_SAMPLES, ahead + len(spoken.clip.pcm))
        if beyond > first:
            line = line.copy()
            line[first:beyond] = spoken.clip.pcm[first - ahead : beyond - ahead]
        return line

    def keys(self, frame: int) -> str:
        """The keys that are let go in that frame, and are told as messages after it."""
        if not self._spoken or not self._spoken[-1].clip.keys:
            return ""
        ahead = self._spoken[-1].start_sample - frame * WIRE_SAMPLES
        return "".join(digit for sample, digit in self._spoken[-1].clip.keys if 0 <= ahead + sample < WIRE_SAMPLES)

    def ends_in(self, frame: int) -> bool:
        """Whether an utterance ends in that frame."""
        return bool(self._spoken) and (self._spoken[-1].end_sample - 1) // WIRE_SAMPLES == frame

    def _bed(self) -> tuple[Pcm16 | None, int]:
        """The noise behind the turn that is under way, its pause included, and the sample where its loop began."""
        if self._listening:
            return self._spoken[-1].clip.bed, self._spoken[-1].start_sample
        bed = self._clips[self._turns[len(self._spoken)].key].bed if len(self._spoken) < len(self._turns) else None
        return bed, 0

    def _speak(self, frame: int, now_ns: int) -> None:
        turn = self._turns[len(self._spoken)]
        not_before_ns = self._base_ns + turn.pause_ms * NS_PER_MS
        if self._ear.heard_until_ns and now_ns < self._patience_ns:
            quiet_ns = self._ear.heard_until_ns + max(turn.pause_ms * NS_PER_MS, self._quiet_ns)
            not_before_ns = max(not_before_ns, quiet_ns)
        if not_before_ns >= now_ns:
            return
        if turn.over_agent_ms is not None:
            why = "was over" if self._reply_ns is not None else "never came"
            self.notes.append(
                f"turn {turn.key!r} was to speak over the agent after {turn.over_agent_ms} ms, but its reply {why}"
            )
        self._place(turn, frame, not_before_ns)
        self._reply_ns = None

    def _speak_over(self, frame: int, now_ns: int) -> bool:
        """Place the next turn if it is one that speaks over the agent, and if it is time."""
        turn = self._turns[len(self._spoken)] if len(self._spoken) < len(self._turns) else None
        if turn is None or turn.over_agent_ms is None or self._reply_ns is None:
            return False
        due_ns = self._reply_ns + turn.over_agent_ms * NS_PER_MS
        clip = self._clips[turn.key]
        if due_ns >= now_ns or self._ear.heard_until_ns <= now_ns + FRAME_NS + clip.speech_start_sample * NS_PER_SAMPLE:
            return False
        self._place(turn, frame, due_ns)
        if turn.agent is not Expectation.IGNORE:
            self._reply_ns = None
        return True

    def _place(self, turn: Turn, frame: int, not_before_ns: int) -> None:
        earliest = max(frame * WIRE_SAMPLES, -(-(not_before_ns - self._started_ns) // NS_PER_SAMPLE))
        clip = self._clips[turn.key]
        to_grid = -(earliest + len(clip.pcm)) % WIRE_SAMPLES
        start = earliest + (to_grid if self._on_grid else self._rng.randrange(WIRE_SAMPLES))
        end = start + len(clip.pcm)
        speech_ns, end_ns = (
            self._started_ns + sample * NS_PER_SAMPLE for sample in (start + clip.speech_start_sample, end)
        )
        over = self._ear.heard_until_ns > speech_ns
        deadline_ns = end_ns + turn.answer_within_ms * NS_PER_MS
        self._spoken.append(Spoken(turn.key, clip, start, end, deadline_ns, turn.agent, over))
        self._listening, self._onset_ns = True, None
        self._ear.forget_before(end_ns, spoken_over_ns=speech_ns if turn.over_agent_ms is not None else None)

    def _listen(self, frame: int, now_ns: int) -> bool:
        """Wait for the answer and its end; False: the call is over."""
        spoken = self._spoken[-1]
        last = len(self._spoken) == len(self._turns)
        if spoken.expectation is Expectation.IGNORE:
            if self._speak_over(frame, now_ns):
                return True
            if now_ns < spoken.reply_deadline_ns or (
                now_ns < spoken.reply_deadline_ns + PATIENCE_NS and self._reply_goes_on(now_ns)
            ):
                return True
            self._await_quiet(max(self._ear.heard_until_ns, self._base_ns), PATIENCE_NS)
            return not last
        if self._onset_ns is None:
            self._reply_ns = self._onset_ns = self._ear.onset_ns(now_ns)
        if self._onset_ns is not None and self._speak_over(frame, now_ns):
            return True
        if self._onset_ns is None:
            if now_ns < spoken.reply_deadline_ns:
                return True
            self._await_quiet(spoken.reply_deadline_ns, PATIENCE_NS)
        elif self._probe and last:
            return now_ns < self._onset_ns + PROBE_NS
        elif now_ns >= self._onset_ns + PATIENCE_NS:
            self.notes.append(f"turn {spoken.utterance_id!r}: the reply went on for over 30 s; the caller did not wait")
            self._await_quiet(now_ns, 0)
        elif self._reply_goes_on(now_ns):
            return True
        else:
            self._await_quiet(self._ear.heard_until_ns, PATIENCE_NS)
        return not last

    def _await_quiet(self, from_ns: int, patience_ns: int) -> None:
        """The turn is over: the next pause counts from then, and silence is waited for as long as that."""
        self._listening = False
        self._base_ns, self._patience_ns = from_ns, from_ns + patience_ns

    def _reply_goes_on(self, now_ns: int) -> bool:
        quiet_ns = now_ns - self._ear.heard_until_ns
        if quiet_ns < self._quiet_ns:
            return True
        marks, audio_ns = self._playout.marks, self._playout.last_audio_recv_ns
        awaited = bool(marks) and audio_ns is not None and marks[-1].recv_ns < audio_ns
        return awaited and quiet_ns < MARK_PATIENCE_NS
