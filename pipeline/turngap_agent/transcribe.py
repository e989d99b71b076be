"""`python -m turngap_agent.transcribe`: the words in recorded audio with their times, for the instrument.

The instrument never shares an interpreter with an engine, so it starts this process once its calls have ended. In, one
JSON line a recording: {"wav": file, "channel": number, "start_s": from, "end_s": to}. Out, first {"event": "ready",
"model": name} or {"error": why, "code": "missing" or "failed"}; then one line for each recording, in order: {"words":
[{"text", "start_ms", "end_ms"}], "voice": [[start_ms, end_ms]]}, ms from `start_s`; `voice` is what a detector finds.

Whisper hears words in tones and noise. A segment counts only if the model is sure enough of speech and words, and a
word only where a voice activity detector finds speech.
"""

from __future__ import annotations

import json
import sys
from typing import TYPE_CHECKING, Any

import numpy as np
import soundfile

from turngap_agent import weights
from turngap_agent.errors import TurngapError, WeightsError, one_line
from turngap_agent.resample import to_16k
from turngap_agent.stt import AudioF32
from turngap_agent.telephony import SAMPLE_RATE

if TYPE_CHECKING:
    from faster_whisper import WhisperModel

MODEL = "whisper-tiny.en"
"""That of the profile `cpu`: where it was used once, it is cached."""
INSTALL = "pip install 'turngap[cpu]' && turngap weights pull whisper-tiny.en"
MAX_NO_SPEECH = 0.6
MIN_LOG_PROBABILITY = -1.0
"""Mean of a segment's tokens."""
MAX_COMPRESSION = 2.4
"""Text that compresses better repeats itself."""
VOICE_THRESHOLD = 0.5
HEAD_S, TAIL_S = 0.3, 0.7
"""Silence around the recording: the model misses words at the very edge."""
_WIDE_RATE = 2 * SAMPLE_RATE
_VOICE_MARGIN_MS = 150.0


class Transcriber:
    """The recogniser, loaded once."""

    def __init__(self) -> None:
        """Load the model.

        Raises:
            ImportError: faster-whisper is not installed.
            WeightsError: the model has not been fetched: nothing is fetched beside a measurement, nobody waits for it.
        """
        from faster_whisper import WhisperModel

        status = next(status for status in weights.list_all() if status.pin.name == MODEL)
        if not status.cached or status.problem:
            raise WeightsError(status.problem or f"{MODEL} has not been fetched")
        self._model: WhisperModel = WhisperModel(
            str(weights.get(MODEL)), device="cpu", compute_type="int8", cpu_threads=2
        )

    def listen(self, audio: AudioF32) -> dict[str, Any]:
        """Return the answer to a request for 8 kHz mono `audio`, shape (n,): its words, and where there is voice."""
        head = round(HEAD_S * SAMPLE_RATE)
        wide = to_16k(np.pad(audio, (head, round(TAIL_S * SAMPLE_RATE))))
        voiced = find_voice(wide)
        words = self._find_words(wide, voiced) if voiced else []
        return {"words": words, "voice": [(start - 1000 * HEAD_S, end - 1000 * HEAD_S) for start, end in voiced]}

    def transcribe(self, audio: AudioF32) -> list[dict[str, Any]]:
        """Return the words in 8 kHz mono `audio`, shape (n,)."""
        words: list[dict[str, Any]] = self.listen(audio)["words"]
        return words

    def _find_words(self, wide: AudioF32, voiced: list[tuple[float, float]]) -> list[dict[str, Any]]:
        segments, _ = self._model.transcribe(
            wide,
            language="en",
            beam_size=1,
            temperature=0.0,
            condition_on_previous_text=False,
            word_timestamps=True,
            vad_filter=False,
        )
        words = []
        for segment in segments:
            if (
                segment.no_speech_prob > MAX_NO_SPEECH
                or segment.avg_logprob < MIN_LOG_PROBABILITY
                or segment.compression_ratio > MAX_COMPRESSION
            ):
                continue
            for word in segment.words or ():
                start_ms, end_ms = 1000 * word.start, 1000 * word.end
                text = word.word.strip()
                if any(letter.isalnum() for letter in text) and _overlaps(voiced, start_ms, end_ms):
                    words.append({"text": text, "start_ms": start_ms - 1000 * HEAD_S, "end_ms": end_ms - 1000 * HEAD_S})
        return words


def find_voice(wide: AudioF32) -> list[tuple[float, float]]:
    """Return start and end, ms, of each piece of 16 kHz audio in which somebody speaks."""
    from faster_whisper.vad import VadOptions, get_speech_timestamps

    options = VadOptions(
        threshold=VOICE_THRESHOLD, min_speech_duration_ms=64, min_silence_duration_ms=100, speech_pad_ms=30
    )
    pieces = get_speech_timestamps(wide, options, sampling_rate=_WIDE_RATE)
    return [(1000 * piece["start"] / _WIDE_RATE, 1000 * piece["end"] / _WIDE_RATE) for piece in pieces]


def _overlaps(voiced: list[tuple[float, float]], start_ms: float, end_ms: float) -> bool:
    return any(start_ms < end + _VOICE_MARGIN_MS and end_ms > start - _VOICE_MARGIN_MS for start, end in voiced)


def read_audio(request: dict[str, Any]) -> AudioF32:
    """Return the piece of a recording that a request names: mono, 8 kHz, shape (n,).

    Raises:
        soundfile.LibsndfileError: the file cannot be read.
    """
    first, beyond = (round(float(request[key]) * SAMPLE_RATE) for key in ("start_s", "end_s"))
    pcm, _ = soundfile.read(
        request["wav"], start=max(0, first), stop=max(first, beyond), dtype="float32", always_2d=True
    )
    return np.asarray(pcm[:, int(request.get("channel", 0))], np.float32)


def _answer(line: str, transcriber: Transcriber) -> dict[str, Any]:
    try:
        return transcriber.listen(read_audio(json.loads(line)))
    except (soundfile.LibsndfileError, RuntimeError, ValueError, KeyError, IndexError) as error:
        return {"error": f"{type(error).__name__}: {one_line(error)}"}


def main() -> None:
    """Answer the requests on stdin until it ends."""
    out = sys.stdout
    try:
        transcriber = Transcriber()
    except ImportError as error:
        hello = {"error": f"faster-whisper is not installed ({error}): {INSTALL}", "code": "missing"}
        print(json.dumps(hello), file=out, flush=True)
        return
    except (TurngapError, RuntimeError, OSError) as error:
        hello = {"error": f"{one_line(error)}: {INSTALL}", "code": "failed"}
        print(json.dumps(hello), file=out, flush=True)
        return
    print(json.dumps({"event": "ready", "model": MODEL}), file=out, flush=True)
    for line in sys.stdin:
        print(json.dumps(_answer(line, transcriber)), file=out, flush=True)


if __name__ == "__main__":
    main()
