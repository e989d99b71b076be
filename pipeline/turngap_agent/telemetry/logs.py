"""The agent's log on stderr: lines for people or JSON for machines, with telephone numbers masked."""

from __future__ import annotations

import json
import logging
import re
import sys
from datetime import UTC, datetime
from typing import TextIO

from turngap_agent.errors import show_controls

TRANSCRIPTS = "turngap.transcripts"
"""The logger of what callers and agent say; off unless it is asked for."""
_NUMBER = re.compile(r"(?<![\w.])(?<!\d:)(?!\d{4}-\d\d-\d\d)\+?\d[\d ()-]{5,18}\d(?!\w|[.:]\d)")
"""Seven digits and more, as telephone numbers are written; parts of identifiers, addresses and times are none."""
_SHOWN_DIGITS = 2
_LINE_ENDS = {code: chr(code).encode("unicode_escape").decode() for code in (*range(32), 127, 0x85, 0x2028, 0x2029)}
"""Control characters and ends of lines, as escapes."""


def mask_numbers(text: str) -> str:
    """Return the text with all but the last two digits of telephone numbers replaced by stars."""
    return _NUMBER.sub(_mask, text)


def configure(*, as_json: bool = False, transcripts: bool = False, stream: TextIO | None = None) -> None:
    """Log to `stream` (default: stderr) from now on; `transcripts`: what is said in calls too."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if as_json else LineFormatter())
    logging.basicConfig(handlers=[handler], level=logging.INFO, force=True)
    logging.getLogger(TRANSCRIPTS).setLevel(logging.INFO if transcripts else logging.WARNING)


class LineFormatter(logging.Formatter):
    """One line a record, and the traceback of a defect."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s: %(message)s")

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802  # the name that `logging` calls
        """Return the record's one line: what a caller sends begins no line of its own."""
        return super().formatMessage(record).translate(_LINE_ENDS)

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as text."""
        return mask_numbers(show_controls(super().format(record)))


class JsonFormatter(logging.Formatter):
    """One JSON object a line: time (UTC, ISO 8601), level, logger, message, and the traceback of a defect."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON."""
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": mask_numbers(record.getMessage()),
        }
        if record.exc_info:
            entry["traceback"] = mask_numbers(self.formatException(record.exc_info))
        return json.dumps(entry, ensure_ascii=False)


def _mask(match: re.Match[str]) -> str:
    text = match.group()
    if sum(map(str.isdigit, text)) < 7:
        return text
    hidden = sum(map(str.isdigit, text)) - _SHOWN_DIGITS
    return re.sub(r"\d", "*", text, count=hidden)
