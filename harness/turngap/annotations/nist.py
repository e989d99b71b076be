"""RTTM, CTM and STM of NIST: a line for each stretch or word with file, channel or speaker, and times in seconds.

The formats: Appendices A of the Rich Transcription 2009 evaluation plan (RTTM) and the documentation of SCTK (CTM,
STM; https://github.com/usnistgov/SCTK, doc/infmts.htm). Of alternatives, in an STM `{ um / uh / @ }`, the first counts,
and `@` is no word. Lines that start with `;;` are comments. All lines must be about one recording, or `recording`
selects one.
"""

from __future__ import annotations

from collections.abc import Iterator

from turngap.annotations.fields import check_order, is_silence_mark, label_error, names_no_speech, parse_time_ms
from turngap.annotations.model import Annotations, Stretch, TimedWord, order_annotations
from turngap.annotations.textgrid import form_stretches

_NOT_GIVEN = ("<NA>", "<na>", "-", "")
_NULL_WORD = "@"


def parse_rttm(text: str, name: str, recording: str | None = None) -> Annotations:
    """Return the SPEAKER lines as stretches, LEXEME lines as words; other kinds of lines are passed over.

    Raises:
        ScenarioError: a line is malformed, or the lines are about several recordings (`scenario.labels`).
    """
    stretches: list[Stretch] = []
    words: list[TimedWord] = []
    for where, fields in _split(text, name, 1, recording, "RTTM"):
        if fields[0] not in ("SPEAKER", "LEXEME"):
            continue
        if len(fields) < 8:
            raise label_error(where, f"a {fields[0]} line has at least 8 fields, this one {len(fields)}")
        start_ms = parse_time_ms(fields[3], where, "the start")
        end_ms = round(start_ms + parse_time_ms(fields[4], where, "the duration"), 3)
        speaker = "" if fields[7] in _NOT_GIVEN else fields[7]
        channel = _parse_channel(fields[2])
        if fields[0] == "SPEAKER" and end_ms > start_ms:
            stretches.append(Stretch(start_ms, end_ms, "", speaker, channel))
        elif fields[0] == "LEXEME":
            words.append(TimedWord(fields[5], start_ms, end_ms, speaker, channel))
    return order_annotations(stretches or form_stretches(words), words)


def parse_ctm(text: str, name: str, recording: str | None = None) -> Annotations:
    """Return the words of a CTM file, and the stretches that they form; of alternatives the first counts.

    Raises:
        ScenarioError: as `parse_rttm`.
    """
    words = []
    alternative = 0
    for where, fields in _split(text, name, 0, recording, "CTM"):
        if len(fields) < 5:
            raise label_error(
                where, f"a CTM line is file, channel, start, duration and word; it has {len(fields)} fields"
            )
        if fields[4].upper() in ("<ALT_BEGIN>", "<ALT>", "<ALT_END>"):
            alternative = {"<ALT_BEGIN>": 1, "<ALT>": alternative + 1, "<ALT_END>": 0}[fields[4].upper()]
            continue
        start_ms = parse_time_ms(fields[2], where, "the start")
        end_ms = round(start_ms + parse_time_ms(fields[3], where, "the duration"), 3)
        if alternative <= 1 and fields[4] != _NULL_WORD and not is_silence_mark(fields[4]):
            words.append(TimedWord(fields[4], start_ms, end_ms, "", _parse_channel(fields[1])))
    return order_annotations(form_stretches(words), words)


def parse_stm(text: str, name: str, recording: str | None = None) -> Annotations:
    """Return the segments of an STM file as stretches with their words' text; those not to be scored are left out.

    Raises:
        ScenarioError: as `parse_rttm`.
    """
    stretches = []
    for where, fields in _split(text, name, 0, recording, "STM"):
        if len(fields) < 5:
            raise label_error(
                where, f"an STM line is file, channel, speaker, start, end and words; it has {len(fields)}"
            )
        start_ms, end_ms = parse_time_ms(fields[3], where, "the start"), parse_time_ms(fields[4], where, "the end")
        check_order(start_ms, end_ms, where)
        words = fields[5:]
        if words and words[0].startswith("<") and words[0].endswith(">"):  # a label, as in <o,f0,male>
            words = words[1:]
        said = " ".join(_take_first_alternatives(words))
        if end_ms > start_ms and said and not names_no_speech(said):
            speaker = "" if fields[2] in _NOT_GIVEN else fields[2]
            stretches.append(Stretch(start_ms, end_ms, said, speaker, _parse_channel(fields[1])))
    return order_annotations(stretches)


def _take_first_alternatives(words: list[str]) -> Iterator[str]:
    """Yield the words without the alternatives to them, `{ a / b / c }`, which may be inside one another."""
    passed_over: list[bool] = []
    """Of each alternation that is open: whether its first alternative is over."""
    for word in words:
        if word == "{":
            passed_over.append(False)
        elif word == "/" and passed_over:
            passed_over[-1] = True
        elif word == "}" and passed_over:
            passed_over.pop()
        elif word != _NULL_WORD and not any(passed_over):
            yield word


def _split(
    text: str, name: str, recording_field: int, recording: str | None, kind: str
) -> Iterator[tuple[str, list[str]]]:
    """Yield the place and the fields of each line about the recording."""
    first = ""
    for number, line in enumerate(text.split("\n"), start=1):
        fields = line.split()
        if not fields or line.startswith(";;") or line.startswith("#"):
            continue
        where = f"{name}:{number}"
        if len(fields) <= recording_field:
            raise label_error(where, f"not a line of {kind}")
        own = fields[recording_field]
        if recording is not None:
            if own != recording:
                continue
        elif first and own != first:
            raise label_error(
                where, f"it is about {own!r}, and the lines before about {first!r}; name the file after one of them"
            )
        first = first or own
        yield where, fields


def _parse_channel(text: str) -> int | None:
    """Return the channel from 0: NIST counts from 1, or calls the two sides of a telephone call A and B."""
    if text in ("A", "B", "a", "b"):
        return "ab".index(text.lower())
    return int(text) - 1 if text.isascii() and text.isdigit() and int(text[:6]) > 0 and len(text) <= 6 else None
