"""Speech from a program's stdout, in pieces as it arrives, with trimmed silences."""

from __future__ import annotations

import asyncio
import subprocess
import tempfile
from collections.abc import AsyncGenerator, Iterator

import numpy as np
from turngap_agent import worker
from turngap_agent.errors import EngineError
from turngap_agent.tts import AudioF32, ContextUtterance
from turngap_agent.tts.trim import SilenceTrimmer

from turngap_engine_command import CommandSettings

PIECE_S = 0.1
WAV_HEADER_BYTES = 44


class CommandSynthesizer:
    """One program at a time; clauses of several calls wait for each other."""

    def __init__(self, settings: CommandSettings) -> None:
        self._settings = settings
        self._executor = worker.make_thread("tts", settings.cores)

    @property
    def sample_rate(self) -> int:
        """Of the audio that `speak` yields."""
        return self._settings.sample_rate

    def describe(self) -> str:
        """One line for the ready message and the report."""
        return f"command {self._settings.command[0]}, {self.sample_rate:,} Hz"

    async def warm_up(self) -> None:
        """Speak one clause to nobody."""
        async for _ in self.speak("Hello, how may I help you?"):
            pass

    def speak(self, text: str, context: tuple[ContextUtterance, ...] = ()) -> AsyncGenerator[AudioF32, None]:
        """`text` as audio, in pieces as the program writes them. Closing the generator ends the program.

        Raises:
            EngineError: the program cannot be started, or failed; the turn is lost, the call is not.
        """
        return worker.iterate(self._executor, lambda: self._pieces(text))

    async def close(self) -> None:
        """Free the thread."""
        await asyncio.to_thread(self._executor.shutdown)

    def _pieces(self, text: str) -> Iterator[AudioF32]:
        name = self._settings.command[0]
        trimmer = SilenceTrimmer(self.sample_rate)
        with tempfile.TemporaryFile() as messages:
            try:
                process = subprocess.Popen(
                    self._settings.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=messages
                )
            except OSError as error:
                raise EngineError(f"tts: {name} cannot be started: {error.strerror}; correct tts.command") from error
            try:
                for pcm in _read(process, text, 2 * round(PIECE_S * self.sample_rate)):
                    yield trimmer.push(np.frombuffer(pcm, "<i2").astype(np.float32) / np.float32(32_768))
                yield trimmer.flush()
                if process.wait() != 0:
                    messages.seek(0)
                    reason = messages.read().decode("utf-8", "replace").strip().rpartition("\n")[2]
                    raise EngineError(f"tts: {name} failed with exit code {process.returncode} ({reason})")
            finally:
                process.kill()
                process.wait()


def _read(process: subprocess.Popen[bytes], text: str, size: int) -> Iterator[bytes]:
    """Write `text` to the program, and yield what it writes: `size` bytes at a time, an even number in the end."""
    assert process.stdin is not None
    assert process.stdout is not None
    with process.stdin as stdin, process.stdout as stdout:
        try:
            stdin.write(text.encode())
            stdin.close()
        except BrokenPipeError:
            pass  # its exit code tells
        head = stdout.read(WAV_HEADER_BYTES)
        if not head.startswith(b"RIFF"):
            yield head[: len(head) // 2 * 2]
        while piece := stdout.read(size):
            yield piece[: len(piece) // 2 * 2]
