"""CSV and JSON tables of stretches or words, by the names that people give their columns.

A row has a start and an end (or a duration), in seconds unless the name ends in `_ms`; text, speaker and channel where
it has such columns. Rows of words are told from stretches by their column: `word` instead of `text`. In JSON a stretch
may also be a pair [start, end], by speaker: {"speakers": {"NAME": {"channel": 0, "speech": [[0.5, 1.2]]}}} or
{"channels": {"NAME": 0}, "NAME_speech_s": [[0.5, 1.2]]}; such a list is in ms if its key ends in `_ms`.
"""

from __future__ import annotations

import csv
import io
import itertools
import json
from collections.abc import Iterator, Mapping
from typing import Any

from turngap.annotations.fields import (
    check_order,
    is_silence_mark,
    label_error,
    label_text,
    names_no_speech,
    parse_time_ms,
)
from turngap.annotations.model import Annotations, Stretch, TimedWord, order_annotations
from turngap.annotations.textgrid import form_stretches

_STARTS = ("start", "start_s", "start_ms", "begin", "begin_s", "begin_ms", "onset", "onset_s", "from", "starttime")
_ENDS = ("end", "end_s", "end_ms", "stop", "offset", "offset_s", "to", "endtime")
_DURATIONS = ("duration", "duration_s", "duration_ms", "dur", "length")
_TEXTS = ("text", "label", "transcript", "transcription", "sentence", "value")
_WORDS = ("word", "token")
_SPEAKERS = ("speaker", "spk", "speaker_id", "participant")
_LISTS = ("segments", "words", "speech", "stretches", "labels", "utterances", "turns")
"""Keys of a JSON object that hold rows, inside rows too; with `_s` or `_ms` after them for rows that are pairs."""
_CHANNELS, _BY_SPEAKER = "channels", "speakers"
_UNITS = ("_ms", "_s", "")


def parse_csv(text: str, name: str) -> Annotations:
    """Return the rows of a table with a header; commas, semicolons or tabs separate its cells.

    Raises:
        ScenarioError: it has no columns for start and end, or a row is malformed (`scenario.labels`).
    """
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    csv.field_size_limit(1 << 20)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    rows = []
    try:
        columns = [str(column).strip().lower() for column in reader.fieldnames or ()]
        for cells in reader:
            where = f"{name}:{reader.line_num}"
            if None in cells or None in cells.values():
                raise label_error(where, f"the row does not have the header's {len(columns)} cells")
            rows.append((where, dict(zip(columns, cells.values(), strict=True))))
    except (csv.Error, ValueError) as error:
        raise label_error(f"{name}:{max(1, reader.line_num)}", f"not a CSV table ({str(error)[:80]})") from None
    if not any(one in columns for one in _STARTS):
        raise label_error(f"{name}:1", f"there is no column for the start; call it one of {', '.join(_STARTS)}")
    return _make(rows)


def parse_json(text: str, name: str) -> Annotations:
    """Return the rows of a JSON document: a list of objects, an object with such lists, or an object a line.

    Times that the document does not list as stretches or words, such as `begins_s`, are passed over.

    Raises:
        ScenarioError: it is no JSON, or has no rows with a start and an end (`scenario.labels`).
    """
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        try:
            data = [json.loads(line) for line in text.split("\n") if line.strip()]
        except (ValueError, RecursionError) as error:
            raise label_error(name, f"not JSON ({str(error)[:80]})") from None
    rows = list(_find_rows(data, name, 0))
    if not rows:
        raise label_error(
            name,
            f"no object in it has a start ({', '.join(_STARTS)}) and an end, and no list of pairs [start, end] is in "
            "`speech`, or by speaker in `NAME_speech_s` with `channels`",
        )
    return _make(rows)


def _find_rows(data: Any, where: str, depth: int) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield each object that has a start, with its place; lists inside it too, as of words inside a segment."""
    if depth > 6:
        return
    if isinstance(data, list):
        for number, one in enumerate(data, start=1):
            yield from _find_rows(one, f"{where}[{number}]", depth + 1)
    elif isinstance(data, dict):
        row = {str(key).lower(): value for key, value in data.items()}
        if any(key in row for key in _STARTS):
            yield where, row
        shared = {key: row[key] for key in (*_SPEAKERS, "channel") if key in row}
        for key, own in _find_lists(data):
            found = _read_pairs(data[key], f"{where}.{key}", per_ms=key.lower().endswith("_ms"))
            for place, inner in found or _find_rows(data[key], f"{where}.{key}", depth + 1):
                yield place, {**shared, **own, **inner}
        if isinstance(row.get(_BY_SPEAKER), dict):
            for speaker, inside in row[_BY_SPEAKER].items():
                for place, inner in _find_rows(inside, f"{where}.{_BY_SPEAKER}.{speaker}", depth + 1):
                    yield place, {"speaker": speaker, **inner}
        elif isinstance(row.get(_BY_SPEAKER), list):
            yield from _find_rows(row[_BY_SPEAKER], f"{where}.{_BY_SPEAKER}", depth + 1)


def _find_lists(data: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the keys of an object that hold rows, each with the speaker and channel that `channels` names for it."""
    channels = next((value for key, value in data.items() if key.lower() == _CHANNELS), None)
    named = channels if isinstance(channels, dict) else {}
    for key, value in data.items():
        if not isinstance(value, list):
            continue
        for rows, unit in itertools.product(_LISTS, _UNITS):
            if key.lower() == rows + unit:
                yield key, {}
                break
            speaker = key[: -len(rows + unit) - 1]
            if key.lower().endswith(f"_{rows}{unit}") and speaker in named:
                yield key, {"speaker": speaker, "channel": named[speaker]}
                break


def _read_pairs(rows: list[Any], where: str, *, per_ms: bool) -> list[tuple[str, Mapping[str, Any]]]:
    """Return the rows of a list of pairs [start, end]; [] if it is no such list."""
    if not rows or not all(isinstance(row, list) for row in rows):
        return []
    start, end = ("start_ms", "end_ms") if per_ms else ("start", "end")
    found: list[tuple[str, Mapping[str, Any]]] = []
    for number, row in enumerate(rows, start=1):
        if len(row) != 2:
            raise label_error(f"{where}[{number}]", f"a stretch is a pair [start, end], not {str(row)[:40]}")
        found.append((f"{where}[{number}]", {start: row[0], end: row[1]}))
    return found


def _make(rows: list[tuple[str, dict[str, Any]]] | list[tuple[str, Mapping[str, Any]]]) -> Annotations:
    stretches: list[Stretch] = []
    words: list[TimedWord] = []
    for where, row in rows:
        start_ms = _read_time(row, _STARTS, where, "start")
        if any(key in row for key in _ENDS):
            end_ms = _read_time(row, _ENDS, where, "end")
        else:
            end_ms = round(start_ms + _read_time(row, _DURATIONS, where, "end or duration"), 3)
        check_order(start_ms, end_ms, where)
        speaker, channel = _read_text(row, _SPEAKERS), _read_channel(row, where)
        word, said = _read_text(row, _WORDS), _read_text(row, _TEXTS)
        if any(key in row for key in _WORDS):
            if not is_silence_mark(word):
                words.append(TimedWord(word, start_ms, end_ms, speaker, channel))
        elif end_ms > start_ms and (not said or not names_no_speech(said)):
            stretches.append(Stretch(start_ms, end_ms, label_text(said), speaker, channel))
    return order_annotations(stretches or form_stretches(words), words)


def _read_time(row: Mapping[str, Any], names: tuple[str, ...], where: str, what: str) -> float:
    name = next((name for name in names if row.get(name) not in (None, "")), None)
    if name is None:
        raise label_error(where, f"it has no {what}")
    value = row[name]
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise label_error(where, f"`{name}` must be a number, not {str(value)[:40]!r}")
    return parse_time_ms(str(value), where, f"`{name}`", per_second=1000.0 if name.endswith("_ms") else 1.0)


def _read_text(row: Mapping[str, Any], names: tuple[str, ...]) -> str:
    value = next((row[name] for name in names if isinstance(row.get(name), (str, int))), "")
    return " ".join(str(value).split())


def _read_channel(row: Mapping[str, Any], where: str) -> int | None:
    value = row.get("channel")
    if value in (None, ""):
        return None
    if isinstance(value, bool) or not str(value).isascii() or not str(value).isdigit() or len(str(value)) > 4:
        raise label_error(where, f"`channel` must be a number, counted from 0, not {str(value)[:40]!r}")
    return int(str(value))
