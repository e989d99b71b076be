"""CSM behind the agent's interface: clauses in, pieces of 80 ms out, with the frames of several calls alternating.

One thread uses the device. Each call requests one frame at a time and queues behind the others. So frames of several
calls alternate, a call that was closed requests no more, and each call's audio is what it would be alone.
"""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import AsyncGenerator, Callable
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from turngap_agent import parts, worker
from turngap_agent.device.execution import Mode
from turngap_agent.errors import EngineError, one_line
from turngap_agent.tts import AudioF32, ContextUtterance
from turngap_agent.tts.csm import model
from turngap_agent.tts.csm.context import Segment
from turngap_agent.tts.csm.device_queue import DeviceQueue, Urgency
from turngap_agent.tts.csm.sampling import Sampling
from turngap_agent.tts.csm.slot import Slot
from turngap_agent.tts.csm.speech import Speech
from turngap_agent.tts.csm.text import split_pieces

if TYPE_CHECKING:
    from turngap_agent.tts.csm.settings import CsmSettings

MARKER_HZ = 1_000.0
MARKER_LEVEL_DBFS = -15.0
"""RMS. Random weights speak noise of any level; it is replaced by this tone after all the work was done."""

_CLOSED = "csm: the engine was closed while it spoke; start the agent again"

Result = TypeVar("Result")


class Csm:
    """A loaded CSM-1B, shared by all calls."""

    parts = ("context", "prefill", "backbone", "depth", "codec")

    def __init__(self, settings: CsmSettings, speech: Speech | None = None) -> None:
        """Load the weights and prepare the slots (compiles and captures, on a GPU).

        Raises:
            EngineError: see `model.load` and `Speech.prepare`; or the voice prompt cannot be used.
        """
        self._settings = settings
        if speech is None:
            checkpoint = model.load(settings.weights, device=settings.device, dtype=settings.dtype)
            sampling = Sampling(settings.temperature, settings.top_k)
            speech = Speech(
                checkpoint,
                sampling=sampling,
                positions=settings.context_positions,
                stream_priority=settings.stream_priority,
                fast=settings.fast_paths,
            )
            speech.prepare(None if settings.mode == "auto" else Mode(settings.mode), settings.slots)
        self._speech = speech
        self._queue = DeviceQueue("csm", settings.cores)
        in_turn = settings.scheduling == "in_turn"
        self._first = Urgency.LATER_FRAME if in_turn else Urgency.FIRST_FRAME
        """The urgency of a clause's first frame."""
        self._speaking: list[Slot] = []
        """Those between their first frame and their last; used on the device's thread alone."""
        self._slots_free = asyncio.Semaphore(len(speech.slots))
        self._free = list(speech.slots)
        self._closed = False

    def describe(self) -> str:
        """Return one line for the ready message and the report."""
        speech, settings = self._speech, self._settings
        voice = "voice prompt" if settings.voice_prompt else "no voice prompt"
        return (
            f"csm {speech.checkpoint.origin}, {speech.execution.mode} on {speech.device}, "
            f"{str(speech.backbone.head.dtype).removeprefix('torch.')}, {voice}, {len(speech.slots)} slots"
        )

    @property
    def sample_rate(self) -> int:
        """24 kHz."""
        return self._speech.sample_rate

    async def warm_up(self) -> None:
        """Compute the voice prompt, and speak one clause that is discarded in every slot.

        Raises:
            EngineError: the voice prompt cannot be read, or leaves no room to speak.
        """
        prompt = self._settings.voice_prompt
        if prompt is not None:
            audio, sample_rate = read_audio(prompt.audio)
            await self._on_device(self._speech.set_prompt, prompt.text, audio, sample_rate)
        self._speech.require_room(self._settings.max_frames)
        await self._on_device(self._speech.warm_up_encoder)
        plan = await self._on_device(self._speech.plan, "Hello there.", (), 3)

        def speak(slot: Slot) -> None:
            slot.start(plan, seed=0)
            while slot.next_frame() is not None:
                pass

        for slot in self._speech.slots:
            await self._on_device(speak, slot)

    async def speak(self, text: str, context: tuple[ContextUtterance, ...] = ()) -> AsyncGenerator[AudioF32, None]:
        """Yield `text` in pieces of 80 ms as they are made; none if there is nothing to speak. Closing stops the work.

        The same text after the same context has the same audio.

        Raises:
            EngineError: the device failed, or the context leaves no room.
        """
        for piece in split_pieces(text):
            async with self._slots_free:
                slots: list[Slot] = []
                n_samples = 0
                try:
                    samples = await self._on_device(self._open, piece, context, slots, urgency=self._first)
                    while samples is not None:
                        yield _make_marker(n_samples, len(samples)) if self._speech.checkpoint.random else samples
                        n_samples += len(samples)
                        samples = await self._on_device(self._next_frame, slots[0])
                finally:
                    # Queued like all work: the slot is free only after this call's last work.
                    with suppress(RuntimeError):  # the engine was closed
                        self._queue.submit(self._first, partial(self._release, slots))

    async def prepare(self, context: tuple[ContextUtterance, ...]) -> None:
        """Encode the audio of `context`, and compute it in a free slot, utterance by utterance; frames go first.

        Raises:
            EngineError: the device failed, or the engine was closed.
        """
        for _ in range(3 * len(context) + 2):  # another call may take the slot meanwhile, but not for ever
            if not await self._on_device(self._prepare_step, context, urgency=Urgency.PREPARATION):
                return

    async def close(self) -> None:
        """Finish the current frame, start no other, and free the device's memory."""
        self._closed = True
        await asyncio.to_thread(self._queue.close)
        self._free, self._speaking = [], []
        self._speech.slots, self._speech.batch = (), None

    def _open(self, piece: str, context: tuple[ContextUtterance, ...], slots: list[Slot]) -> AudioF32 | None:
        """Return the first frame of `piece`, from the free slot with most of its context; add that slot to `slots`.

        All in one job, so that first audio waits for other calls' frames only once.
        """
        with parts.part("context"):
            plan = self._speech.plan(piece, context, self._settings.max_frames)
        slot = self._choose_slot(plan.segments)
        self._free.remove(slot)
        slots.append(slot)
        slot.start(plan, seed=zlib.crc32(repr((piece, len(context))).encode(), self._settings.seed))
        self._speaking.append(slot)
        return self._next_frame(slot)

    def _release(self, slots: list[Slot]) -> None:
        self._speaking = [slot for slot in self._speaking if slot not in slots]
        self._free.extend(slots)

    def _next_frame(self, slot: Slot) -> AudioF32 | None:
        """Return the slot's next frame; where first frames go first, nothing is launched ahead while others wait.

        In a batch others' frames are launched together with this one, so only first frames count as waiting.
        """
        batch, in_turn = self._speech.batch, self._settings.scheduling == "in_turn"
        least = Urgency.LATER_FRAME if batch is None else Urgency.FIRST_FRAME
        look_ahead = in_turn or not self._queue.someone_waits(least)
        if batch is None:
            return slot.next_frame(look_ahead=look_ahead)
        return batch.next_frame(slot, self._speaking, look_ahead=look_ahead)

    def _prepare_step(self, context: tuple[ContextUtterance, ...]) -> bool:
        """Encode one utterance of the context, or compute one that is encoded; return whether there was one.

        One a job: what runs is not interrupted, and a text may arrive at any time.
        """
        if self._speech.encode_next(context):
            return True
        segments = self._speech.segments(context, self._settings.max_frames)
        return bool(self._free) and self._choose_slot(segments).prepare_segment(segments)

    def _choose_slot(self, segments: tuple[Segment, ...]) -> Slot:
        """Return the free slot with most of the context `segments`; of equals, the one that loses least."""

        def preference(slot: Slot) -> tuple[int, int]:
            shared = slot.shared_positions(segments)
            return shared, shared - slot.resident_positions

        return max(self._free, key=preference)

    async def _on_device(
        self, work: Callable[..., Result], *args: object, urgency: Urgency = Urgency.LATER_FRAME
    ) -> Result:
        """Run `work` on the device's thread, after what is more urgent or was queued before it; return its result."""

        def run() -> Result:
            with self._speech.execution.activate():
                return work(*args)

        if self._closed:
            raise EngineError(_CLOSED)
        try:
            return await worker.run(self._queue.executor(urgency), run)
        except EngineError:
            raise
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if self._closed and not (task and task.cancelling()):  # the job was cancelled, not the caller
                raise EngineError(_CLOSED) from None
            raise
        except RuntimeError as error:
            raise EngineError(f"csm: the device failed ({one_line(error, 200)}); this reply is lost") from error


def read_audio(path: str) -> tuple[AudioF32, int]:
    """Return the samples of an audio file, as mono, and its rate.

    Raises:
        EngineError: the file is missing, no audio, or empty.
    """
    import soundfile

    try:
        samples, sample_rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (OSError, RuntimeError) as error:
        raise EngineError(
            f"csm: voice prompt {path} cannot be read ({one_line(error, 200)}); correct tts.voice_prompt.audio"
        ) from None
    if not len(samples):
        raise EngineError(f"csm: voice prompt {path} is empty; correct tts.voice_prompt.audio")
    return np.ascontiguousarray(samples.mean(axis=1), np.float32), int(sample_rate)


def _make_marker(start: int, count: int) -> AudioF32:
    seconds = (start + np.arange(count)) / 24_000
    peak = np.sqrt(2) * 10 ** (MARKER_LEVEL_DBFS / 20)
    return np.asarray(peak * np.sin(2 * np.pi * MARKER_HZ * seconds), np.float32)
