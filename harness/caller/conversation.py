"""When the caller speaks, waits and hangs up: the turn logic of one call, told the time frame by frame.

An utterance begins `pause_ms` after the stream's start or after the agent's reply has ended, and never while the agent
is audible or was within the last 600 ms. A reply has ended when nothing audible was played for 600 ms and nothing is
buffered; an agent that marks the ends of its replies is given up to 3 s for the mark, since a gap between clauses is
not an end. A probe call is hung up half a second after its last answer begins.
"""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence

from harness.caller.onset import AUDIBLE_DBFS, FRAME_SAMPLES, find_onset, levels_dbfs
from harness.caller.playout import Playout, segments
from harness.clock import NS_PER_MS, NS_PER_SAMPLE
from harness.records import Clip, Pcm16, Spoken
from harness.scenario import Turn
from pipeline.telephony import FRAME_NS
from pipeline.telephony import FRAME_SAMPLES as WIRE_SAMPLES

QUIET_NS = 600 * NS_PER_MS
MARK_PATIENCE_NS = 3_000 * NS_PER_MS
PROBE_NS = 500 * NS_PER_MS
PATIENCE_NS = 30_000 * NS_PER_MS
"""A reply that is longer is talked into."""


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
    ) -> None:
        self._turns = turns
        self._clips = clips
        self._playout = playout
        self._probe = probe
        self._started_ns = started_ns
        self._rng = rng
        self._on_grid = on_grid
        self._spoken: list[Spoken] = []
        self._listening = False
        self._base_ns = started_ns
        self._patience_ns = started_ns + turns[0].pause_ms * NS_PER_MS + PATIENCE_NS
        self._onset_ns: int | None = None
        self._ear = _Ear(playout)
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
        if self._listening and not self._listen(now_ns):
            return False
        if not self._listening:
            self._speak(frame, now_ns)
        return True

    def voice(self, line: Pcm16, frame: int) -> Pcm16:
        """The frame with what the caller says in place of the noise; shape (160,) in and out."""
        if not self._spoken:
            return line
        spoken = self._spoken[-1]
        at = spoken.start_sample - frame * WIRE_SAMPLES
        first, beyond = max(0, at), min(WIRE_SAMPLES, at + len(spoken.clip.pcm))
        if beyond > first:
            line = line.copy()
            line[first:beyond] = spoken.clip.pcm[first - at : beyond - at]
        return line

    def _speak(self, frame: int, now_ns: int) -> None:
        turn = self._turns[len(self._spoken)]
        not_before_ns = self._base_ns + turn.pause_ms * NS_PER_MS
        if self._ear.heard_until_ns and now_ns < self._patience_ns:
            quiet_ns = self._ear.heard_until_ns + max(turn.pause_ms * NS_PER_MS, QUIET_NS)
            not_before_ns = max(not_before_ns, quiet_ns)
        if not_before_ns >= now_ns:
            return
        earliest = max(frame * WIRE_SAMPLES, -(-(not_before_ns - self._started_ns) // NS_PER_SAMPLE))
        clip = self._clips[turn.key]
        to_grid = -(earliest + len(clip.pcm)) % WIRE_SAMPLES
        start = earliest + (to_grid if self._on_grid else self._rng.randrange(WIRE_SAMPLES))
        end = start + len(clip.pcm)
        deadline_ns = self._started_ns + end * NS_PER_SAMPLE + turn.answer_within_ms * NS_PER_MS
        self._spoken.append(Spoken(turn.key, clip, start, end, deadline_ns))
        self._listening, self._onset_ns = True, None
        self._ear.forget_before(self._started_ns + end * NS_PER_SAMPLE)

    def _listen(self, now_ns: int) -> bool:
        """Wait for the answer and its end; False: the call is over."""
        spoken = self._spoken[-1]
        last = len(self._spoken) == len(self._turns)
        if self._onset_ns is None:
            self._onset_ns = self._ear.onset_ns(now_ns)
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
        if quiet_ns < QUIET_NS:
            return True
        marks, audio_ns = self._playout.marks, self._playout.last_audio_recv_ns
        awaited = bool(marks) and audio_ns is not None and marks[-1].recv_ns < audio_ns
        return awaited and quiet_ns < MARK_PATIENCE_NS


class _Ear:
    """What is audible in the playout, kept up message by message."""

    def __init__(self, playout: Playout) -> None:
        self.heard_until_ns = 0
        """End of the last audible frame of all that was received, the buffered future included."""
        self._playout = playout
        self._seen = 0
        self._clears = 0
        self._from_ns = 0
        self._first = 0
        self._changed = False

    def listen(self) -> None:
        """Take note of what came since the last time."""
        if len(self._playout.clears_ns) > self._clears:
            self._clears = len(self._playout.clears_ns)
            self.heard_until_ns = min(self.heard_until_ns, self._playout.clears_ns[-1])
            self._changed = True
        fresh = self._playout.received_since(self._seen)
        for message in fresh:
            audible = (levels_dbfs(message.pcm[: message.played_samples]) > AUDIBLE_DBFS).nonzero()[0]
            if len(audible):
                end_ns = message.play_ns + (int(audible[-1]) + 1) * FRAME_SAMPLES * NS_PER_SAMPLE
                self.heard_until_ns = max(self.heard_until_ns, end_ns)
        self._seen += len(fresh)
        self._changed = self._changed or bool(fresh)

    def forget_before(self, from_ns: int) -> None:
        """Onsets count from that time on."""
        self._from_ns, self._changed = from_ns, True
        self._first = self._seen
        while self._first and self._ends_ns(self._first - 1) > from_ns:
            self._first -= 1

    def onset_ns(self, now_ns: int) -> int | None:
        """The first onset that has been played by now."""
        if not self._changed:
            return None
        found = find_onset(segments(self._playout.received_since(self._first), self._from_ns), self._from_ns)
        if found is not None and found <= now_ns:
            return found
        self._changed = found is not None
        return None

    def _ends_ns(self, index: int) -> int:
        message = self._playout.received_since(index)[0]
        return message.play_ns + message.played_samples * NS_PER_SAMPLE
