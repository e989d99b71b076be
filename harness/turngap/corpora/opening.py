"""Opens a corpus by the name of a pinned one, or by the path of a folder, an archive or a table."""

from __future__ import annotations

import os
from pathlib import Path

from turngap_agent import documents

from turngap.corpora import archive, reading
from turngap.corpora.pins import load_pins
from turngap.corpora.table import CorpusTable, corpus_error


def cache_folder() -> Path:
    """Return the folder of fetched and unpacked corpora: `corpora` in the cache of the weights."""
    if own := os.environ.get("TURNGAP_CACHE"):
        return Path(own).expanduser().absolute() / "corpora"
    base = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (base if base.is_absolute() else Path.home() / ".cache") / "turngap" / "corpora"


def open_corpus(name_or_path: str, base: Path | None = None) -> CorpusTable:
    """Return the table of a corpus; a relative path is relative to `base`, by default the working folder.

    Raises:
        UsageError: there is no such corpus, it is pinned but not fetched (`corpus.missing`), or its table has faults.
    """
    if not is_path(name_or_path):
        pins = load_pins()
        if name_or_path not in pins and ((base or Path.cwd()) / name_or_path).is_dir():
            raise corpus_error(
                f"no corpus {name_or_path!r} is pinned, but there is a folder: give it as ./{name_or_path}", "unknown"
            )
        if name_or_path not in pins:
            raise corpus_error(
                f"no corpus {name_or_path!r} is pinned{documents.list_choices(name_or_path, pins)} (or give a path, as "
                f"in ./{name_or_path})",
                "unknown",
            )
        folder = pins[name_or_path].locate(cache_folder())
        if not folder.is_dir():
            raise corpus_error(
                f"corpus {name_or_path!r} is not on this machine: `turngap corpus pull {name_or_path}` fetches it "
                f"({pins[name_or_path].size_text})",
                "missing",
            )
        return reading.read_table(reading.find_table(folder), name_or_path)
    path = (base or Path.cwd()) / Path(name_or_path).expanduser()
    if archive.is_archive(path) and not path.is_dir():
        unpacked = archive.unpack(path, cache_folder())
        return reading.read_table(reading.find_table(unpacked), path.name.partition(".")[0])
    if path.name in reading.TABLES:
        return reading.read_table(path)
    return reading.read_table(reading.find_table(path))


def is_path(name_or_path: str) -> bool:
    """Whether a corpus is given by its path: it has a slash or a suffix, which the names of pinned ones don't."""
    return "/" in name_or_path or "." in name_or_path or name_or_path.startswith("~")
