"""Label files of recordings, read into one form: stretches of speech and words with their times."""

from turngap.annotations.audacity import parse_audacity, write_audacity
from turngap.annotations.model import Annotations, Stretch, TimedWord, join_stretches, order_annotations
from turngap.annotations.reading import PARSERS, find_label_file, read_annotations
from turngap.annotations.textgrid import form_stretches

__all__ = [
    "PARSERS",
    "Annotations",
    "Stretch",
    "TimedWord",
    "find_label_file",
    "form_stretches",
    "join_stretches",
    "order_annotations",
    "parse_audacity",
    "read_annotations",
    "write_audacity",
]
