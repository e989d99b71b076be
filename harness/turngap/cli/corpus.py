"""What the commands of `turngap corpus` do and print."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table
from turngap_agent import documents
from turngap_agent.errors import UsageError

from turngap.corpora import conversion, pulling, totals
from turngap.corpora.opening import cache_folder, open_corpus
from turngap.corpora.pins import load_pins, make_hub_pin
from turngap.corpora.table import corpus_error
from turngap.corpus.corpus_check import check_corpus
from turngap.corpus.natural_turns import read_turn
from turngap.model.plural import plural
from turngap.progress import PipeConsole


def print_pinned(*, as_json: bool) -> None:
    """Print the pinned corpora."""
    rows = []
    for pin in load_pins().values():
        folder = pin.locate(cache_folder())
        rows.append(
            {
                "name": pin.name,
                "about": pin.about,
                "licence": pin.licence,
                "source": pin.source,
                "homepage": pin.homepage,
                "bytes": pin.size,
                "needs": pin.needs,
                "folder": str(folder) if folder.is_dir() else None,
            }
        )
    if as_json:
        print(json.dumps(rows))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("corpus", "licence", "size", "here", "about"):
        table.add_column(column, no_wrap=column != "about")
    for row, pin in zip(rows, load_pins().values(), strict=True):
        size = pin.size_text.rpartition(",")[0]
        table.add_row(pin.name, pin.licence, size, "yes" if row["folder"] else "no", pin.about)
    PipeConsole(highlight=False).print(table)


def pull(name: str, licence: str = "") -> Path:
    """Fetch a pinned corpus, or a data set on the hub by its commit; return its folder.

    Raises:
        UsageError: there is no such corpus, or a package that its converter needs is missing.
        WeightsError: it can't be fetched, or is not the pinned one.
    """
    pins = load_pins()
    own = make_hub_pin(name, licence)
    if own is not None:
        return pulling.pull_corpus(own, cache_folder(), _show_progress)
    if name not in pins:
        raise corpus_error(
            f"no corpus {name!r} is pinned{documents.list_choices(name, pins)} (or give "
            "ORG/NAME@COMMIT:PATH.parquet of a data set on the hub)",
            "unknown",
        )
    return pulling.pull_corpus(pins[name], cache_folder(), _show_progress)


def check(name: str, *, as_json: bool) -> int:
    """Print what is wrong with a corpus; return the exit code: 1 if it has faults.

    Raises:
        UsageError: there is no such corpus, or its table can't be read.
    """
    table = open_corpus(name)
    found = check_corpus(table)
    if as_json:
        print(json.dumps({"turns": len(table.rows), "faults": found.faults, "doubts": found.doubts}))
        return int(bool(found.faults))
    console = PipeConsole(soft_wrap=True, highlight=False)
    for line in found.faults:
        console.print(f"fault  {line}", markup=False)
    for line in found.doubts:
        console.print(f"doubt  {line}", markup=False)
    console.print(
        f"{table.name}: {plural(len(table.rows), 'turn')}, {plural(len(found.faults), 'fault')}, "
        f"{plural(len(found.doubts), 'doubt')}",
        markup=False,
    )
    return int(bool(found.faults))


def show(name: str, *, as_json: bool) -> None:
    """Print the totals of a corpus.

    Raises:
        UsageError: there is no such corpus, or its table can't be read.
    """
    table = open_corpus(name)
    summed = totals.sum_rows(table.rows)
    if as_json:
        print(json.dumps({"name": table.name, "folder": str(table.folder), **summed.to_json()}))
        return
    console = PipeConsole(soft_wrap=True, highlight=False)
    lines = [
        f"{table.name}: {plural(summed.turns, 'turn')}, {plural(summed.speakers, 'named speaker')}, "
        f"{summed.minutes:.1f} minutes",
        f"  words      {summed.with_words} turns, {summed.with_word_times} with the words' times",
        f"  question   {summed.with_question} turns say what the agent had said before",
        f"  ends       {summed.turns - summed.aligned} by hand, {summed.aligned} by alignment; "
        f"{summed.turns - summed.unstated_uncertainty} turns state how exact they are",
        *(f"  pauses     {length}: {count}" for length, count in summed.pauses.items()),
        *(f"  licence    {licence}: {count}" for licence, count in summed.licences.items()),
        *(f"  source     {source}: {count}" for source, count in summed.sources.items()),
    ]
    for line in lines:
        console.print(line, markup=False)


def convert(
    recordings: Sequence[Path], labels: Sequence[Path], out: Path, settings: conversion.ConversionSettings
) -> Path:
    """Write a corpus of recordings and their labels, and print what it lacks; return its table.

    Raises:
        UsageError: a recording or its labels can't be used, or `out` is there already; nothing is written.
    """
    missing = next((path for path in recordings if not path.is_file()), None)
    if missing is not None:
        raise UsageError(f"{missing}: there is no such file", code="usage.missing")
    paired = conversion.pair_labels(recordings, labels)
    rows = {path: conversion.make_rows(path.name, annotations, settings) for path, annotations in paired.items()}
    table = conversion.write_corpus(out, rows)
    opened = open_corpus(str(table.absolute()))
    try:
        for row in opened.rows:
            read_turn(opened, row)
    except UsageError as error:
        _show_progress(f"`turngap corpus check {out}` finds faults, as in: {error}")
    _show_progress(f"{plural(len(opened.rows), 'turn')} of {plural(len(recordings), 'recording')}")
    return table


def _show_progress(line: str) -> None:
    print(f"turngap: {line}", file=sys.stderr)
