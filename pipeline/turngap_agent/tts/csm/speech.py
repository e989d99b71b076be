"""A loaded CSM that is ready to speak: the network's parts, the slots, and the context.

Its methods block and may be called by one thread at a time; `engine` runs them behind the agent's interface.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import numpy as np
import torch

from turngap_agent.device.execution import CaptureError, Execution, Mode
from turngap_agent.errors import EngineError, one_line
from turngap_agent.tts import AudioF32, ContextUtterance
from turngap_agent.tts.csm import codec
from turngap_agent.tts.csm.backbone import Backbone
from turngap_agent.tts.csm.batch import FrameBatch
from turngap_agent.tts.csm.context import Segment, SegmentStore, SpeechPlan, choose_segments, plan_speech, resample
from turngap_agent.tts.csm.depth import DepthDecoder
from turngap_agent.tts.csm.fast_paths import REFERENCE, FastPaths
from turngap_agent.tts.csm.model import CsmCheckpoint
from turngap_agent.tts.csm.sampling import Sampling
from turngap_agent.tts.csm.slot import PREFILL_ROWS, SharedParts, Slot
from turngap_agent.tts.csm.text import AGENT, CALLER, PIECE_CHARACTERS, encode_utterance, expected_frames
from turngap_agent.tts.csm.text import max_frames as max_frames_of

if TYPE_CHECKING:
    from turngap_agent.engines import StreamPriority

_SPEAKERS = {"agent": AGENT, "caller": CALLER}
_log = logging.getLogger(__name__)


class Speech:
    """CSM's parts over one checkpoint; its network still works and shares their weights."""

    def __init__(
        self,
        checkpoint: CsmCheckpoint,
        *,
        sampling: Sampling,
        positions: int = 2048,
        stream_priority: StreamPriority = "high",
        fast: FastPaths = REFERENCE,
    ) -> None:
        """Raise EngineError if the checkpoint has another architecture than the one implemented here.

        Or if a fused kernel cannot run on its device.
        """
        network = checkpoint.network
        self.checkpoint = checkpoint
        self.positions = min(positions, network.config.max_position_embeddings)
        try:
            _require_kernels(fast, network.lm_head.weight.device)
            sampling = sampling._replace(fused="sampling" in fast.fused)
            fused = "attention" in fast.fused
            self.backbone = Backbone(network, self.positions + PREFILL_ROWS[-1], sampling, fused_attention=fused)
            self.depth = DepthDecoder(
                network,
                sampling,
                fused_attention=fused,
                int8=fast.int8_depth,
                fused_int8="int8" in fast.fused,
                fused="depth" in fast.fused,
            )
            self.codec = codec.MimiDecoder(network.codec_model, self.positions)
        except (ValueError, AttributeError) as error:
            raise EngineError(
                f"csm: {checkpoint.origin} is no CSM that this engine can run ({one_line(error, 200)}); choose "
                "another tts.weights"
            ) from None
        self.device = self.backbone.head.device
        self.prompt: Segment | None = None
        self.slots: tuple[Slot, ...] = ()
        self.batch: FrameBatch | None = None
        """With the option `batched`, and more than one slot."""
        self.fast = fast
        self._stream_priority: StreamPriority = stream_priority
        self.execution = Execution(self.device, Mode.EAGER, priority=stream_priority)
        self._store = SegmentStore(self._encode_text, self._encode_audio)

    def prepare(self, mode: Mode | None, slots: int) -> None:
        """Make `slots` slots whose units run in `mode`; None means the fastest mode that works here.

        On a GPU this compiles and captures: seconds to minutes, once. A slower mode is tried only after a failure
        before any capture, such as a missing compiler: a capture that failed leaves the process in no state to go on.

        Raises:
            EngineError: the device has too little memory for the slots, or cannot run `mode`.
        """
        self._store.make_room(slots)
        choices = [mode] if mode else [Mode.COMPILED, Mode.GRAPHS] if self.device.type == "cuda" else [Mode.EAGER]
        for choice in choices:
            self.slots, self.batch = (), None
            try:
                self.execution, self.slots = self._make_slots(choice, slots)
            except torch.OutOfMemoryError as error:
                raise EngineError(
                    f"csm: {self.device} ran out of memory for {slots} slots ({one_line(error, 200)}); lower tts.slots"
                ) from None
            except CaptureError as error:
                if isinstance(error.__cause__, torch.OutOfMemoryError):
                    raise EngineError(
                        f"csm: {self.device} ran out of memory for {slots} slots, in the capture of a CUDA graph "
                        f"({one_line(error.__cause__, 200)}); lower tts.slots"
                    ) from error
                raise EngineError(f"csm: mode {choice}: {one_line(error, 300)}: set tts.mode: eager") from error
            except EngineError:  # an option that is not possible in this mode
                raise
            except Exception as error:  # the compiler's errors have no common class
                if choice is choices[-1]:
                    raise EngineError(
                        f"csm: mode {choice} does not work here ({one_line(error, 200)}); set tts.mode: eager"
                    ) from error
                _log.warning(
                    "csm: mode %s does not work here (%s); using the slower mode %s",
                    choice,
                    one_line(error, 200),
                    choices[-1],
                )
            else:
                return

    def set_prompt(self, text: str, audio: AudioF32, sample_rate: int) -> None:
        """Speak from now on with the voice of `audio`, whose words are `text`; every slot computes it now.

        Raises:
            EngineError: it leaves no room to speak.
        """
        with self.execution.activate():
            self.prompt = self._store.segment(AGENT, text, audio, sample_rate)
            prompt_only = plan_speech(self.prompt, (), self._encode_text(AGENT, "."), 1, self.positions)
            for slot in self.slots:
                slot.start(prompt_only, seed=0)

    def require_room(self, max_frames: int) -> None:
        """Check that the longest piece can be spoken after the voice prompt.

        Raises:
            EngineError: there are too few positions.
        """
        plan_speech(self.prompt, (), (0,) * PIECE_CHARACTERS, max_frames, self.positions)

    def plan(self, text: str, context: tuple[ContextUtterance, ...], max_frames: int) -> SpeechPlan:
        """Return the plan for the piece `text`, with the latest utterances of `context` that fit.

        Random weights speak for as long as the text would take; real ones end by themselves, or at a limit.
        """
        scripted = self.checkpoint.random
        frames = min(max_frames, expected_frames(text) if scripted else max_frames_of(text))
        ids = self._encode_text(AGENT, text)
        # The context of a turn, whatever the length of the piece: so it can be computed before its text is there.
        segments = self.segments(context, max_frames)
        return SpeechPlan(segments, ids, frames, reads_end=not scripted)

    def encode_next(self, context: tuple[ContextUtterance, ...]) -> bool:
        """Encode the first utterance of `context` that is not encoded yet; return whether there was one."""
        with self.execution.activate():
            return self._store.encode_next(context, _SPEAKERS)

    def segments(self, context: tuple[ContextUtterance, ...], max_frames: int) -> tuple[Segment, ...]:
        """Return the context of the next piece, encoded: the prompt, and the latest utterances that fit beside any."""
        with self.execution.activate():
            utterances = self._store.segments(context, _SPEAKERS)
        return choose_segments(self.prompt, utterances, PIECE_CHARACTERS + max_frames, self.positions)

    def warm_up_encoder(self) -> None:
        """Encode silence at each length: on a GPU, convolutions of a new shape are slow once. A CPU: the shortest."""
        lengths = codec.ENCODED_FRAMES if self.device.type == "cuda" else codec.ENCODED_FRAMES[:1]
        with self.execution.activate():
            for frames in lengths:
                silence = torch.zeros(frames * self.codec.frame_samples, device=self.device)
                self._encode_samples(silence)

    @property
    def sample_rate(self) -> int:
        """24 kHz."""
        return self.codec.sample_rate

    def _make_slots(self, mode: Mode, count: int) -> tuple[Execution, tuple[Slot, ...]]:
        execution = Execution(
            self.device,
            mode,
            priority=self._stream_priority,
            forks=self.fast.codec_beside,
            dependent_launch=self.fast.dependent_launch,
        )
        with execution.activate():
            end_code = self.checkpoint.network.config.codebook_eos_token_id
            parts = SharedParts.build(self.backbone, self.depth, self.codec, execution, self.positions, end_code)
            self.batch = FrameBatch(parts, count) if self.fast.batched and count > 1 else None
            return execution, tuple(Slot(parts) for _ in range(count))

    def _encode_text(self, speaker: int, text: str) -> tuple[int, ...]:
        checkpoint = self.checkpoint
        return encode_utterance(checkpoint.tokenizer, speaker, text, checkpoint.network.config.bos_token_id)

    def _encode_audio(self, audio: AudioF32, sample_rate: int) -> torch.Tensor:
        samples = resample(audio, sample_rate, self.codec.sample_rate)
        if not len(samples):
            return torch.zeros(0, self.codec.codebooks, dtype=torch.long, device=self.device)
        tensor = torch.from_numpy(np.ascontiguousarray(samples, np.float32)).to(self.device)
        return self._encode_samples(tensor)

    def _encode_samples(self, samples: torch.Tensor) -> torch.Tensor:
        mimi = self.checkpoint.network.codec_model
        return codec.encode(mimi, samples, self.codec.codebooks, self.codec.frame_samples)


def _require_kernels(fast: FastPaths, device: torch.device) -> None:
    if not fast.fused:
        return
    try:
        from turngap_agent.tts.csm import kernels
    except ImportError:
        raise EngineError(
            "csm: tts.fused_kernels need triton, which torch installs on Linux; set tts.fused_kernels: []"
        ) from None
    if "depth" in fast.fused and fast.int8_depth:
        raise EngineError(
            "csm: the kernel depth reads full weights; set tts.depth_weights: full, or leave depth out of "
            "tts.fused_kernels"
        )
    if device.type != "cuda" and not kernels.is_interpreted():
        raise EngineError(f"csm: tts.fused_kernels need an NVIDIA GPU, not {device}; set tts.fused_kernels: []")
