"""All targets, by name."""

from __future__ import annotations

from tests.fuzz.document_targets import DOCUMENT_TARGETS
from tests.fuzz.file_targets import FILE_TARGETS
from tests.fuzz.folder_targets import FOLDER_TARGETS
from tests.fuzz.http_targets import HTTP_TARGETS
from tests.fuzz.target import Target
from tests.fuzz.wire_targets import WIRE_TARGETS

TARGETS: dict[str, Target] = {
    target.name: target for target in (*WIRE_TARGETS, *HTTP_TARGETS, *DOCUMENT_TARGETS, *FOLDER_TARGETS, *FILE_TARGETS)
}
