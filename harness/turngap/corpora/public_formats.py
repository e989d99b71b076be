"""Converters of public corpora: their files, as they are fetched, into audio and the rows of a table.

AMI: `words/MEETING.SPEAKER.words.xml` in the archive of annotations has words with times,
`corpusResources/meetings.xml` says on which headset channel each speaker is (https://groups.inf.ed.ac.uk/ami/corpus/annotation.shtml).

The hub: a Parquet file, a row a turn, with a column of audio (its bytes), and where the turn ends: `silence_spans`
(start, end; the last span starts where the turn ends, as in eot-bench), `end`, or the last of `words` (word, start,
end). Times are in seconds. The columns id, text, speaker, start and messages (role, content) are used where they exist.
"""

from __future__ import annotations

import io
import re
import shutil
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import soundfile
from turngap_agent.errors import TurngapError, WeightsError

from turngap.annotations.ami import parse_ami
from turngap.corpora.conversion import ConversionSettings, make_rows
from turngap.corpora.pins import CorpusPin
from turngap.corpora.table import TableRow, TableWord

ALIGNED_UNCERTAINTY_MS = 50.0
"""Assumed of AMI's word ends, which were found by forced alignment: its manual states no figure."""
_HEADSET = re.compile(r"(?P<meeting>\w+)\.Headset-(?P<channel>\d+)\.wav")
_UNSAFE = re.compile(r"[^\w.-]+")


def convert_ami(pin: CorpusPin, paths: Sequence[Path], folder: Path) -> list[TableRow]:
    """Return the turns at the headset microphones among `paths`, and put their audio into `folder`.

    Raises:
        WeightsError: the archive lacks a meeting or a speaker (`weights.format`).
    """
    archive = next(path for path in paths if path.suffix == ".zip")
    rows: list[TableRow] = []
    try:
        with zipfile.ZipFile(archive) as packed:
            names = {Path(name).name: name for name in packed.namelist()}
            meetings = ElementTree.fromstring(packed.read(names["meetings.xml"]))
            for path in (path for path in paths if path != archive):
                match = _HEADSET.fullmatch(path.name)
                assert match is not None, "the pinned audio is a headset's"
                agent = _find_agent(meetings, match["meeting"], match["channel"])
                name = f"{match['meeting']}.{agent}.words.xml"
                words = parse_ami(packed.read(names[name]).decode("iso-8859-1"), name)
                settings = ConversionSettings(
                    uncertainty_ms=ALIGNED_UNCERTAINTY_MS,
                    licence=pin.licence,
                    source=pin.source,
                    label_source="aligned",
                )
                length_ms = soundfile.info(path).duration * 1000
                own = make_rows(path.name, words, settings)
                rows += [replace(row, speaker=f"{match['meeting']}.{agent}") for row in own if row.end_ms <= length_ms]
                shutil.copyfile(path, folder / path.name)
    except (KeyError, zipfile.BadZipFile, ElementTree.ParseError, soundfile.LibsndfileError, TurngapError) as error:
        raise format_error(pin, error) from None
    return rows


def convert_hub(pin: CorpusPin, paths: Sequence[Path], folder: Path) -> list[TableRow]:
    """Return the turns of Parquet files, and put the audio of each into `folder`, as FLAC.

    Raises:
        WeightsError: they have not the columns above (`weights.format`).
    """
    try:
        rows = (row for path in paths for row in _read_parquet(path))
        return [_make_hub_row(pin, row, number, folder) for number, row in enumerate(rows, start=1)]
    except (KeyError, TypeError, ValueError, NotImplementedError, soundfile.LibsndfileError) as error:
        raise format_error(pin, error) from None


def _read_parquet(path: Path) -> Iterator[Mapping[str, Any]]:
    """Yield the rows, a few at a time: each has its audio."""
    import pyarrow.parquet  # an extra of its own: `CorpusPin.needs`

    for batch in pyarrow.parquet.ParquetFile(path).iter_batches(batch_size=16):
        yield from batch.to_pylist()


def _make_hub_row(pin: CorpusPin, row: Mapping[str, Any], number: int, folder: Path) -> TableRow:
    spans = sorted((float(one["start"]) * 1000, float(one["end"]) * 1000) for one in row.get("silence_spans") or ())
    words = [
        TableWord(str(one["word"]).strip(), float(one["start"]) * 1000, float(one["end"]) * 1000)
        for one in row.get("words") or ()
        if str(one["word"]).strip()
    ]
    end_ms = _find_end_ms(row, spans, words)
    kept = tuple(word for word in words if word.start_ms <= end_ms)
    start_ms = min((word.start_ms for word in kept), default=float(row.get("start") or 0) * 1000)
    asked = [one["content"] for one in row.get("messages") or () if one["role"] == "assistant"]
    key = str(row.get("id") or number)
    name = f"{_UNSAFE.sub('-', key)[:100]}.flac"
    if (folder / name).exists():  # "a/b" and "a-b"
        name = f"{name.removesuffix('.flac')}-{number}.flac"
    audio = next((value for value in row.values() if isinstance(value, Mapping) and value.get("bytes")), None)
    if audio is None:
        raise KeyError(f"row {number} has no column of audio")
    samples, rate = soundfile.read(io.BytesIO(audio["bytes"]), dtype="int16", always_2d=True)
    soundfile.write(folder / name, samples, rate, subtype="PCM_16")
    return TableRow(
        id=key,
        file=name,
        start_ms=max(0.0, min(start_ms, end_ms - 1)),
        end_ms=end_ms,
        label_source="aligned",  # its spans are a detector's, its words an aligner's
        text="" if kept else str(row.get("text") or ""),
        words=kept,
        pauses_ms=tuple((start, end) for start, end in spans[:-1] if start_ms <= start < end <= end_ms),
        speaker=str(row.get("speaker") or ""),
        licence=pin.licence,
        source=pin.source,
        question=str(asked[-1]) if asked else "",
    )


def _find_end_ms(row: Mapping[str, Any], spans: Sequence[tuple[float, float]], words: Sequence[TableWord]) -> float:
    """Return where the turn ends.

    Raises:
        KeyError: no column says it.
    """
    if spans:
        return spans[-1][0]
    if row.get("end") is not None:
        return float(row["end"]) * 1000
    if words:
        return max(word.end_ms for word in words)
    raise KeyError("no column says where a turn ends: silence_spans, end or words")


def _find_agent(meetings: ElementTree.Element, meeting: str, channel: str) -> str:
    """Return the letter of the speaker at that headset channel.

    Raises:
        KeyError: the list of meetings has none.
    """
    for element in meetings.iter("meeting"):
        if element.get("observation") == meeting:
            for speaker in element.iter("speaker"):
                if speaker.get("channel") == channel:
                    return str(speaker.attrib["nxt_agent"])
    raise KeyError(f"meeting {meeting} at channel {channel}")


def format_error(pin: CorpusPin, error: Exception) -> WeightsError:
    """Return the error about files of another form than the converter reads."""
    reason = " ".join(str(error).split()) or type(error).__name__
    return WeightsError(
        f"corpus {pin.title!r}: its files are not as expected ({type(error).__name__}: {reason[:200]}): update turngap",
        code="weights.format",
    )
