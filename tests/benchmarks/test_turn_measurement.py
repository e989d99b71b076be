"""First audio in the state that a turn finds: the work of the text alone, or with that of its context."""

from __future__ import annotations

import argparse
from typing import Any

import pytest

torch = pytest.importorskip("torch", reason="needs the extra csm: pip install 'turngap[csm]'")
pytest.importorskip("transformers", reason="needs the extra csm: pip install 'turngap[csm]'")

from turngap_agent.device.execution import Mode
from turngap_agent.tts.csm import codec

from benchmarks import csm
from benchmarks.speech import turn_measurement
from benchmarks.speech.slot_measurement import SlotMeasurement


def measurement(tmp_path: Any, **changes: Any) -> SlotMeasurement:
    options = csm.parse(["--tiny", "--device", "cpu", "--out", str(tmp_path)])
    measured = SlotMeasurement(argparse.Namespace(**{**vars(options), **changes}), "csm")
    measured.load()
    measured.speech.prepare(Mode.EAGER, 1)
    return measured


def test_a_prepared_turn_encodes_nothing(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """The context's two new utterances are encoded in the preparation, or, late, in the first audio."""
    measured, order = measurement(tmp_path), []
    speech, slot = measured.speech, measured.speech.slots[0]
    encode, start = codec.encode, slot.start

    def encode_noted(*arguments: Any) -> Any:
        order.append("encode")
        return encode(*arguments)

    def start_noted(*arguments: Any, **more: Any) -> None:
        order.append("start")
        start(*arguments, **more)

    monkeypatch.setattr(codec, "encode", encode_noted)
    monkeypatch.setattr(slot, "start", start_noted)
    with speech.execution.activate():
        result = turn_measurement.measure(speech, 2, measured.wait)
    assert order[1:] == ["encode", "encode", "start"] * 4
    assert {kind: result[kind]["n"] for kind in ("prepared", "late", "preparation")} == dict.fromkeys(
        ("prepared", "late", "preparation"), 2
    )
