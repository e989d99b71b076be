"""Label files by their suffix: which reader reads one, and which one lies beside a recording."""

from __future__ import annotations

import glob
import re
from collections.abc import Callable
from pathlib import Path

from turngap.annotations.ami import parse_ami
from turngap.annotations.audacity import parse_audacity
from turngap.annotations.fields import label_error
from turngap.annotations.model import Annotations
from turngap.annotations.nist import parse_ctm, parse_rttm, parse_stm
from turngap.annotations.tables import parse_csv, parse_json
from turngap.annotations.textgrid import parse_textgrid

Parse = Callable[[str, str], Annotations]
"""Takes a file's text and its name in messages; raises a ScenarioError (`scenario.labels`)."""
LARGEST_BYTES = 64 * 2**20
_XML_ENCODING = re.compile(rb"<\?xml[^>]{0,100}encoding=[\"']([\w.-]{1,40})[\"']", re.ASCII)
PARSERS: dict[str, Parse] = {
    ".txt": parse_audacity,
    ".textgrid": parse_textgrid,
    ".rttm": parse_rttm,
    ".ctm": parse_ctm,
    ".stm": parse_stm,
    ".csv": parse_csv,
    ".tsv": parse_csv,
    ".json": parse_json,
    ".jsonl": parse_json,
    ".xml": parse_ami,
}
"""The reader of each suffix, in the order in which files beside a recording are looked for."""


def read_annotations(path: Path) -> Annotations:
    """Read a label file in the format of its suffix.

    Raises:
        ScenarioError: it is missing, unreadable or malformed, or its suffix is unknown; one line with file and line
            (`scenario.labels`).
    """
    parse = PARSERS.get(path.suffix.lower())
    if parse is None:
        raise label_error(str(path), f"label files end in {', '.join(PARSERS)}")
    return parse(read_label_text(path), str(path))


def read_label_text(path: Path) -> str:
    """Return the text of a label file, in UTF-8, UTF-16 or what an XML file declares, without its byte order mark.

    Raises:
        ScenarioError: it is missing, no text, or over 64 MiB (`scenario.labels`).
    """
    try:
        if path.stat().st_size > LARGEST_BYTES:
            raise label_error(str(path), f"over {LARGEST_BYTES // 2**20} MiB: that is no label file")
        data = path.read_bytes()
    except FileNotFoundError:
        raise label_error(str(path), "no such file") from None
    except OSError as error:
        raise label_error(str(path), f"cannot be read ({error.strerror or error})") from None
    declared = _XML_ENCODING.match(data)  # the word files of AMI are in ISO-8859-1
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    if declared is not None and declared[1].lower() != b"utf-8":
        encoding = declared[1].decode("ascii")
    try:
        text = data.decode(encoding)
    except (UnicodeError, LookupError):
        raise label_error(str(path), "not a text file in UTF-8 or UTF-16; export it again") from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def find_label_file(recording: Path) -> Path | None:
    """Return the label file beside a recording: its name with the suffix of a label format, the first that is there."""
    beside = {path.name.lower(): path for path in recording.parent.glob(f"{glob.escape(recording.stem)}.*")}
    names = (f"{recording.stem}{suffix}".lower() for suffix in PARSERS)
    return next((beside[name] for name in names if name in beside and beside[name].is_file()), None)
