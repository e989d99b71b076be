"""Sources of caller audio: recorded human prompts, a synthetic voice, and the user's own files; all 8 kHz mono.

The agent's package fetches the prompts and runs the synthetic voice, so they are requested from it as a subprocess.
"""

from __future__ import annotations

import hashlib
import json
import os
import shlex
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import soundfile
from turngap_agent import documents
from turngap_agent.errors import EngineError, ScenarioError, TurngapError, WeightsError
from turngap_agent.telephony import SAMPLE_RATE

from turngap.model.records import Pcm16
from turngap.processes import child
from turngap.scenario.model import describe_missing_file

OnProgress = Callable[[str], None]
"""Takes a line of progress."""

PROMPTS = "asterisk-prompts"
PROMPTS_SOURCE = "recorded human prompts, Debian's asterisk-core-sounds-en-wav (CC-BY-SA-3.0)"
SYNTHETIC = "hibari-tts"
SYNTHETIC_SOURCE = "synthetic voice, hibari-tts"
READABLE = "WAV, FLAC, Ogg, MP3, AIFF, AU and CAF"
"""The common formats among those that libsndfile reads."""


@dataclass(frozen=True, slots=True)
class SourceAudio:
    """Audio as its source provides it."""

    pcm: Pcm16
    """Shape (n,), 8 kHz."""
    transcript: str | None
    source: str
    synthetic: bool


class PromptLibrary:
    """The recorded prompts in a folder: `wav/NAME.wav`, and `transcripts.txt` with a line `NAME: words` for each."""

    def __init__(self, folder: Path) -> None:
        self._wav = folder / "wav"
        self._transcripts = {}
        for line in (folder / "transcripts.txt").read_text("utf-8", "replace").splitlines():
            name, colon, words = line.partition(":")
            if colon and not line.startswith(";"):
                self._transcripts[name.strip()] = " ".join(words.split())

    @classmethod
    def fetch(cls, on_progress: OnProgress) -> PromptLibrary:
        """Fetch the prompts, unless they are cached.

        Raises:
            WeightsError: they cannot be fetched; one line with the reason.
        """
        answer = run_agent_command(["weights", "path", PROMPTS, "--json"], WeightsError, on_progress)
        return cls(Path(json.loads(answer)["path"]))

    def list_names(self) -> list[str]:
        """Return the names of all prompts that have a transcript, sorted."""
        return sorted(name for name in self._transcripts if name in self)

    def __contains__(self, name: str) -> bool:
        return (self._wav / f"{name}.wav").is_file()

    def get_transcript(self, name: str) -> str | None:
        """Return the words of a prompt, or None if they are not known."""
        return self._transcripts.get(name)

    def read(self, name: str) -> SourceAudio:
        """Read one prompt with its transcript.

        Raises:
            ScenarioError: there is no prompt of that name (`scenario.prompt`).
        """
        if name not in self:
            hint = documents.suggest(name, self.list_names())
            raise ScenarioError(f"there is no recorded prompt {name!r}{hint}", code="scenario.prompt")
        path = self._wav / f"{name}.wav"
        return SourceAudio(read_audio(path), self._transcripts.get(name), PROMPTS_SOURCE, synthetic=False)


def synthesise(text: str, on_progress: OnProgress) -> SourceAudio:
    """Return `text` spoken by the synthetic voice; the audio is cached by the text.

    Raises:
        EngineError: the voice cannot be run here; one line with the reason.
    """
    folder = _cache_folder() / "say"
    path = folder / (hashlib.sha256(f"{SYNTHETIC}\n{text}".encode()).hexdigest()[:24] + ".wav")
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        on_progress(f"the synthetic voice says: {text}")
        run_agent_command(["say", "--speech-only", "--out", str(path), "--", text], EngineError, on_progress)
    return SourceAudio(read_audio(path), text, SYNTHETIC_SOURCE, synthetic=True)


def load_recording(path: Path) -> SourceAudio:
    """Read the user's own audio file.

    Raises:
        ScenarioError: it cannot be read.
    """
    return SourceAudio(read_audio(path), None, f"recording {path.name}", synthetic=False)


def read_audio(path: Path) -> Pcm16:
    """Read an audio file as mono at 8 kHz, shape (n,); channels are averaged, other rates resampled (soxr, HQ).

    Raises:
        ScenarioError: as `read_mono`.
    """
    return to_telephone_rate(*read_mono(path))


def read_mono(path: Path) -> tuple[npt.NDArray[np.float64], int]:
    """Read an audio file at its own rate: samples of full scale ±1, shape (n,), channels averaged; and the rate in Hz.

    Raises:
        ScenarioError: as `read_sound_file`, or samples are not finite, or the rate is under 8 kHz (`scenario.audio`).
    """
    audio, rate = read_sound_file(path, "float64")
    if rate < SAMPLE_RATE:
        raise ScenarioError(
            f"{path}: its rate of {rate} Hz is less than a telephone carries; record at {SAMPLE_RATE} Hz or more",
            code="scenario.audio",
        )
    mono = audio.mean(axis=1) if len(audio) else np.zeros(0)
    if not np.isfinite(mono).all():
        raise ScenarioError(f"{path}: some of its samples are nan or infinite; export it again", code="scenario.audio")
    return mono, rate


def to_telephone_rate(mono: npt.NDArray[np.float64], rate: int) -> Pcm16:
    """Return samples of full scale ±1, shape (n,), at 8 kHz."""
    if rate != SAMPLE_RATE and len(mono):
        import librosa  # takes a second to import, and prompts do not need it

        mono = librosa.resample(mono, orig_sr=rate, target_sr=SAMPLE_RATE, res_type="soxr_hq")
    return np.clip(np.rint(mono * 32_768), -32_768, 32_767).astype(np.int16)


def read_sound_file(path: Path, dtype: Literal["float32", "float64"]) -> tuple[npt.NDArray[Any], int]:
    """Return the samples of an audio file, full scale ±1, shape (n, channels), and its rate in Hz.

    Raises:
        ScenarioError: there is no such file, or it is not in a readable format; the message names the readable ones
            and the command that converts it (`scenario.audio`).
    """
    if not path.is_file():
        raise ScenarioError(f"{describe_missing_file(path)}", code="scenario.audio")
    try:
        samples, rate = soundfile.read(path, dtype=dtype, always_2d=True)
    except (soundfile.LibsndfileError, OSError) as error:
        reason = getattr(error, "error_string", "") or getattr(error, "strerror", "") or str(error)
        target = path.with_name(f"{path.stem}-converted.wav") if path.suffix == ".wav" else path.with_suffix(".wav")
        raise ScenarioError(
            f"{path} cannot be read as audio ({reason.strip().rstrip('.')}); {READABLE} can be read; to convert it: "
            + shlex.join(["ffmpeg", "-i", str(path), str(target)]),
            code="scenario.audio",
        ) from None
    return samples, int(rate)


def run_agent_command(arguments: Sequence[str], error_type: type[TurngapError], on_progress: OnProgress) -> str:
    """Run `python -m turngap_agent ARGUMENTS`; return its output. Its progress lines go to `on_progress`.

    Raises:
        TurngapError: (the given class) the command failed; the message is the command's own.
    """
    reason = f"`python -m turngap_agent {arguments[0]}` failed"
    process = subprocess.Popen(
        child.python_command("turngap_agent", *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=child.plain_environment(fetches=True),
        text=True,
    )
    with process:
        assert process.stderr is not None
        assert process.stdout is not None
        for line in process.stderr:
            text = line.strip().removeprefix("turngap: ")
            if text.startswith("error: "):
                reason = text.removeprefix("error: ")
            elif text:
                on_progress(text)
        answer = process.stdout.read()
    if process.returncode != 0:
        raise error_type(reason)
    return answer


def _cache_folder() -> Path:
    """Return the folder in which the agent caches its weights."""
    if own := os.environ.get("TURNGAP_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "turngap"
