"""Reads the table of a corpus, `corpus.csv`, `.jsonl` or `.json`, and writes it; every fault names file and line.

A CSV table has a row a turn; `words` and `pauses_ms` are JSON in a cell. A `.jsonl` table has an object a line. A
`.json` table is a list of objects, or an object with `turns`, whose other keys count for each of them.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from pydantic import Field, TypeAdapter, ValidationError, model_validator
from turngap_agent import documents
from turngap_agent.documents import FrozenModel

from turngap.corpora.table import CorpusTable, LabelledBy, TableRow, TableWord, corpus_error

TABLES = ("corpus.csv", "corpus.jsonl", "corpus.json")
"""The names of a table, in the order in which they are looked for."""
COLUMNS = tuple(field.name for field in fields(TableRow) if field.name != "place")
CONSTANT_COLUMNS = ("licence", "source", "speaker", "uncertainty_ms", "label_source", "channel", "file")
"""What may stand once for all turns of a `.json` table."""
LONGEST_FIELD = 10 * 2**20
LARGEST_BYTES = 512 * 2**20
"""A table of a million turns with their words is smaller."""
_JSON_COLUMNS = ("words", "pauses_ms")


class _Word(FrozenModel):
    text: str = Field(min_length=1)
    start_ms: float = Field(ge=0, allow_inf_nan=False)
    end_ms: float = Field(ge=0, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _from_list(cls, value: object) -> object:
        if isinstance(value, (list, tuple)) and len(value) == 3:
            return dict(zip(("text", "start_ms", "end_ms"), value, strict=True))
        return value


class _Row(FrozenModel):
    """One row as it is written."""

    id: str = Field(min_length=1, max_length=200)
    file: str = Field(min_length=1)
    start_ms: float = Field(ge=0, allow_inf_nan=False)
    end_ms: float = Field(gt=0, allow_inf_nan=False)
    channel: int = Field(0, ge=0, le=1000)
    uncertainty_ms: float | None = Field(None, ge=0, le=10_000, allow_inf_nan=False)
    label_source: LabelledBy = "hand"
    text: str = ""
    words: tuple[_Word, ...] = ()
    pauses_ms: tuple[tuple[float, float], ...] = ()
    speaker: str = ""
    licence: str = ""
    source: str = ""
    question: str = ""

    @model_validator(mode="after")
    def _check_times(self) -> _Row:
        if self.end_ms <= self.start_ms:
            raise ValueError(f"`end_ms` {self.end_ms:g} is not after `start_ms` {self.start_ms:g}")
        for word in self.words:
            if word.end_ms < word.start_ms:
                raise ValueError(f"word {word.text!r} ends before it starts")
        end_ms = self.start_ms
        for first, beyond in self.pauses_ms:
            if not end_ms <= first < beyond <= self.end_ms:
                raise ValueError(f"pause {first:g} to {beyond:g} ms is not inside the turn, after the one before it")
            end_ms = beyond
        return self


_ROW = TypeAdapter(_Row)


def find_table(folder: Path) -> Path:
    """Return the table of the corpus in `folder`.

    Raises:
        UsageError: there is none (`corpus.missing`).
    """
    if folder.is_file():
        raise corpus_error(f"{folder}: no corpus; give the folder, the archive or the table of one", "missing")
    if not folder.is_dir():
        raise corpus_error(f"{folder}: there is no such folder", "missing")
    for name in TABLES:
        if (folder / name).is_file():
            return folder / name
    raise corpus_error(
        f"{folder}: there is no {', '.join(TABLES)} in it; `turngap corpus convert` makes one of audio and label files",
        "missing",
    )


def read_table(path: Path, name: str | None = None) -> CorpusTable:
    """Read the table at `path`; the corpus is called `name`, by default as its folder is.

    Raises:
        UsageError: it cannot be read (`corpus.table`), or has faults: a line for each, at most 10.
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise corpus_error(f"{path}: over {LARGEST_BYTES // 2**20} MiB: that is no table of turns", "table")
        text = path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise corpus_error(f"{path}: not a text file in UTF-8", "table") from None
    except OSError as error:
        raise corpus_error(f"{path}: cannot be read ({error.strerror or error})", "table") from None
    rows = parse_table(text, str(path), path.suffix.lower())
    return CorpusTable(name or path.parent.resolve().name, path.parent, path, rows)


def parse_table(text: str, name: str, suffix: str) -> tuple[TableRow, ...]:
    """Return the rows of a table in the format of `suffix`; messages call it `name`.

    Raises:
        UsageError: as `read_table`.
    """
    split = {".csv": _split_csv, ".jsonl": _split_lines, ".json": _split_json}[suffix]
    rows: list[TableRow] = []
    faults: list[str] = []
    places: dict[str, str] = {}
    for place, data in split(text, name):
        if isinstance(data, str):
            faults.append(f"{place}: {data}")
            continue
        try:
            read = _ROW.validate_python(data)
        except ValidationError as error:
            faults.append(f"{place}: {_explain(error)}")
            continue
        if read.id in places:
            faults.append(f"{place}: the id {read.id!r} is that of {places[read.id]} too; give each turn its own")
            continue
        places[read.id] = place
        words = tuple(TableWord(word.text, word.start_ms, word.end_ms) for word in read.words)
        plain = {key: getattr(read, key) for key in COLUMNS if key != "words"}
        rows.append(TableRow(**plain, words=tuple(sorted(words, key=lambda word: word.start_ms)), place=place))
    if len(faults) > documents.MAX_ERRORS:
        faults[documents.MAX_ERRORS :] = [f"{name}: and {len(faults) - documents.MAX_ERRORS} more faults"]
    if faults:
        raise corpus_error("\n".join(faults), "table")
    if not rows:
        raise corpus_error(f"{name}: the table has no turns", "table")
    return tuple(rows)


def format_table(rows: Iterable[TableRow]) -> str:
    """Return the rows as a `.jsonl` table, without what is empty."""
    return "".join(json.dumps(_to_json(row), ensure_ascii=False) + "\n" for row in rows)


def _to_json(row: TableRow) -> dict[str, Any]:
    data: dict[str, Any] = {key: getattr(row, key) for key in COLUMNS}
    data["words"] = [[word.text, word.start_ms, word.end_ms] for word in row.words]
    data["pauses_ms"] = [list(pause) for pause in row.pauses_ms]
    if row.label_source == "hand":
        del data["label_source"]
    required = ("id", "file", "channel", "start_ms", "end_ms")
    return {key: value for key, value in data.items() if key in required or value not in ("", [], None)}


def _split_csv(text: str, name: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
    csv.field_size_limit(LONGEST_FIELD)
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        header = reader.fieldnames or ()
        unknown = [column for column in header if column not in COLUMNS]
        if unknown or "id" not in header:
            hint = documents.suggest(unknown[0], COLUMNS) if unknown else ""
            problem = f"unknown column {unknown[0]!r}{hint}" if unknown else "there is no column `id`"
            yield f"{name}:1", f"{problem}; the columns are {', '.join(COLUMNS)}"
            return
        for cells in reader:
            place = f"{name}:{reader.line_num}"
            if None in cells or None in cells.values():
                yield place, f"the row does not have the header's {len(header)} cells"
                continue
            yield place, _read_cells(cells)
    except csv.Error as error:
        yield f"{name}:{max(1, reader.line_num)}", f"not a CSV table ({error})"


def _read_cells(cells: Mapping[str, str]) -> dict[str, Any] | str:
    data: dict[str, Any] = {}
    for column, cell in cells.items():
        if not cell.strip():
            continue
        data[column] = cell.strip()
        if column in _JSON_COLUMNS:
            try:
                data[column] = json.loads(cell)
            except (ValueError, RecursionError):
                return f'`{column}` is not JSON, as in [["my", 120, 300]] or [[800, 1250]]'
    return data


def _split_lines(text: str, name: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if line.strip():
            yield f"{name}:{number}", _read_object(line)


def _read_object(line: str) -> dict[str, Any] | str:
    try:
        data = json.loads(line)
    except (ValueError, RecursionError) as error:
        return f"not JSON ({str(error)[:80]})"
    return data if isinstance(data, dict) else "an object with the keys of a turn is expected"


def _split_json(text: str, name: str) -> Iterator[tuple[str, dict[str, Any] | str]]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        yield name, f"not JSON ({str(error)[:80]})"
        return
    shared: dict[str, Any] = {}
    if isinstance(data, dict):
        shared = {key: value for key, value in data.items() if key != "turns"}
        unknown = [key for key in shared if key not in CONSTANT_COLUMNS]
        if unknown or "turns" not in data:
            problem = f"unknown key {unknown[0]!r}" if unknown else "there is no key `turns`"
            yield name, f"{problem}; beside `turns` there may be {', '.join(CONSTANT_COLUMNS)}"
            return
        data = data["turns"]
    if not isinstance(data, list):
        yield name, "a list of turns is expected"
        return
    for number, row in enumerate(data, start=1):
        place = f"{name}: turn {number}"
        yield place, {**shared, **row} if isinstance(row, dict) else "an object with the keys of a turn is expected"


def _explain(error: ValidationError) -> str:
    one = error.errors()[0]
    key = ".".join(str(part) for part in one["loc"])
    if one["type"] == "extra_forbidden":
        return f"unknown key `{key}`{documents.suggest(key, COLUMNS)}; the keys are {', '.join(COLUMNS)}"
    if one["type"] == "missing":
        return f"`{key}` is missing"
    return documents.describe_value(one, _Row)
