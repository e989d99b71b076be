"""The stages measured alone in a run's folder: those of its profile, one a stage, and what is left out."""

from __future__ import annotations

import json
from pathlib import Path

from turngap.store.stages import read_stages


def write(folder: Path, name: str, content: object) -> None:
    (folder / "stages").mkdir(exist_ok=True)
    (folder / "stages" / name).write_text(content if isinstance(content, str) else json.dumps(content))


def test_documents_are_read_by_stage(tmp_path: Path) -> None:
    """With more keys than a report needs; a floor that is null is none."""
    floor = {"ms": 2.0, "measured_ms": 6.0, "distance": 3.0, "parts": {"mel": {"floor_ms": 1, "measured_ms": 2}}}
    write(tmp_path, "a.json", {"stage": "stt", "profile": "cpu", "floor": floor, "rtf": 0.1})
    write(tmp_path, "b.json", {"stage": "tts", "profile": "cpu", "floor": None, "memory_mib": {"steady": 80.5}})
    found, notes = read_stages(tmp_path, "cpu")
    assert notes == ()
    assert set(found) == {"stt", "tts"}
    assert found["stt"].floor is not None
    assert found["stt"].floor.distance == 3.0
    assert found["tts"].memory_mib.steady == 80.5


def test_what_does_not_fit_is_left_out_with_a_note(tmp_path: Path) -> None:
    """Of another profile, torn, a second one of a stage, without its keys: the report is rendered all the same."""
    write(tmp_path, "1.json", {"stage": "stt", "profile": "cpu"})
    write(tmp_path, "2.json", {"stage": "stt", "profile": "cpu"})
    write(tmp_path, "3.json", {"stage": "llm", "profile": "h200"})
    write(tmp_path, "4.json", '{"stage": "tts", "prof')
    write(tmp_path, "5.json", {"profile": "cpu"})
    found, notes = read_stages(tmp_path, "cpu")
    assert set(found) == {"stt"}
    assert len(notes) == 4
    assert all(note.startswith("stages/") and "was left out" in note and "\n" not in note for note in notes)
    assert read_stages(tmp_path / "none", "cpu") == ({}, ())
