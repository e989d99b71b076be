"""A synthesiser that is any program. This module declares the engine; `engine` is the engine."""

from __future__ import annotations

import shutil
from typing import Literal

from pydantic import Field
from turngap_agent.engines import CoreSettings, LoadedEngine, TtsSettings


class CommandSettings(TtsSettings, CoreSettings):
    """Speaks through a program that reads a clause on stdin and writes 16-bit mono PCM, or a WAV file, to stdout."""

    install = "turngap-engine-command"

    engine: Literal["command"]
    command: tuple[str, ...] = Field(("espeak-ng", "--stdout"), min_length=1)
    sample_rate: int = Field(22_050, ge=8_000, le=48_000)
    """Of what it writes."""

    def build(self) -> LoadedEngine:
        """The engine; the program starts anew for each clause."""
        from turngap_engine_command.engine import CommandSynthesizer

        return CommandSynthesizer(self)

    def machine_problem(self) -> str | None:
        """The program is not installed."""
        if shutil.which(self.command[0]) is not None:
            return None
        return f"tts: {self.command[0]} is not installed; install it, or name another program in tts.command"
