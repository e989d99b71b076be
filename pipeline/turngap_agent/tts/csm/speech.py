"""A loaded CSM made ready to speak: the parts built from a checkpoint, its slots, and what its context needs.

Blocking and for one thread at a time; `engine` puts it behind the agent's asynchronous seam.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch

from turngap_agent.device.graphs import Execution, Mode
from turngap_agent.errors import EngineError
from turngap_agent.tts import AudioF32, Spoken
from turngap_agent.tts.csm import codec
from turngap_agent.tts.csm import text as speakable
from turngap_agent.tts.csm.backbone import Backbone
from turngap_agent.tts.csm.context import Plan, Segment, SegmentStore, plan, resampled
from turngap_agent.tts.csm.depth import DepthDecoder
from turngap_agent.tts.csm.model import Checkpoint, line
from turngap_agent.tts.csm.sampling import Sampling
from turngap_agent.tts.csm.slot import PREFILL_ROWS, Parts, Slot
from turngap_agent.tts.csm.tokens import AGENT, CALLER, utterance

if TYPE_CHECKING:
    from turngap_agent.engines import StreamPriority

_SPEAKERS = {"agent": AGENT, "caller": CALLER}
_log = logging.getLogger(__name__)


class Speech:
    """CSM's parts over one checkpoint, whose network keeps working and shares their weights."""

    def __init__(
        self,
        checkpoint: Checkpoint,
        *,
        sampling: Sampling,
        positions: int = 2048,
        stream_priority: StreamPriority = "high",
    ) -> None:
        """Raises EngineError when the checkpoint is not of the architecture that is built here."""
        network = checkpoint.network
        self.checkpoint = checkpoint
        self.positions = min(positions, network.config.max_position_embeddings)
        try:
            self.backbone = Backbone(network, self.positions + PREFILL_ROWS[-1], sampling)
            self.depth = DepthDecoder(network, sampling)
            self.codec = codec.MimiDecoder(network.codec_model, self.positions)
        except (ValueError, AttributeError) as fault:
            raise EngineError(
                f"csm: {checkpoint.origin} is no CSM this engine can run ({line(fault)}); choose another tts.weights"
            ) from None
        self.device = self.backbone.head.device
        self.prompt: Segment | None = None
        self.slots: tuple[Slot, ...] = ()
        self._stream_priority: StreamPriority = stream_priority
        self.execution = Execution(self.device, Mode.EAGER, priority=stream_priority)
        self._store = SegmentStore(self._utterance, self._encode)

    def prepare(self, mode: Mode | None, slots: int) -> None:
        """Make `slots` slots whose units run in `mode`; None: the fastest that works here.

        On a GPU this compiles and captures: seconds to minutes, once.

        Raises:
            EngineError: the device has not memory enough for the slots, or cannot run `mode`.
        """
        choices = [mode] if mode else [Mode.COMPILED, Mode.GRAPHS] if self.device.type == "cuda" else [Mode.EAGER]
        for choice in choices:
            self.slots = ()
            try:
                self.execution, self.slots = self._slots(choice, slots)
            except torch.OutOfMemoryError as fault:
                raise EngineError(
                    f"csm: {self.device} ran out of memory for {slots} slots ({line(fault)}); lower tts.slots"
                ) from None
            except Exception as fault:  # the compiler raises whatever it likes
                if choice is choices[-1]:
                    raise EngineError(
                        f"csm: mode {choice} does not work here ({line(fault)}); set tts.mode: eager"
                    ) from fault
                _log.warning("csm: mode %s does not work here (%s); slower mode %s", choice, line(fault), choices[-1])
            else:
                return

    def set_prompt(self, text: str, audio: AudioF32, sample_rate: int) -> None:
        """From now on speak with the voice of `audio`, which says `text`; every slot takes it in now.

        Raises:
            EngineError: it leaves no room to speak.
        """
        with self.execution.active():
            self.prompt = self._store.segment(AGENT, text, audio, sample_rate)
            only = plan(self.prompt, (), self._utterance(AGENT, "."), 1, self.positions)
            for slot in self.slots:
                slot.begin(only, seed=0)

    def require_room(self, max_frames: int) -> None:
        """Make sure that the longest piece can be spoken after the voice prompt, before a call finds out.

        Raises:
            EngineError: it cannot.
        """
        plan(self.prompt, (), (0,) * speakable.PIECE_CHARACTERS, max_frames, self.positions)

    def plan(self, text: str, context: tuple[Spoken, ...], max_frames: int) -> Plan:
        """What speaking the piece `text` takes in, the newest turns of `context` that fit included.

        Random weights speak for as long as the text would take; real ones end by themselves, or are ended.
        """
        scripted = self.checkpoint.random
        frames = min(max_frames, speakable.expected_frames(text) if scripted else speakable.most_frames(text))
        with self.execution.active():
            turns = self._store.turns(context, _SPEAKERS)
        ids = self._utterance(AGENT, text)
        return plan(self.prompt, turns, ids, frames, self.positions, reads_end=not scripted)

    @property
    def sample_rate(self) -> int:
        """24 kHz."""
        return self.codec.sample_rate

    def _slots(self, mode: Mode, count: int) -> tuple[Execution, tuple[Slot, ...]]:
        execution = Execution(self.device, mode, priority=self._stream_priority)
        with execution.active():
            end_code = self.checkpoint.network.config.codebook_eos_token_id
            parts = Parts.build(self.backbone, self.depth, self.codec, execution, self.positions, end_code)
            return execution, tuple(Slot(parts) for _ in range(count))

    def _utterance(self, speaker: int, text: str) -> tuple[int, ...]:
        checkpoint = self.checkpoint
        return utterance(checkpoint.tokenizer, speaker, text, checkpoint.network.config.bos_token_id)

    def _encode(self, audio: AudioF32, sample_rate: int) -> torch.Tensor:
        samples = resampled(audio, sample_rate, self.codec.sample_rate)
        if not len(samples):
            return torch.zeros(0, self.codec.codebooks, dtype=torch.long, device=self.device)
        tensor = torch.from_numpy(np.ascontiguousarray(samples, np.float32)).to(self.device)
        return codec.encode(self.checkpoint.network.codec_model, tensor, self.codec.codebooks)
