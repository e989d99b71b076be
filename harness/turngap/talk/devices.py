"""Where a person's voice comes from and the agent's goes to: a sound card, or files at the pace of one.

`sounddevice` and the PortAudio library are asked for when a sound card is, and not before.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
from turngap_agent.errors import UsageError, write_error

from turngap.clock import Clock
from turngap.model.plural import plural
from turngap.talk.resampling import Samples

BLOCK_MS = 10
Heard = Callable[[Samples, int], object]
"""Called in the event loop with a block, full scale ±1, shape (n,), and when its last sample was spoken, in ns."""
Wanted = Callable[[int], Samples]
"""Called on any thread for the next so many samples to be played, shape (n,); must not block."""

NO_PACKAGE = "talk: sounddevice is not installed; run: pip install 'turngap[talk]' (or give --in and --out files)"
NO_LIBRARY = (
    "talk: this machine has no PortAudio library; install it (Debian: apt install libportaudio2), or give --in and "
    "--out files"
)


class Device(Protocol):
    """A microphone and a loudspeaker that run at one rate."""

    rate: int
    description: str
    output_latency_ms: float
    """From a block's being asked for to its being heard, as the device itself says."""

    @property
    def exhausted(self) -> bool:
        """True when nothing more will be said."""
        ...

    async def start(self, heard: Heard, wanted: Wanted) -> None:
        """Run until `stop`."""
        ...

    async def stop(self) -> None:
        """End it; harmless where it does not run."""
        ...


class FileDevice:
    """Says a WAV or FLAC file at real pace, then silence, and writes what a loudspeaker would have played."""

    def __init__(self, said: Path, played: Path, clock: Clock) -> None:
        """Reads `said` now.

        Raises:
            UsageError: it is missing, no audio, empty or under 8 kHz, or the folder of `played` is not there.
        """
        if played.resolve() == said.resolve():
            raise UsageError(f"--out {played}: that is what is to be said; give another file")
        if not said.is_file():
            raise UsageError(f"--in {said}: no such file")
        try:
            audio, rate = soundfile.read(said, dtype="float32", always_2d=True)
        except (OSError, soundfile.SoundFileError) as fault:
            raise UsageError(f"--in {said}: cannot be read as audio ({fault}); give a WAV or FLAC file") from None
        if not len(audio) or rate < 8000:
            raise UsageError(
                f"--in {said}: {plural(len(audio), 'sample')} at {rate} Hz; some audio at 8000 Hz or more is needed"
            )
        if not played.parent.is_dir():
            raise UsageError(f"--out {played}: there is no folder {played.parent}")
        if not os.access(played if played.exists() else played.parent, os.W_OK):
            raise UsageError(f"--out {played}: cannot be written; give another file")
        self._said: Samples = audio.mean(axis=1)
        self._played: list[Samples] = []
        self._file, self._clock = played, clock
        self._at = 0
        self._task: asyncio.Task[None] | None = None
        self.rate = int(rate)
        self.description = f"{said} at real pace; what is heard goes to {played}"
        self.output_latency_ms = 0.0

    @property
    def exhausted(self) -> bool:
        """True when the file has been said."""
        return self._at >= len(self._said)

    async def start(self, heard: Heard, wanted: Wanted) -> None:
        """Begin with the file's first sample, now."""
        self._task = asyncio.create_task(self._run(heard, wanted), name="file device")

    async def stop(self) -> None:
        """End, and write what was played.

        Raises:
            UsageError: the file cannot be written.
            HarnessError: the disk is full.
        """
        if self._task is None:
            return
        self._task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await self._task
        self._task = None
        try:
            played = np.concatenate([np.zeros(0, np.float32), *self._played])
            soundfile.write(self._file, played, self.rate, subtype="PCM_16", format="WAV")
        except OSError as fault:
            raise write_error(f"--out {self._file}: what was played cannot be written", fault) from None
        except soundfile.SoundFileError as fault:
            raise UsageError(f"--out {self._file}: what was played cannot be written ({fault})") from None

    async def _run(self, heard: Heard, wanted: Wanted) -> None:
        began_ns, samples = self._clock.now_ns(), self.rate * BLOCK_MS // 1000
        while True:
            end = self._at + samples
            due_ns = began_ns + end * 1_000_000_000 // self.rate
            await self._clock.sleep_until_ns(due_ns)
            block = self._said[self._at : end]
            self._at = end
            heard(np.pad(block, (0, samples - len(block))), due_ns)
            self._played.append(wanted(samples))


class SoundDevice:
    """This computer's microphone and loudspeaker, through PortAudio."""

    def __init__(self, microphone: str | None, loudspeaker: str | None, clock: Clock) -> None:
        """By number or a part of their names; None takes the computer's own choice.

        Raises:
            UsageError: no PortAudio, no such device, or none at all.
        """
        self._portaudio = portaudio()
        self._devices = (self._find(microphone, "input"), self._find(loudspeaker, "output"))
        self._clock = clock
        self._stream: Any = None
        self.rate = int(self._devices[0]["default_samplerate"])
        self.description = " and ".join(str(device["name"]) for device in self._devices)
        self.output_latency_ms = 0.0

    @property
    def exhausted(self) -> bool:
        """A person may always say more."""
        return False

    async def start(self, heard: Heard, wanted: Wanted) -> None:
        """Open both.

        Raises:
            UsageError: they cannot be opened together.
        """
        loop = asyncio.get_running_loop()

        def on_block(said: Any, played: Any, frames: int, times: Any, _: object) -> None:
            # In PortAudio's own thread. Its clock has another zero: only differences on it mean anything here.
            now_ns = self._clock.now_ns()
            age_s = times.currentTime - times.inputBufferAdcTime if times.inputBufferAdcTime else frames / self.rate
            spoken_ns = now_ns - round(max(0.0, age_s - frames / self.rate) * 1e9)
            with contextlib.suppress(RuntimeError):  # the loop is gone: the call is over
                loop.call_soon_threadsafe(heard, np.array(said[:, 0], np.float32), spoken_ns)
            played[:, 0] = wanted(frames)

        try:
            self._stream = self._portaudio.Stream(
                samplerate=self.rate,
                blocksize=self.rate * BLOCK_MS // 1000,
                device=tuple(device["index"] for device in self._devices),
                channels=1,
                dtype="float32",
                latency="low",
                callback=on_block,
            )
            self._stream.start()
        except (self._portaudio.PortAudioError, ValueError) as fault:
            raise UsageError(f"talk: {self.description}: cannot be opened at {self.rate} Hz ({fault})") from None
        self.output_latency_ms = float(self._stream.latency[1]) * 1000

    async def stop(self) -> None:
        """Close both."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _find(self, wanted: str | None, kind: str) -> dict[str, Any]:
        asked = int(wanted) if wanted is not None and wanted.isdecimal() else wanted
        try:
            found: dict[str, Any] = self._portaudio.query_devices(asked, kind)
        except (self._portaudio.PortAudioError, ValueError) as fault:
            what = "microphone" if kind == "input" else "loudspeaker"
            if wanted is None:
                raise UsageError(f"talk: this machine has no {what}; give --in and --out files instead") from None
            raise UsageError(f"--{kind}-device {wanted!r}: {fault}; see turngap talk --list-devices") from None
        return found


def portaudio() -> Any:
    """The module `sounddevice`.

    Raises:
        UsageError: it, or the library under it, is not installed.
    """
    try:
        import sounddevice
    except ImportError:
        raise UsageError(NO_PACKAGE) from None
    except OSError:
        raise UsageError(NO_LIBRARY) from None
    return sounddevice


def listing() -> str:
    """The machine's devices, one a line; > marks the microphone and < the loudspeaker taken by default.

    Raises:
        UsageError: no PortAudio, or no devices.
    """
    found = portaudio().query_devices()
    if not len(found):
        raise UsageError("talk: this machine has no sound devices; give --in and --out files instead")
    return str(found)
