"""Where caller audio comes from: recorded human prompts, a synthetic voice, and the user's own files; all 8 kHz mono.

Prompts and the synthetic voice are the pipeline's to fetch and to run, so they are asked for as a subprocess.
"""

from __future__ import annotations

import difflib
import hashlib
import json
import os
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soundfile
from turngap_agent.errors import EngineError, ScenarioError, TurngapError, WeightsError
from turngap_agent.telephony import SAMPLE_RATE

from turngap.model.records import Pcm16
from turngap.processes import child

Report = Callable[[str], None]
"""Takes a line of progress."""

PROMPTS = "asterisk-prompts"
PROMPTS_SOURCE = "recorded human prompts, Debian's asterisk-core-sounds-en-wav (CC-BY-SA-3.0)"
SYNTHETIC = "hibari-tts"
SYNTHETIC_SOURCE = "synthetic voice, hibari-tts"


@dataclass(frozen=True, slots=True)
class Utterance:
    """Audio as it came from its source."""

    pcm: Pcm16
    """Shape (n,), 8 kHz."""
    transcript: str | None
    source: str
    synthetic: bool


class Prompts:
    """The recorded prompts in their folder: `wav/NAME.wav`, and `transcripts.txt` with a line `NAME: words` each."""

    def __init__(self, folder: Path) -> None:
        self._wav = folder / "wav"
        self._transcripts = {}
        for line in (folder / "transcripts.txt").read_text("utf-8", "replace").splitlines():
            name, colon, words = line.partition(":")
            if colon and not line.startswith(";"):
                self._transcripts[name.strip()] = " ".join(words.split())

    @classmethod
    def fetch(cls, report: Report) -> Prompts:
        """Have them fetched, unless they are cached.

        Raises:
            WeightsError: they are not to be had; one line why.
        """
        answer = run_pipeline(["weights", "path", PROMPTS, "--json"], WeightsError, report)
        return cls(Path(json.loads(answer)["path"]))

    def names(self) -> list[str]:
        """All prompts that have a transcript, sorted."""
        return sorted(name for name in self._transcripts if (self._wav / f"{name}.wav").is_file())

    def transcript(self, name: str) -> str | None:
        """The words of a prompt, None where they are not known."""
        return self._transcripts.get(name)

    def get(self, name: str) -> Utterance:
        """One prompt with its transcript.

        Raises:
            ScenarioError: there is none of that name.
        """
        path = self._wav / f"{name}.wav"
        if not path.is_file():
            near = difflib.get_close_matches(name, self.names(), n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise ScenarioError(f"no prompt {name!r} among the recorded ones{hint}")
        return Utterance(read_audio(path), self._transcripts.get(name), PROMPTS_SOURCE, synthetic=False)


def speak(text: str, report: Report) -> Utterance:
    """The synthetic voice saying `text`, cached by the text.

    Raises:
        EngineError: the voice cannot be run here; one line why.
    """
    folder = _cache() / "say"
    path = folder / (hashlib.sha256(f"{SYNTHETIC}\n{text}".encode()).hexdigest()[:24] + ".wav")
    if not path.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        report(f"the synthetic voice says: {text}")
        run_pipeline(["say", "--out", str(path), "--", text], EngineError, report)
    return Utterance(read_audio(path), text, SYNTHETIC_SOURCE, synthetic=True)


def recording(path: Path) -> Utterance:
    """The user's own WAV or FLAC file.

    Raises:
        ScenarioError: it cannot be read.
    """
    return Utterance(read_audio(path), None, f"recording {path.name}", synthetic=False)


def read_audio(path: Path) -> Pcm16:
    """A sound file as mono at 8 kHz, shape (n,); channels are averaged, other rates resampled (soxr, high quality).

    Raises:
        ScenarioError: it is missing, no sound file that can be read, or holds less than telephone band.
    """
    if not path.is_file():
        raise ScenarioError(f"{path}: no such file; give the path of a sound file (WAV, FLAC, Ogg)")
    try:
        audio, rate = soundfile.read(path, dtype="float64", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as fault:
        raise ScenarioError(f"{path}: cannot be read as audio ({' '.join(str(fault).split())})") from None
    if rate < SAMPLE_RATE:
        raise ScenarioError(f"{path}: {rate} Hz is less than a telephone carries; record at {SAMPLE_RATE} Hz or more")
    mono = audio.mean(axis=1) if len(audio) else np.zeros(0)
    if not np.isfinite(mono).all():
        raise ScenarioError(f"{path}: some of its samples are no numbers (nan or infinite); write it again")
    if rate != SAMPLE_RATE and len(mono):
        import librosa  # takes a second to import, and prompts do not need it

        mono = librosa.resample(mono, orig_sr=rate, target_sr=SAMPLE_RATE, res_type="soxr_hq")
    return np.clip(np.rint(mono * 32_768), -32_768, 32_767).astype(np.int16)


def run_pipeline(arguments: Sequence[str], error: type[TurngapError], report: Report) -> str:
    """What `python -m turngap_agent ARGUMENTS` prints; its other lines go to `report` as they come.

    Raises:
        TurngapError: (the given class) it failed; the message is its own.
    """
    reason = f"`python -m turngap_agent {arguments[0]}` failed"
    process = subprocess.Popen(
        child.python("turngap_agent", *arguments),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
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
                report(text)
        answer = process.stdout.read()
    if process.returncode != 0:
        raise error(reason)
    return answer


def _cache() -> Path:
    """The same folder as the pipeline's weights."""
    if own := os.environ.get("TURNGAP_CACHE"):
        return Path(own)
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "turngap"
