"""Mapping files: those that ship, and what a malformed one is told."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap.model.span_mapping import SpanMapping
from turngap.spans.mapping import list_mappings, load_mapping
from turngap_agent.errors import UsageError
from turngap_agent.tracing import Stage

GOOD = """\
name: mine
call: {span: session, attribute: sid}
stages:
  first_token:
    begins: {span: model}
    ends: {span: model, add: ttft, unit: ms}
"""


def load(tmp_path: Path, text: str) -> SpanMapping:
    file = tmp_path / "mine.yaml"
    file.write_text(text, "utf-8")
    return load_mapping(str(file))


def test_what_ships_is_read() -> None:
    """Each mapping names the release that it was tried with, maps all stages it can, and says what governs them."""
    assert "pipecat" in list_mappings()
    for name in list_mappings():
        mapping = load_mapping(name)
        assert mapping.name == name
        assert mapping.tried_with
        assert {Stage.ENDPOINTING, *mapping.stages} <= set(mapping.governed_by)


def test_a_mapping_of_ones_own(tmp_path: Path) -> None:
    """Attributes may be in other units; what is not said has defaults."""
    mapping = load(tmp_path, GOOD)
    assert mapping.stages[Stage.FIRST_TOKEN].ends.unit == "ms"
    assert mapping.span_names == ("model",)
    assert mapping.used_names == {"model", "session"}


@pytest.mark.parametrize(
    ("old", "new", "line", "words"),
    [
        ("first_token:", "first_tokn:", 4, "`stages.first_tokn` must be 'framing_in', "),
        ("first_token:", "lead_in:", 4, "stage `lead_in` can't be mapped; those that can are: transcription"),
        ("begins: {span: model}", "begins: {}", 5, "a moment has either `span` or `instrument`"),
        ("begins: {span: model}", "begins: {span: model, instrument: received}", 5, "either `span` or `instrument`"),
        ("begins: {span: model}", "begins: {instrument: received, at: end}", 5, "`instrument` is a time by itself"),
        ("begins: {span: model}", "begins: {span: model, at: middle}", 5, "must be 'start' or 'end', not 'middle'"),
        ("unit: ms", "unit: minutes", 6, "must be 's', 'ms' or 'ns', not 'minutes'"),
        ("{span: session, attribute: sid}", "{attribute: sid}", 2, "`call.span` is missing"),
        ("    ends: {span: model, add: ttft, unit: ms}\n", "", 4, "`stages.first_token.ends` is missing"),
    ],
)
def test_a_fault_is_named_with_its_line(tmp_path: Path, old: str, new: str, line: int, words: str) -> None:
    """File, line, key and what fits there."""
    assert old in GOOD
    with pytest.raises(UsageError) as error:
        load(tmp_path, GOOD.replace(old, new))
    message = str(error.value)
    assert f"mine.yaml:{line}:" in message, message
    assert words in message


def test_a_mapping_without_stages_is_refused(tmp_path: Path) -> None:
    """It would explain nothing."""
    with pytest.raises(UsageError, match="no stage is mapped"):
        load(tmp_path, "name: mine\ncall: {span: session}\nstages: {}\n")


def test_an_unknown_name_lists_those_that_ship() -> None:
    """The nearest thing to do is named."""
    with pytest.raises(
        UsageError, match=r"no mapping of spans 'pipcat'; did you mean 'pipecat'\? There are: livekit, pipecat"
    ):
        load_mapping("pipcat")
