"""The source of a person's voice and the sink of the agent's: a sound card, or files at the pace of one.

`sounddevice` and the PortAudio library are needed for a sound card only, and imported for it only.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile
from turngap_agent import files
from turngap_agent.errors import ScenarioError, UsageError, write_error
from turngap_agent.telephony import SAMPLE_RATE

from turngap.clock import Clock
from turngap.corpus.audio_sources import read_sound_file
from turngap.model.plural import plural
from turngap.talk.resampling import Samples

BLOCK_MS = 10
OnBlock = Callable[[Samples, int], object]
"""Called in the event loop with a block, full scale ±1, shape (n,), and the time of its last sample, in ns."""
TakeBlock = Callable[[int], Samples]
"""Called on any thread with n; returns the next n samples to be played, shape (n,); must not block."""

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
    """The time from the request of a block until it is heard, as the device reports it."""

    @property
    def exhausted(self) -> bool:
        """Whether there is no more input."""
        ...

    async def start(self, on_block: OnBlock, take_block: TakeBlock) -> None:
        """Run until `stop` is called."""
        ...

    async def stop(self) -> None:
        """Stop; harmless if it does not run."""
        ...


class FileDevice:
    """Plays an audio file to the agent in real time, then silence; writes what a loudspeaker would have played."""

    def __init__(self, input_file: Path, output_file: Path, clock: Clock) -> None:
        """Reads `input_file` now.

        Raises:
            UsageError: it cannot be read, is empty or under 8 kHz, or `output_file` cannot be written (`usage.audio`,
                `usage.output`).
        """
        if output_file.resolve() == input_file.resolve():
            raise UsageError(f"--out {output_file}: that is the file of --in; give another file", code="usage.output")
        try:
            audio, rate = read_sound_file(input_file, "float32")
        except ScenarioError as error:
            raise UsageError(f"--in: {error}", code="usage.audio") from None
        if not len(audio) or rate < SAMPLE_RATE:
            raise UsageError(
                f"--in {input_file}: it has {plural(len(audio), 'sample')} at {rate} Hz; give audio at {SAMPLE_RATE} "
                "Hz or more",
                code="usage.audio",
            )
        files.check_writable(output_file, "--out")
        self._input: Samples = audio.mean(axis=1)
        self._played: list[Samples] = []
        self._output_file, self._clock = output_file, clock
        self._at = 0
        self._task: asyncio.Task[None] | None = None
        self.rate = rate
        self.description = f"{input_file} in real time; the agent's audio is written to {output_file}"
        self.output_latency_ms = 0.0

    @property
    def exhausted(self) -> bool:
        """Whether the whole file was played."""
        return self._at >= len(self._input)

    async def start(self, on_block: OnBlock, take_block: TakeBlock) -> None:
        """Start with the file's first sample, now."""
        self._task = asyncio.create_task(self._run(on_block, take_block), name="file device")

    async def stop(self) -> None:
        """Stop, and write what was played.

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
            soundfile.write(self._output_file, played, self.rate, subtype="PCM_16", format="WAV")
        except OSError as error:
            raise write_error(f"--out {self._output_file}: the audio cannot be written", error) from None
        except soundfile.SoundFileError as error:
            raise UsageError(f"--out {self._output_file}: the audio cannot be written ({error})") from None

    async def _run(self, on_block: OnBlock, take_block: TakeBlock) -> None:
        start_ns, samples = self._clock.now_ns(), self.rate * BLOCK_MS // 1000
        while True:
            end = self._at + samples
            due_ns = start_ns + end * 1_000_000_000 // self.rate
            await self._clock.sleep_until_ns(due_ns)
            block = self._input[self._at : end]
            self._at = end
            on_block(np.pad(block, (0, samples - len(block))), due_ns)
            self._played.append(take_block(samples))


class SoundDevice:
    """This computer's microphone and loudspeaker, through PortAudio."""

    def __init__(self, microphone: str | None, loudspeaker: str | None, clock: Clock) -> None:
        """Devices are chosen by number or a part of their names; None takes the computer's default.

        Raises:
            UsageError: no PortAudio, no such device, or none at all.
        """
        self._portaudio = import_sounddevice()
        self._devices = (self._find(microphone, "input"), self._find(loudspeaker, "output"))
        self._clock = clock
        self._stream: Any = None
        self.rate = int(self._devices[0]["default_samplerate"])
        self.description = " and ".join(str(device["name"]) for device in self._devices)
        self.output_latency_ms = 0.0

    @property
    def exhausted(self) -> bool:
        """Always False: a person may always say more."""
        return False

    async def start(self, on_block: OnBlock, take_block: TakeBlock) -> None:
        """Open both devices.

        Raises:
            UsageError: they cannot be opened together.
        """
        loop = asyncio.get_running_loop()

        def on_portaudio_block(recorded: Any, played: Any, frames: int, times: Any, _: object) -> None:
            # Runs in PortAudio's own thread. Its clock has another zero: only differences of its times are used.
            now_ns = self._clock.now_ns()
            age_s = times.currentTime - times.inputBufferAdcTime if times.inputBufferAdcTime else frames / self.rate
            spoken_ns = now_ns - round(max(0.0, age_s - frames / self.rate) * 1e9)
            with contextlib.suppress(RuntimeError):  # the loop is closed: the call is over
                loop.call_soon_threadsafe(on_block, np.array(recorded[:, 0], np.float32), spoken_ns)
            played[:, 0] = take_block(frames)

        try:
            self._stream = self._portaudio.Stream(
                samplerate=self.rate,
                blocksize=self.rate * BLOCK_MS // 1000,
                device=tuple(device["index"] for device in self._devices),
                channels=1,
                dtype="float32",
                latency="low",
                callback=on_portaudio_block,
            )
            self._stream.start()
        except (self._portaudio.PortAudioError, ValueError) as error:
            raise UsageError(f"talk: {self.description}: cannot be opened at {self.rate} Hz ({error})") from None
        self.output_latency_ms = float(self._stream.latency[1]) * 1000

    async def stop(self) -> None:
        """Close both devices."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def _find(self, choice: str | None, kind: str) -> dict[str, Any]:
        number_or_name = int(choice) if choice is not None and choice.isdecimal() else choice
        try:
            device: dict[str, Any] = self._portaudio.query_devices(number_or_name, kind)
        except (self._portaudio.PortAudioError, ValueError) as error:
            name = "microphone" if kind == "input" else "loudspeaker"
            if choice is None:
                raise UsageError(
                    f"talk: this machine has no {name}; give --in and --out files instead", code="usage.device"
                ) from None
            raise UsageError(
                f"--{kind}-device {choice!r}: {error}; list the devices with: turngap talk --list-devices",
                code="usage.device",
            ) from None
        return device


def import_sounddevice() -> Any:
    """Return the module `sounddevice`.

    Raises:
        UsageError: it, or the PortAudio library, is not installed (`usage.sounddevice`).
    """
    try:
        import sounddevice
    except ImportError:
        raise UsageError(NO_PACKAGE, code="usage.sounddevice") from None
    except OSError:
        raise UsageError(NO_LIBRARY, code="usage.sounddevice") from None
    return sounddevice


def describe_devices() -> str:
    """Return the machine's devices, one a line; > marks the default microphone and < the default loudspeaker.

    Raises:
        UsageError: no PortAudio, or no devices.
    """
    devices = import_sounddevice().query_devices()
    if not len(devices):
        raise UsageError(
            "talk: this machine has no sound devices; give --in and --out files instead", code="usage.device"
        )
    return str(devices)
