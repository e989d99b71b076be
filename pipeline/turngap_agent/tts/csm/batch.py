"""Frames of several calls at once: one pass of the depth decoder, the largest part of a frame, for all of them.

A step of it reads every weight once, whether it computes one row or several. Backbone and codec keep a call's state, so
each call's run one after the other. A product of several rows may round otherwise than one of a single row: a call's
codes are those that it has alone as long as no two of its likeliest are closer than that.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from turngap_agent.parts import part
from turngap_agent.tts import AudioF32
from turngap_agent.tts.csm.slot import SharedParts, Slot


class FrameBatch:
    """The buffers and units for frames of up to `calls` calls. Call every method inside `execution.activate()`."""

    def __init__(self, parts: SharedParts, calls: int) -> None:
        """Prepare a unit for each size: powers of two, whose last rows may be filled with what an earlier batch left.

        Raises:
            CaptureError: see `Execution.prepare_unit`.
        """
        self._parts = parts
        self.sizes = [2]
        while self.sizes[-1] < calls:
            self.sizes.append(2 * self.sizes[-1])
        largest, depth = self.sizes[-1], parts.depth
        self._hidden = parts.hidden.new_zeros(largest, parts.hidden.shape[1])
        self._code = parts.code.new_zeros(largest)
        self._noise = parts.noise.new_full((depth.codebooks, largest, parts.noise.shape[1]), 0.5)
        self._codes = parts.codes.new_zeros(largest, depth.codebooks)
        self._caches = {size: depth.stack.cache(size) for size in self.sizes}
        self._units = {size: parts.execution.prepare_unit(partial(self._decode, size)) for size in self.sizes}

    def next_frame(self, slot: Slot, speaking: Sequence[Slot], *, look_ahead: bool = True) -> AudioF32 | None:
        """Return the slot's next frame, as `Slot.next_frame`; a frame that must be launched takes others along.

        Those are the next frames of `speaking` slots that have room for one; theirs are then there when they are read.
        """
        while slot.wants_launch(look_ahead=look_ahead):
            others = [other for other in speaking if other is not slot and other.wants_launch(look_ahead=look_ahead)]
            self.launch([slot, *others][: self.sizes[-1]])
        return slot.take_frame()

    def launch(self, slots: Sequence[Slot]) -> None:
        """Launch one more frame of each of `slots`, all of which have launched their first."""
        if len(slots) == 1:
            slots[0].launch()
            return
        parts = self._parts
        for number, slot in enumerate(slots):
            slot.launch_backbone()
            self._hidden[number : number + 1].copy_(parts.hidden)
            self._code[number : number + 1].copy_(parts.code)
            self._noise[:, number].copy_(parts.noise)
        with part("depth"):
            self._units[next(size for size in self.sizes if size >= len(slots))]()
        for number, slot in enumerate(slots):
            slot.launch_codec(self._codes[number])

    def _decode(self, size: int) -> None:
        codes = self._parts.depth.decode_frames(
            self._hidden[:size],
            self._code[:size],
            self._noise[:, :size],
            self._caches[size],
            self._parts.execution.fuse,
        )
        self._codes[:size].copy_(codes)
