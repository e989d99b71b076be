"""Corpora of recorded turns: a folder or archive of audio and a table that says where each turn starts and ends."""

from turngap.corpora.selection import CorpusSelection, select_rows
from turngap.corpora.table import CorpusTable, TableRow, TableWord

__all__ = ["CorpusSelection", "CorpusTable", "TableRow", "TableWord", "select_rows"]
