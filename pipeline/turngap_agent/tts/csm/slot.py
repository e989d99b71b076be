"""A slot: the device state of one clause at a time, and its frames. Start a clause, then read frame after frame.

One frame is three units: a backbone step (the first frame needs none: prefill computed its hidden state), the depth
decoder, the codec. The host reads nothing inside them. A frame's samples and its end-of-audio flag come back in one
copy; on a GPU the next frame is launched before the host waits for it, so that the flag is read one frame late and the
device never idles. What was launched past the end is discarded.

The keys and values of context stay in the slot between clauses: only what differs from the last context is computed.
Segments are computed each on its own, in pieces of set sizes, so that one kept is bit for bit one computed afresh.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch

from turngap_agent.device.execution import Execution
from turngap_agent.parts import part
from turngap_agent.tts import AudioF32
from turngap_agent.tts.csm.backbone import Backbone
from turngap_agent.tts.csm.codec import MimiDecoder, reset
from turngap_agent.tts.csm.context import Segment, SpeechPlan
from turngap_agent.tts.csm.depth import DepthDecoder
from turngap_agent.tts.csm.sampling import Sampling, make_noise_buffer

PREFILL_ROWS = (32, 128, 512)
"""Context is computed in pieces, padded to one of these sizes."""
WINDOWS = (512,)
"""Attention reads this many positions from the first on, or all. Two graphs; all keys and values are 1 % of a frame."""


@dataclass(frozen=True, slots=True)
class SharedParts:
    """What all slots share: the weights, and the buffers between units, which keep nothing from frame to frame."""

    backbone: Backbone
    depth: DepthDecoder
    codec: MimiDecoder
    execution: Execution
    sampling: Sampling
    positions: int
    """How many positions context and frames may take."""
    end_code: int
    rows: torch.Tensor
    """(longest prefill piece, hidden)"""
    start: torch.Tensor
    last: torch.Tensor
    hidden: torch.Tensor
    code: torch.Tensor
    codes: torch.Tensor
    noise: torch.Tensor
    depth_unit: Callable[[], None]

    @staticmethod
    def build(
        backbone: Backbone, depth: DepthDecoder, codec: MimiDecoder, execution: Execution, positions: int, end_code: int
    ) -> SharedParts:
        """Allocate the buffers and prepare the depth decoder's unit; call it inside `execution.activate()`."""
        device, sampling = backbone.head.device, backbone.sampling
        hidden = torch.zeros(1, backbone.hidden_size, device=device, dtype=backbone.head.dtype)
        code, start, last = (torch.zeros(1, dtype=torch.long, device=device) for _ in range(3))
        codes = torch.zeros(depth.codebooks, dtype=torch.long, device=device)
        noise = make_noise_buffer(depth.codebooks, sampling, device)

        def decode_depth() -> None:
            codes.copy_(depth.decode_frame(hidden, code, noise, execution.fuse))

        return SharedParts(
            backbone=backbone,
            depth=depth,
            codec=codec,
            execution=execution,
            sampling=sampling,
            positions=positions,
            end_code=end_code,
            rows=torch.zeros(PREFILL_ROWS[-1], backbone.hidden_size, device=device, dtype=backbone.head.dtype),
            start=start,
            last=last,
            hidden=hidden,
            code=code,
            codes=codes,
            noise=noise,
            depth_unit=execution.prepare_unit(decode_depth),
        )

    @property
    def places(self) -> int:
        """Positions of keys and values: padding rows may lie past the last position."""
        return self.positions + PREFILL_ROWS[-1]


class Slot:
    """One call's keys and values, codec state and units. Call every method inside `execution.activate()`."""

    def __init__(self, parts: SharedParts) -> None:
        self._parts = parts
        device = parts.codes.device
        self._cache = parts.backbone.stack.cache()
        self._codec_state = parts.codec.new_state()
        self._position = torch.zeros(1, dtype=torch.long, device=device)
        self._codes = torch.zeros_like(parts.codes)
        """The last frame, kept while other slots use the shared buffer."""
        self._heard = torch.zeros_like(parts.codes)
        """The frame that the codec decodes; `_codes` may be the next one already."""
        self._join: Callable[[], None] = _do_nothing
        """Makes the device's later work wait for the codec."""
        self._output = torch.zeros(parts.codec.frame_samples + 1, device=device)
        """Samples, followed by 1 if the frame ends the audio, else 0."""
        self._lookahead = parts.execution.lookahead
        self._host = [parts.execution.allocate_host_buffer(*self._output.shape) for _ in range(self._lookahead + 1)]
        self._waits: list[Callable[[], None]] = [lambda: None] * len(self._host)
        self._generator = torch.Generator(device)
        self._resident: tuple[Segment, ...] = ()
        self._filled = self._launched = self._read = self._limit = 0
        self._reads_end = True
        unit = parts.execution.prepare_unit
        windows = [window for window in WINDOWS if window < parts.positions] + [parts.positions]
        self._reset_unit = unit(self._reset, forked=True)
        self._prefill_units = {
            (rows, window): unit(partial(self._prefill, rows, window))
            for rows in PREFILL_ROWS
            for window in windows
            if window >= min(rows, parts.positions)
        }
        self._step_units = {window: unit(partial(self._step, window)) for window in windows}
        self._codec_unit = unit(self._decode, forked=True)
        self._windows = windows

    @property
    def resident_positions(self) -> int:
        """How many positions of context are in this slot."""
        return sum(segment.positions for segment in self._resident)

    def shared_positions(self, segments: tuple[Segment, ...]) -> int:
        """Return how many positions of the context `segments` are in this slot already."""
        return sum(segment.positions for segment in _common_segments(self._resident, segments))

    def start(self, plan: SpeechPlan, seed: int) -> None:
        """Compute the plan's context and text, and launch its first frame.

        Both in one call: between calls of a slot's methods other slots use the shared buffers.
        """
        with part("prefill"):
            self._join()
            self._join = self._parts.execution.fork(self._reset_unit)
            self._generator.manual_seed(seed)
            self._draw_noise()
            while self.prepare_segment(plan.segments):
                pass
            backbone = self._parts.backbone
            text = torch.tensor(plan.text_ids, device=self._position.device)
            self._compute(backbone.embed_text(text))
            self._position.fill_(self._filled)
            self._launched = self._read = 0
            self._limit = plan.frames
            self._reads_end = plan.reads_end
        self.launch()

    def prepare_segment(self, segments: tuple[Segment, ...]) -> bool:
        """Compute the first of the context `segments` that this slot does not have; return whether there was one.

        Afterwards the slot has what it shared with them, and that one. Call it between clauses only.
        """
        kept = _common_segments(self._resident, segments)
        self._resident = kept
        self._filled = sum(segment.positions for segment in kept)
        if len(kept) == len(segments):
            return False
        self._compute(segments[len(kept)].rows(self._parts.backbone))
        self._resident = segments[: len(kept) + 1]
        return True

    def next_frame(self, *, look_ahead: bool = True) -> AudioF32 | None:
        """Return the next 80 ms, shape (frame_samples,); None after the last.

        `look_ahead`: whether the frame after it may be launched before it is awaited; not if other work waits.
        """
        while self.wants_launch(look_ahead=look_ahead):
            self.launch()
        return self.take_frame()

    def wants_launch(self, *, look_ahead: bool = True) -> bool:
        """Whether a frame must be launched before the next one is read, or may be if `look_ahead`."""
        lookahead = self._lookahead if look_ahead else 0
        return self._launched < self._limit and self._launched <= self._read + lookahead

    def take_frame(self) -> AudioF32 | None:
        """Wait for the next frame, which was launched, and return it; None after the last."""
        if self._read >= self._limit:
            return None
        index = self._read % len(self._host)
        self._waits[index]()
        output = self._host[index].numpy()
        if self._reads_end and output[-1]:
            self._limit = 0
            return None
        self._read += 1
        samples: AudioF32 = output[:-1].astype(np.float32)
        return samples

    def last_codes(self) -> torch.Tensor:
        """Return the codes of the frame launched last, shape (codebooks,); for tests and measurements."""
        return self._codes.clone()

    def launch(self) -> None:
        """Launch one more frame: backbone (not for the first), depth decoder, codec."""
        if self._launched:
            self.launch_backbone()
        with part("depth"):
            self._parts.depth_unit()
        self.launch_codec(self._parts.codes)

    def launch_backbone(self) -> None:
        """Launch the step from the last frame to the next hidden state and first code, in the shared buffers."""
        with part("backbone"):
            self._draw_noise()
            self._step_units[self._window(self._filled + 1)]()
            self._filled += 1

    def launch_codec(self, codes: torch.Tensor) -> None:
        """Launch the decoding of the frame `codes` (codebooks,), which is then the last frame."""
        with part("codec"):
            self._codes.copy_(codes)
            self._join()  # the codec still reads the last frame
            self._heard.copy_(self._codes)
            self._join = self._parts.execution.fork(self._decode_to_host)
        self._launched += 1

    def _decode_to_host(self) -> None:
        self._codec_unit()
        index = self._launched % len(self._host)
        self._waits[index] = self._parts.execution.copy_to_host(self._output, self._host[index])

    def _compute(self, rows: torch.Tensor) -> None:
        parts = self._parts
        for piece in rows.split(PREFILL_ROWS[-1]):
            size = next(size for size in PREFILL_ROWS if size >= len(piece))
            parts.rows[: len(piece)].copy_(piece)
            parts.start.fill_(self._filled)
            parts.last.fill_(len(piece) - 1)
            self._filled += len(piece)
            self._prefill_units[size, self._window(max(self._filled, min(size, parts.positions)))]()

    def _window(self, reach: int) -> int:
        return next(window for window in self._windows if window >= reach)

    def _draw_noise(self) -> None:
        if not self._parts.sampling.greedy:
            self._parts.noise.uniform_(generator=self._generator)

    # The units: the tensors that they read and write stay in place.

    def _prefill(self, size: int, window: int) -> None:
        parts = self._parts
        hidden, code = parts.backbone.prefill(
            parts.rows[:size], self._cache, parts.start, parts.last, parts.noise[:1], window
        )
        parts.hidden.copy_(hidden)
        parts.code.copy_(code)

    def _step(self, window: int) -> None:
        parts = self._parts
        step = parts.execution.fuse(parts.backbone.step, tuned=True)
        hidden, code = step(self._codes, self._cache, self._position, parts.noise[:1], window)
        parts.hidden.copy_(hidden)
        parts.code.copy_(code)
        self._position.add_(1)

    def _decode(self) -> None:
        parts = self._parts
        self._output[:-1].copy_(parts.execution.fuse(parts.codec.decode_frame)(self._heard, self._codec_state))
        self._output[-1:].copy_((self._heard == parts.end_code).all().view(1))

    def _reset(self) -> None:
        reset(self._codec_state)


def _common_segments(resident: tuple[Segment, ...], wanted: tuple[Segment, ...]) -> tuple[Segment, ...]:
    count = 0
    while count < min(len(resident), len(wanted)) and resident[count].key == wanted[count].key:
        count += 1
    return resident[:count]


def _do_nothing() -> None:
    """Nothing was forked yet."""
