"""What the caller hears of the agent during a call: when it is audible, when its answer starts, whether it has yielded.

Updated message by message from the playout, in microseconds a frame. Of an agent that is audible while it has nothing
to say the background is estimated anew every half second (`background`); scoring does it once more, with all known.
"""

from __future__ import annotations

import bisect
import math
from array import array
from collections.abc import Sequence

import numpy as np

from turngap.caller.background import Background, LevelFrames, find_background
from turngap.caller.onset import (
    AUDIBLE_DBFS,
    LEVEL_FRAME_NS,
    LEVEL_FRAME_SAMPLES,
    energies_dbfs,
    find_onset,
    frame_energies,
    least_energy_over,
)
from turngap.caller.playout import Playout, played_segments
from turngap.clock import NS_PER_MS

YIELD_SILENCE_NS = 200 * NS_PER_MS
"""An agent that is spoken over has yielded once it was silent for this long, or has sent a `clear`."""
SCAN_AHEAD_NS, SCAN_BACK_NS = 100 * NS_PER_MS, 120 * NS_PER_MS
"""An onset is looked for in the audio played around now only: before `SCAN_BACK_NS` nothing changes any more, as an
onset needs sound in the 70 ms after it. So a look takes the same time however much the agent has sent."""
BACKGROUND_EVERY_NS = 500 * NS_PER_MS
LONG_SOUND_NS = 1_500 * NS_PER_MS
"""Sound that goes on for longer may be a background that starts after the first reply, ..."""
LONG_FRAMES = 6 * LONG_SOUND_NS // 10 // LEVEL_FRAME_NS
"""... which it does if so many frames in that time, six of ten, are audible."""
LEAST_CHANGE_DB = 1.0
"""An estimate that differs by less changes nothing."""
FRAMES_TOUCHED = 3
"""A frame on another grid has parts of so many frames of a message and its neighbours at most, if none of these is
shorter than a frame."""
KNOWN_FRAMES = 6_000
"""The background is that of the last minute of sound."""


class ReplyTracker:
    """Tracks the audible parts of one call's playout."""

    def __init__(self, playout: Playout) -> None:
        self.audible_until_ns = 0
        """The end of the last audible level frame received so far, audio that is still buffered included."""
        self.background: Background | None = None
        self._playout = playout
        self._starts_ns = array("q")
        self._energies = array("d")
        self._least_energy = least_energy_over(AUDIBLE_DBFS)
        """Frames with so much energy are audible."""
        self._most_energy: list[float] = []
        """Of each message: no frame in it, on whatever grid, has more."""
        self._audible: list[tuple[int, int]] = []
        self._quiet: list[tuple[int, int]] = []
        self._quiet_state = (0, 0, 0)
        """What was known when it was found out ..."""
        self._is_quiet_audible = False
        """... whether the agent was audible in one of the last two quiet times."""
        self._waits_from_ns: int | None = None
        self._next_look_ns = 0
        self._examined = 0
        self._clears = 0
        self._from_ns = 0
        self._spoken_over_ns: int | None = None
        self._first = 0
        """The first message with audio that may still have an onset."""

    @property
    def audible_dbfs(self) -> float:
        """The level over which the agent's sound is speech."""
        return AUDIBLE_DBFS if self.background is None else self.background.audible_dbfs

    def wait_from(self, from_ns: int) -> None:
        """The caller waits for its first turn from then on: the agent has nothing to say, or greets."""
        self._waits_from_ns = from_ns

    def add_quiet_time(self, from_ns: int, to_ns: int) -> None:
        """The caller speaks then: the agent has nothing to say. The first such time ends the wait for a turn."""
        if self._waits_from_ns is not None:
            self._quiet.append((self._waits_from_ns, from_ns))
            self._waits_from_ns = None
        self._quiet.append((from_ns, to_ns))

    def update(self) -> None:
        """Examine the messages that arrived since the last update."""
        clear_ns = self._playout.last_clear_ns
        if clear_ns is not None and self._playout.clear_count > self._clears:
            self._clears = self._playout.clear_count
            self.audible_until_ns = min(self.audible_until_ns, clear_ns)
            del self._audible[bisect.bisect_left(self._audible, (clear_ns, 0)) :]
            known = bisect.bisect_left(self._starts_ns, clear_ns)
            del self._starts_ns[known:], self._energies[known:]
        messages = self._playout.received_since(self._examined)
        for message in messages:
            played = message.pcm[: message.played_samples]
            energies = frame_energies(played).tolist()
            ends_ns = message.play_ns + len(energies) * LEVEL_FRAME_NS
            starts_ns = range(message.play_ns, ends_ns, LEVEL_FRAME_NS)
            self._starts_ns.extend(starts_ns)
            self._energies.extend(energies)
            loudest = max(energies, default=0.0)
            if loudest >= self._least_energy:
                self._add_audible(
                    [at_ns for at_ns, one in zip(starts_ns, energies, strict=True) if one >= self._least_energy]
                )
            is_short = 0 < len(played) < LEVEL_FRAME_SAMPLES
            self._most_energy.append(math.inf if is_short else FRAMES_TOUCHED * loudest)
        self._examined += len(messages)

    def estimate_background(self, now_ns: int) -> None:
        """Estimate the agent's background from what was played by now, every half second, if it may have one."""
        if now_ns >= self._next_look_ns and self._may_have_background(now_ns):
            self._next_look_ns = now_ns + BACKGROUND_EVERY_NS
            self._look_for_background(now_ns)

    def audible_ns(self, from_ns: int, now_ns: int) -> int:
        """Return for how long the agent was audible between `from_ns` and now."""
        heard_until_ns = min(now_ns, self.audible_until_ns)
        first, beyond = (bisect.bisect_left(self._audible, (at_ns, 0)) for at_ns in (from_ns, heard_until_ns))
        return sum(min(end_ns, heard_until_ns) - start_ns for start_ns, end_ns in self._audible[first:beyond])

    def expect_onset_from(self, from_ns: int, *, spoken_over_ns: int | None = None) -> None:
        """Look for onsets from `from_ns` on; of an agent spoken over at `spoken_over_ns`, only once it has yielded."""
        self._from_ns, self._spoken_over_ns = from_ns, spoken_over_ns
        self._first = bisect.bisect_right(range(self._examined), from_ns, key=self._playout.end_of_message_ns)

    def find_onset_ns(self, now_ns: int) -> int | None:
        """Return the first onset that has been played by now, or None."""
        if self._spoken_over_ns is not None:
            yielded_ns = self._find_yield_ns(self._spoken_over_ns, now_ns)
            if yielded_ns is None:
                return None
            self.expect_onset_from(max(self._from_ns, yielded_ns))
        if now_ns < self._from_ns:
            return None
        beyond = bisect.bisect_left(
            range(self._examined), now_ns + SCAN_AHEAD_NS, lo=self._first, key=self._playout.play_ns
        )
        if beyond <= self._first:
            return None
        if max(self._most_energy[self._first : beyond]) >= self._least_energy:
            messages = self._playout.received_since(self._first, beyond)
            segments = played_segments(messages, self._from_ns)
            onset_ns = find_onset(segments, self._from_ns, self.audible_dbfs)
            if onset_ns is not None and onset_ns <= now_ns:
                return onset_ns
        self._from_ns = max(self._from_ns, now_ns - SCAN_BACK_NS)
        while self._first < self._examined and self._playout.end_of_message_ns(self._first) <= self._from_ns:
            self._first += 1
        return None

    def _find_yield_ns(self, spoken_over_ns: int, now_ns: int) -> int | None:
        clear_ns = self._playout.find_clear_ns(spoken_over_ns)
        if clear_ns is not None:
            return clear_ns
        return self.audible_until_ns if self.audible_until_ns + YIELD_SILENCE_NS <= now_ns else None

    def _add_audible(self, starts_ns: Sequence[int]) -> None:
        self._audible += [(start_ns, start_ns + LEVEL_FRAME_NS) for start_ns in starts_ns]
        if starts_ns:
            self.audible_until_ns = max(self.audible_until_ns, self._audible[-1][1])

    def _may_have_background(self, now_ns: int) -> bool:
        """Return whether the agent is audible where it has nothing to say, or for long; a glance at few frames."""
        if not self._audible:
            return False
        if self._waits_from_ns is not None or self.background is not None:
            return True
        if len(self._audible) >= LONG_FRAMES and self._audible[-LONG_FRAMES][0] >= now_ns - LONG_SOUND_NS:
            return True
        state = (len(self._audible), self.audible_until_ns, len(self._quiet))
        if state != self._quiet_state:
            self._quiet_state = state
            self._is_quiet_audible = any(
                bisect.bisect_left(self._audible, (from_ns, 0)) < bisect.bisect_left(self._audible, (to_ns, 0))
                for from_ns, to_ns in self._quiet[-2:]
            )
        return self._is_quiet_audible

    def _look_for_background(self, now_ns: int) -> None:
        """Estimate the background from what has been played by now; what is audible then is found anew."""
        beyond = bisect.bisect_right(self._starts_ns, now_ns)
        first = max(0, beyond - KNOWN_FRAMES)
        frames = LevelFrames(
            np.array(self._starts_ns[first:beyond], np.int64), energies_dbfs(np.array(self._energies[first:beyond]))
        )
        waiting_ns = None if self._waits_from_ns is None else (self._waits_from_ns, now_ns)
        quiet = [*self._quiet, *([waiting_ns] if waiting_ns is not None else [])]
        found = find_background(frames, quiet, waiting_ns=waiting_ns)
        if found is None or abs(found.audible_dbfs - self.audible_dbfs) < LEAST_CHANGE_DB:
            return
        self.background = found
        self._least_energy = least_energy_over(found.audible_dbfs)
        self._audible.clear()
        self.audible_until_ns = 0
        is_audible = np.array(self._energies) >= self._least_energy
        self._add_audible(np.array(self._starts_ns)[is_audible].tolist())
