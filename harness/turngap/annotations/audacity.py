"""Audacity's label track: a line for each label with start, end (s) and text, between tabs.

The format: https://manual.audacityteam.org/man/importing_and_exporting_labels.html. A line that starts with a
backslash holds the frequencies of the label before it. A label without length is a note, no stretch of speech.
"""

from __future__ import annotations

from turngap.annotations.fields import check_order, label_error, label_text, names_no_speech, parse_time_ms
from turngap.annotations.model import Annotations, Stretch, order_annotations


def parse_audacity(text: str, name: str) -> Annotations:
    """Return the labels of a track; those that say "silence", "noise" or so are not kept. Messages call it `name`.

    Raises:
        ScenarioError: a line is no label (`scenario.labels`).
    """
    stretches = []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip() or line.startswith("\\"):
            continue
        where = f"{name}:{number}"
        start, _, rest = line.strip("\r").partition("\t")
        end, _, label = rest.partition("\t")
        if not end:
            raise label_error(where, "a label is start, end and text with tabs between them, as Audacity exports them")
        start_ms, end_ms = parse_time_ms(start, where, "the start"), parse_time_ms(end, where, "the end")
        check_order(start_ms, end_ms, where)
        if end_ms > start_ms and (not label.strip() or not names_no_speech(label)):
            stretches.append(Stretch(start_ms, end_ms, label_text(label)))
    return order_annotations(stretches)


def write_audacity(annotations: Annotations) -> str:
    """Return the stretches of speech as a label track; one without words has the label "speech"."""
    lines = (
        f"{one.start_ms / 1000:.6f}\t{one.end_ms / 1000:.6f}\t{one.text or 'speech'}\n" for one in annotations.speech
    )
    return "".join(lines)
