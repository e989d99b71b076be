"""The word files of the AMI Meeting Corpus: NITE XML with a `<w>` for each word, a file a speaker.

The format: https://groups.inf.ed.ac.uk/ami/corpus/annotation.shtml. `MEETING.SPEAKER.words.xml` names the speaker.
Punctuation, laughter and other sounds have elements of their own or the attribute `punc`; they are no words.
"""

from __future__ import annotations

import re
from pathlib import PurePath
from xml.etree import ElementTree

from turngap.annotations.fields import check_order, label_error, parse_time_ms
from turngap.annotations.model import Annotations, TimedWord, order_annotations
from turngap.annotations.textgrid import form_stretches

_NAME = re.compile(r".*\.([A-Z])\.words(\.xml)?")
_DECLARATION = re.compile(r"<!(DOCTYPE|ENTITY)", re.IGNORECASE)


def parse_ami(text: str, name: str) -> Annotations:
    """Return the words of a file, and the stretches that they form.

    Raises:
        ScenarioError: it is no word file, or has a document type, which could make it grow without end
            (`scenario.labels`).
    """
    if _DECLARATION.search(text):
        raise label_error(name, "it declares a document type or entities; word files of the AMI corpus have none")
    try:
        root = ElementTree.fromstring(re.sub(r"^\s*<\?xml[^>]*\?>", "", text))  # its encoding is read already
    except (ElementTree.ParseError, ValueError) as error:
        line = error.position[0] if isinstance(error, ElementTree.ParseError) else 1
        raise label_error(f"{name}:{line}", f"not XML ({error})") from None
    match = _NAME.fullmatch(PurePath(name).name)
    speaker = match[1] if match is not None else ""
    words = []
    for element in root.iter("w"):
        if element.get("punc") == "true" or not (element.text or "").strip():
            continue
        start, end = element.get("starttime"), element.get("endtime")
        if not start or not end:  # words that the aligner could not place have no times
            continue
        where = f"{name}: <w> {(element.text or '').strip()[:30]!r}"
        start_ms, end_ms = parse_time_ms(start, where, "`starttime`"), parse_time_ms(end, where, "`endtime`")
        check_order(start_ms, end_ms, where)
        words.append(TimedWord(" ".join((element.text or "").split()), start_ms, end_ms, speaker))
    if not words and root.tag.rpartition("}")[2] != "root":
        raise label_error(name, "there are no words (`<w starttime=… endtime=…>`) in it")
    return order_annotations(form_stretches(words), words)
