"""Load shapes: those that ship, loads over time, and malformed files."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap.capacity import shapes
from turngap_agent.errors import ScenarioError


def test_every_shape_that_ships_can_be_read() -> None:
    """Each is named as its file, has a description, and at least one phase with a load."""
    names = shapes.list_shapes()
    assert {"steady", "poisson", "ramp", "steps", "spike", "soak", "cold"} <= set(names)
    for name in names:
        shape = shapes.load_shape(name)
        assert shape.name == name
        assert shape.description
        assert shape.highest > 0


def test_a_ramp_rises_evenly_and_stays() -> None:
    """The load between is in proportion to the time; before the start and after the end it does not change."""
    ramp = shapes.load_shape("ramp")
    assert [ramp.load_at(at) for at in (-5, 0, 60, 120, 500)] == pytest.approx([0.1, 0.1, 0.55, 1.0, 1.0])


def test_phases_follow_one_another() -> None:
    """A moment belongs to the phase that has begun last."""
    spike = shapes.load_shape("spike")
    assert [spike.find_phase(at) for at in (-1, 0, 59.9, 60, 74.9, 75, 999)] == [0, 0, 0, 1, 1, 2, 2]
    assert (spike.seconds, spike.highest, spike.is_steady) == (165, 4.0, False)
    assert shapes.load_shape("steady").is_steady


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nphases: [{name: a, second: 3}]", "x.yaml:2: unknown key `phases.0.second`; did you mean `seconds`?"),
        ("name: x\nphases: []", "x.yaml:2"),
        ("name: x\nphases: [{name: a, seconds: 1}, {name: a}]", "two phases are called 'a'"),
        ("name: x\nphases: [{name: a}, {name: b}]", "phase 'a' needs `seconds`"),
        ("name: x\nphases: [{name: a, seconds: 5, load: 0}]", "no phase has a load over 0"),
        ("name: x\nphases: [{name: a, load: 0}]", "needs a steady `load` over 0"),
        ("name: x\nphases: [{name: a, until: 2}]", "needs a steady `load` over 0"),
        ("name: x\narrivals: poison\nphases: [{name: a}]", "x.yaml:2"),
        (
            "name: x\nrecovery_of: spik\nphases: [{name: spike, seconds: 1}, {name: b}]",
            "x.yaml:2: `recovery_of`: 'spik' is no phase that another one follows; did you mean 'spike'?",
        ),
        (
            "name: x\nrecovery_of: spike\nphases: [{name: spike, seconds: 1}, {name: b}]",
            "x.yaml:2: `recovery_of`: 'spike' is the first phase",
        ),
    ],
)
def test_a_malformed_shape_is_one_line_with_its_place(tmp_path: Path, text: str, message: str) -> None:
    """The file, and where it can be told the line and the nearest name."""
    file = tmp_path / "x.yaml"
    file.write_text(text)
    with pytest.raises(ScenarioError) as raised:
        shapes.load_shape(str(file))
    (line,) = str(raised.value).splitlines()
    assert message in line


def test_an_unknown_name_is_told_with_the_nearest() -> None:
    """And that a file can be given."""
    with pytest.raises(ScenarioError, match="did you mean 'spike'"):
        shapes.load_shape("spikes")
