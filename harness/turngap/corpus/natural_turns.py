"""The turns of a corpus with their audio: the stretch of the recording around each, one channel, 8 kHz."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
import soundfile
from turngap_agent.errors import ScenarioError
from turngap_agent.telephony import SAMPLE_RATE

from turngap.corpora.opening import open_corpus
from turngap.corpora.table import CorpusTable, TableRow, TableWord, cite
from turngap.corpus.audio_sources import read_sound_file
from turngap.corpus.concatenation import HEAD_SAMPLES, normalise
from turngap.corpus.recording_floor import make_floor_loop
from turngap.model.records import Clip, LabelSource, Pcm16
from turngap.scenario.turn import PAUSE_MS, Excerpt

HEAD_MS = 300.0
TAIL_MS = 500.0
"""So much of the recording is read before and after the turn, where it has so much."""
_MARGIN_MS = 20.0
"""More is read for the resampler, and cut again: its filter rings at the edges."""


@dataclass(frozen=True, slots=True)
class NaturalTurn:
    """One turn with its audio; samples and times count from the start of `pcm`."""

    id: str
    pcm: Pcm16
    """The turn's channel from 300 ms before its start to 500 ms after its end, or the file's, shape (n,), 8 kHz."""
    start_sample: int
    end_sample: int
    """The end of the turn, t0: speech is before it."""
    uncertainty_ms: float
    """How far the true end may be from there, either way."""
    pauses: tuple[tuple[int, int], ...]
    """Pauses of 200 ms and more inside the turn: (start_sample, end_sample)."""
    words: tuple[TableWord, ...]
    text: str
    speaker: str
    question: str
    """What the agent had said before; "" where it is not known."""
    licence: str
    source: str
    """Source and licence, as they are cited."""


@dataclass(frozen=True, slots=True)
class NaturalCorpus:
    """A corpus with its audio."""

    name: str
    turns: tuple[NaturalTurn, ...]
    sources: tuple[str, ...]
    """Source and licence of the turns, each once."""


def load_corpus(name_or_path: str | Path, rows: Iterable[TableRow] | None = None) -> NaturalCorpus:
    """Read a corpus, pinned or at a path, with the audio of its `rows` (all by default).

    Raises:
        UsageError: there is no such corpus, or its table has faults.
        ScenarioError: an audio file cannot be read, or ends before a turn does (`scenario.audio`).
    """
    table = open_corpus(str(name_or_path) if not isinstance(name_or_path, Path) else f"{name_or_path.absolute()}")
    chosen = tuple(table.rows if rows is None else rows)
    turns = tuple(read_turn(table, row) for row in chosen)
    return NaturalCorpus(table.name, turns, tuple(sorted({cite(row) for row in chosen})))


def read_turn(table: CorpusTable, row: TableRow) -> NaturalTurn:
    """Read the audio of one row.

    Raises:
        ScenarioError: as `load_corpus`.
    """
    try:
        pcm, first_ms = read_stretch(
            table.locate(row), row.channel, row.start_ms - HEAD_MS, row.end_ms, row.end_ms + TAIL_MS
        )
    except ScenarioError as error:
        raise ScenarioError(f"{row.place}: {error}", code=error.code) from None

    def to_sample(ms: float) -> int:
        return min(len(pcm), max(0, round((ms - first_ms) * SAMPLE_RATE / 1000)))

    return NaturalTurn(
        id=row.id,
        pcm=pcm,
        start_sample=to_sample(row.start_ms),
        end_sample=to_sample(row.end_ms),
        uncertainty_ms=row.stated_uncertainty_ms,
        pauses=tuple((to_sample(start), to_sample(end)) for start, end in row.pauses),
        words=tuple(
            TableWord(word.text, max(0.0, word.start_ms - first_ms), max(0.0, word.end_ms - first_ms))
            for word in row.words
        ),
        text=row.transcript,
        speaker=row.speaker,
        question=row.question,
        licence=row.licence,
        source=cite(row),
    )


def make_excerpt_clip(clip_id: str, excerpt: Excerpt, transcript: str | None) -> Clip:
    """Return the clip of a turn inside a recording: at level, cut at its known end, with its noise floor as the bed.

    The end's stated uncertainty is the label's move. Without the floor as its bed the noise of the recording would stop
    with the speech, and any detector would find the end.

    Raises:
        ScenarioError: the recording can't be read, or ends before the turn does (`scenario.audio`).
    """
    try:
        pcm, first_ms = read_stretch(
            excerpt.file, excerpt.channel, excerpt.start_ms - HEAD_MS, excerpt.end_ms, excerpt.end_ms + TAIL_MS
        )
    except ScenarioError as error:
        raise ScenarioError(f"{excerpt.place}: {error}" if excerpt.place else str(error), code=error.code) from None

    def to_sample(ms: float) -> int:
        return min(len(pcm), max(0, round((ms - first_ms) * SAMPLE_RATE / 1000)))

    start, end = to_sample(excerpt.start_ms), to_sample(excerpt.end_ms)
    levelled = normalise(pcm)
    head = max(0, start - HEAD_SAMPLES)
    pauses = [(to_sample(first), to_sample(beyond)) for first, beyond in excerpt.pauses_ms]
    return Clip(
        clip_id=clip_id,
        pcm=levelled[head:end],
        speech_start_sample=start - head,
        transcript=transcript,
        label_low_ms=excerpt.uncertainty_ms,
        label_high_ms=-excerpt.uncertainty_ms,
        source=excerpt.source or f"recording {excerpt.file.name}",
        synthetic=False,
        pauses=tuple((a - head, b - head) for a, b in pauses if b - a >= PAUSE_MS * SAMPLE_RATE // 1000),
        bed=make_floor_loop(levelled, end - head, clip_id),
        label_source=LabelSource(excerpt.label_source),
    )


def read_stretch(path: Path, channel: int, start_ms: float, needed_ms: float, end_ms: float) -> tuple[Pcm16, float]:
    """Return one channel of a recording from `start_ms` to `end_ms`, at 8 kHz, and the time of its first sample.

    Only that stretch is read. Where the file begins later or ends earlier, the stretch does; it must have `needed_ms`.

    Raises:
        ScenarioError: the file cannot be read, has no such channel, ends before `needed_ms`, or its rate is under 8 kHz
            (`scenario.audio`).
    """
    samples, rate, first_ms = read_samples(path, channel, start_ms - _MARGIN_MS, needed_ms, end_ms + _MARGIN_MS)
    if rate != SAMPLE_RATE and len(samples):
        import librosa  # takes a second to import, and audio at 8 kHz does not need it

        samples = librosa.resample(samples, orig_sr=rate, target_sr=SAMPLE_RATE, res_type="soxr_hq")
    cut = max(0, round((start_ms - first_ms) * SAMPLE_RATE / 1000))
    kept = samples[cut : cut + max(0, round((end_ms - max(0.0, start_ms)) * SAMPLE_RATE / 1000))]
    pcm: Pcm16 = np.clip(np.rint(kept * 32_768), -32_768, 32_767).astype(np.int16)
    return pcm, first_ms + cut * 1000 / SAMPLE_RATE


def read_samples(
    path: Path, channel: int, start_ms: float, needed_ms: float, end_ms: float
) -> tuple[npt.NDArray[np.float64], int, float]:
    """Return one channel around `start_ms` to `end_ms`, full scale ±1, its rate, and the time of its first sample.

    That time is a multiple of 20 ms, where samples of all usual rates lie.

    Raises:
        ScenarioError: as `read_stretch`.
    """
    if not path.is_file():
        read_sound_file(path, "float32")  # raises the error that names the nearest file
    try:
        with soundfile.SoundFile(path) as file:
            rate, n_frames, n_channels = int(file.samplerate), int(file.frames), int(file.channels)
            if channel >= n_channels:
                raise _audio_error(f"{path}: there is no channel {channel}; it has {n_channels}, counted from 0")
            if rate < SAMPLE_RATE:
                raise _audio_error(f"{path}: its rate of {rate} Hz is less than a telephone carries")
            if n_frames < int(needed_ms * rate / 1000):
                raise _audio_error(
                    f"{path}: it is {n_frames / rate * 1000:,.0f} ms long, and the turn ends at {needed_ms:,.0f} ms"
                )
            first_ms = max(0, int(start_ms // 20)) * 20
            first = round(first_ms * rate / 1000)
            beyond = min(n_frames, round(end_ms * rate / 1000))
            file.seek(first)
            samples = file.read(beyond - first, dtype="float64", always_2d=True)[:, channel]
    except (soundfile.LibsndfileError, OSError) as error:
        reason = getattr(error, "error_string", "") or str(error)
        raise _audio_error(f"{path}: cannot be read as audio ({reason.strip().rstrip('.')})") from None
    if not np.isfinite(samples).all():
        raise _audio_error(f"{path}: some of its samples are nan or infinite; export it again")
    return samples, rate, float(first_ms)


def _audio_error(message: str) -> ScenarioError:
    return ScenarioError(message, code="scenario.audio")
