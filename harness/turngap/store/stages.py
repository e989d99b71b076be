"""Reads the stages that were measured alone, from the folder `stages` of a run: what `turngap stage` printed."""

from __future__ import annotations

from pathlib import Path

from turngap_agent.errors import RunFolderError

from turngap.model.stage_document import StageDocument
from turngap.store import disk

STAGES = "stages"


def read_stages(folder: Path, profile: str) -> tuple[dict[str, StageDocument], tuple[str, ...]]:
    """Return the documents of a run's stages by stage, and notes on those that are left out.

    A document of another profile, or a damaged one, is left out: it is no fault of the run.
    """
    found: dict[str, StageDocument] = {}
    notes: list[str] = []
    for file in sorted((folder / STAGES).glob("*.json")):
        try:
            document = disk.validate_json(StageDocument, file.read_text("utf-8", "replace"), str(file))
        except (OSError, RunFolderError) as error:
            notes.append(f"{STAGES}/{file.name} was left out: {' '.join(str(error).split())}")
            continue
        if document.profile != profile:
            notes.append(f"{STAGES}/{file.name} was left out: it is of profile {document.profile!r}, not {profile!r}")
        elif document.stage in found:
            notes.append(f"{STAGES}/{file.name} was left out: another file has stage {document.stage}")
        else:
            found[document.stage] = document
    return found, tuple(notes)
