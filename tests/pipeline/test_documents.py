"""YAML documents: every fault is one line that says where."""

from __future__ import annotations

import pytest
from turngap.scenario import Scenario
from turngap_agent import documents
from turngap_agent.errors import ScenarioError

GOOD = "name: a\nturns:\n- {say: hello}\n"


def read(text: str) -> Scenario:
    return documents.parse(text, "a.yaml", Scenario, ScenarioError)


def test_a_good_document_is_its_model() -> None:
    """What stands in it arrives."""
    assert read(GOOD).turns[0].say == "hello"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"a\.yaml: the file is empty; it needs at least: name, turns"),
        ("- a", r"a\.yaml:1: a mapping of keys was expected, not list"),
        ("name: [", r"a\.yaml:\d: not valid YAML"),
        (GOOD + "seeed: 3\n", r"a\.yaml:4: unknown key `seeed`; did you mean `seed`\?"),
        ("name: a\nturns:\n- {say: hello, paus_ms: 1}\n", r"a\.yaml:3: unknown key `turns\.0\.paus_ms`; .*`pause_ms`"),
        (GOOD + "seed: -1\n", r"a\.yaml:4: `seed`: .*not -1"),
        ("name: a\nname: b\nturns:\n- {say: hello}\n", r"a\.yaml:2: the key `name` stands there a second time"),
        ("name: a\nturns:\n- {say: hello, say: bye}\n", r"a\.yaml:3: the key `say` stands there a second time"),
        ("name: a\n", r"`turns` is missing"),
    ],
)
def test_a_fault_is_one_line_with_its_place(text: str, message: str) -> None:
    """File, line, what is wrong, and the nearest valid key."""
    with pytest.raises(ScenarioError, match=message) as found:
        read(text)
    assert "\n" not in str(found.value)


def test_every_fault_has_its_line() -> None:
    """Who wrote three mistakes mends them in one go; what an unknown key was meant to be is not said to be missing."""
    with pytest.raises(ScenarioError) as found:
        read("nam: a\nseed: -1\nturns:\n- {say: hello, paus_ms: 1}\n")
    assert [line.partition(";")[0] for line in str(found.value).splitlines()] == [
        "a.yaml:4: unknown key `turns.0.paus_ms`",
        "a.yaml:1: unknown key `nam`",
        "a.yaml:2: `seed`: Input should be greater than or equal to 0, not -1",
    ]


def test_a_file_of_another_kind_does_not_flood_the_screen() -> None:
    """Ten lines, and how many more there would be."""
    with pytest.raises(ScenarioError) as found:
        read(GOOD + "".join(f"unknown_{number}: 1\n" for number in range(14)))
    lines = str(found.value).splitlines()
    assert len(lines) == documents.MOST_FAULTS + 1
    assert lines[-1] == "a.yaml: and 4 more faults; is it the right file?"


def test_an_alias_bomb_is_refused_at_once() -> None:
    """Aliases that multiply are looked at once each."""
    bomb = "a: &a [x]\n" + "".join(
        f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(ScenarioError, match=r"unknown key|missing"):
        read(bomb)


def test_faults_are_said_in_the_words_of_who_wrote_the_document() -> None:
    """An empty list and a name with spaces get sentences, not a programmer's terms or a pattern."""
    with pytest.raises(ScenarioError, match=r"s\.yaml:2: `turns`: needs at least 1 of them"):
        documents.parse("name: x\nturns: []\n", "s.yaml", Scenario, ScenarioError)
    with pytest.raises(ScenarioError, match=r"needs a name of small letters, digits and hyphens, not 'My Calls'"):
        documents.parse("name: My Calls\nturns: [{say: hi}]\n", "s.yaml", Scenario, ScenarioError)
