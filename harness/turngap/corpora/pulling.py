"""Fetches a pinned corpus into the cache and writes its table; whole or not at all."""

from __future__ import annotations

import fcntl
import importlib.util
import os
import secrets
import shutil
from pathlib import Path

from turngap_agent import files
from turngap_agent.errors import write_error

from turngap.corpora import harper_valley, public_formats
from turngap.corpora.conversion import TABLE
from turngap.corpora.fetching import OnProgress, fetch_file
from turngap.corpora.pins import CorpusPin
from turngap.corpora.reading import format_table, parse_table
from turngap.corpora.table import corpus_error


def pull_corpus(pin: CorpusPin, cache: Path, on_progress: OnProgress) -> Path:
    """Return the folder of a pinned corpus; fetch and convert it unless it is there.

    Raises:
        UsageError: a package that the converter needs is missing (`corpus.needs`), the converted table has faults
            (`corpus.table`), or the cache can't be written.
        WeightsError: the files can't be fetched, or are not the pinned ones.
        HarnessError: the disk is full.
    """
    folder = pin.locate(cache)
    if folder.is_dir():
        return folder
    if pin.needs and importlib.util.find_spec(pin.needs) is None:
        raise corpus_error(
            f"corpus {pin.title!r} is in a format that needs {pin.needs}: pip install 'turngap[parquet]'", "needs"
        )
    fetched = cache / ".fetched" / pin.name
    try:
        fetched.mkdir(parents=True, exist_ok=True)
        with (fetched / ".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not folder.is_dir():  # another process may have written it meanwhile
                paths = [fetch_file(file, fetched, cache / "hashes.json", on_progress) for file in pin.files]
                on_progress(f"writing the table of {pin.title}")
                _write_table(pin, paths, folder)
    except OSError as error:
        raise write_error(f"corpus {pin.title!r} cannot be stored in {cache}", error) from None
    shutil.rmtree(fetched, ignore_errors=True)
    on_progress(f"{pin.title} is ready ({pin.licence}; cite: {pin.source}, {pin.homepage})")
    return folder


def _write_table(pin: CorpusPin, paths: list[Path], folder: Path) -> None:
    draft = folder.with_name(f".{folder.name}-{os.getpid()}-{secrets.token_hex(4)}")
    try:
        draft.mkdir(parents=True)
        convert = {
            "ami": public_formats.convert_ami,
            "harper-valley": harper_valley.convert_harper_valley,
            "hub": public_formats.convert_hub,
        }[pin.converter]
        table = format_table(convert(pin, paths, draft))
        parse_table(table, f"{pin.title}: {TABLE}", Path(TABLE).suffix)  # what a run would refuse is not kept
        files.replace_file(draft / TABLE, table)
        draft.rename(folder)
    finally:
        shutil.rmtree(draft, ignore_errors=True)
