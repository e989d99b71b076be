"""Targets among users' files: label files, tables and archives of corpora, recordings."""

from __future__ import annotations

import functools
import io
import tarfile
import wave
import zipfile
from collections.abc import Sequence
from pathlib import Path

import librosa
import numpy as np
from turngap.annotations import PARSERS, read_annotations
from turngap.corpora import archive, reading
from turngap.corpus import audio_sources
from turngap.recordings import sound

from tests.fuzz.target import Target

librosa.resample(np.zeros(1600), orig_sr=16000, target_sr=8000, res_type="soxr_hq")  # its first use imports for seconds
_LABELS: dict[str, list[bytes]] = {
    ".txt": [b"0.5\t1.25\tspeech\n2.0\t3.0\thello there\n\\\t100\t200\n"],
    ".textgrid": [
        b'File type = "ooTextFile"\nObject class = "TextGrid"\n\nxmin = 0\nxmax = 2\ntiers? <exists>\n'
        b'size = 1\nitem []:\nitem [1]:\nclass = "IntervalTier"\nname = "words"\nxmin = 0\nxmax = 2\n'
        b'intervals: size = 1\nintervals [1]:\nxmin = 0.5\nxmax = 1.0\ntext = "hi"\n'
    ],
    ".rttm": [b"SPEAKER call 1 0.50 1.20 <NA> <NA> anna <NA> <NA>\n"],
    ".ctm": [b"call 1 0.50 0.20 hello 0.9\ncall 1 0.80 0.20 there\n"],
    ".stm": [b"call 1 anna 0.50 1.20 <o,f0> hello there\n"],
    ".csv": [b"start,end,text,speaker,channel\n0.5,1.2,hi,anna,0\n"],
    ".tsv": [b"start_ms\tduration_ms\tword\n500\t700\thi\n"],
    ".json": [
        b'{"segments": [{"start": 0.5, "end": 1.2, "words": [{"word": "hi", "start": 0.5, "end": 0.7}]}]}',
        b'{"speakers": {"anna": {"channel": 0, "speech": [[0.5, 1.2]]}}}',
    ],
    ".jsonl": [b'{"start": 0.5, "end": 1.2, "text": "hi"}\n{"start": 2, "end": 3}\n'],
    ".xml": [b'<root><w starttime="0.5" endtime="0.7">hi</w><w starttime="0.7" endtime="0.7" punc="true">.</w></root>'],
}
_TABLES = {
    ".csv": b'id,file,start_ms,end_ms,words,pauses_ms\na,a.wav,10,900,"[[""hi"", 10, 300]]","[[300, 500]]"\n',
    ".jsonl": b'{"id": "a", "file": "a.wav", "start_ms": 10, "end_ms": 900, "words": [["hi", 10, 300]], '
    b'"pauses_ms": [[300, 500]]}\n',
    ".json": b'{"licence": "CC0", "turns": [{"id": "a", "file": "a.wav", "start_ms": 10, "end_ms": 900}]}',
}


def _labels(suffix: str, data: bytes, folder: Path) -> None:
    path = folder / f"labels{suffix}"
    path.write_bytes(data)
    read_annotations(path)


def _table(suffix: str, data: bytes, folder: Path) -> None:
    path = folder / f"corpus{suffix}"
    path.write_bytes(data)
    reading.read_table(path)


def _archive(suffix: str, data: bytes, folder: Path) -> None:
    path, cache = folder / f"given{suffix}", folder / "cache"
    path.write_bytes(data)
    archive.unpack(path, cache)
    outside = [
        one for one in folder.rglob("*") if one.is_symlink() or (cache not in one.parents and one not in (path, cache))
    ]
    assert not outside, outside


def _archive_seeds(suffix: str) -> Sequence[bytes]:
    target = io.BytesIO()
    if suffix == ".zip":
        with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as packed:
            packed.writestr("corpus/corpus.csv", "id,file\n")
            packed.writestr("corpus/a.wav", bytes(3000))
        return [target.getvalue()]
    mode = {".tar": "w", ".tar.gz": "w:gz", ".tar.bz2": "w:bz2", ".tar.xz": "w:xz"}[suffix]
    with tarfile.open(fileobj=target, mode=mode) as packed_tar:  # type: ignore[call-overload]
        for name in ("corpus/corpus.csv", "corpus/a.wav"):
            info = tarfile.TarInfo(name)
            info.size = 600
            packed_tar.addfile(info, io.BytesIO(bytes(600)))
    return [target.getvalue()]


def _recording(data: bytes, folder: Path) -> None:
    path = folder / "given.wav"
    path.write_bytes(data)
    call = sound.open_call(path)
    sound.scan_call(call)
    sound.read_span(call, 0.5, 0.5)


def _clip(data: bytes, folder: Path) -> None:
    path = folder / "given.wav"
    path.write_bytes(data)
    audio_sources.load_recording(path)


def make_wav(channels: int, rate: int = 8000, seconds: float = 1.2) -> bytes:
    """Return a WAV file of noise."""
    target = io.BytesIO()
    pcm = np.random.default_rng(1).integers(-2000, 2000, (round(seconds * rate), channels)).astype("<i2")
    with wave.open(target, "wb") as out:
        out.setparams((channels, 2, rate, 0, "NONE", ""))
        out.writeframes(pcm.tobytes())
    return target.getvalue()


FILE_TARGETS = (
    *(
        Target(
            f"labels{suffix}",
            f"label files, {suffix}",
            functools.partial(_labels, suffix),
            functools.partial(_LABELS.__getitem__, suffix),
            "json" if suffix == ".json" else "jsonl" if suffix == ".jsonl" else "bytes",
            f"labels{suffix}",
        )
        for suffix in PARSERS
    ),
    *(
        Target(
            f"table{suffix}",
            f"tables of corpora, {suffix}",
            functools.partial(_table, suffix),
            functools.partial(lambda suffix: [_TABLES[suffix]], suffix),
            "bytes" if suffix == ".csv" else "json" if suffix == ".json" else "jsonl",
            f"corpus{suffix}",
        )
        for suffix in _TABLES
    ),
    *(
        Target(
            f"archive{suffix}",
            f"archives of corpora, {suffix}",
            functools.partial(_archive, suffix),
            functools.partial(_archive_seeds, suffix),
            "bytes",
            f"given{suffix}",
        )
        for suffix in (".zip", ".tar", ".tar.gz", ".tar.bz2", ".tar.xz")
    ),
    Target(
        "call-recordings",
        "two-channel recordings",
        _recording,
        lambda: [make_wav(2), make_wav(2, 44100)],
        "bytes",
        "given.wav",
    ),
    Target("clips", "recordings of utterances", _clip, lambda: [make_wav(1), make_wav(2, 16000)], "bytes", "given.wav"),
)
