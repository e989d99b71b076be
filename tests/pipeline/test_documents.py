"""YAML documents: every error is one line with its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from turngap.scenario import Scenario
from turngap.verdict.budget import Budget
from turngap_agent import documents
from turngap_agent.errors import ScenarioError, UsageError
from turngap_agent.profile import Profile

GOOD = "name: a\nturns:\n- {say: hello}\n"


def read(text: str) -> Scenario:
    return documents.parse(text, "a.yaml", Scenario, ScenarioError)


def test_a_good_document_is_its_model() -> None:
    """Its values arrive."""
    assert read(GOOD).turns[0].say == "hello"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", r"a\.yaml: the file is empty; it needs at least `name`"),
        ("- a", r"a\.yaml:1: a mapping of keys to values is expected, not list"),
        ("name: [", r"a\.yaml:\d: not valid YAML"),
        (GOOD + "seeed: 3\n", r"a\.yaml:4: unknown key `seeed`; did you mean `seed`\?"),
        ("name: a\nturns:\n- {say: hello, paus_ms: 1}\n", r"a\.yaml:3: unknown key `turns\.0\.paus_ms`; .*`pause_ms`"),
        (GOOD + "seed: -1\n", r"a\.yaml:4: `seed` must be at least 0, not -1"),
        ("name: a\nname: b\nturns:\n- {say: hello}\n", r"a\.yaml:2: duplicate key `name`"),
        ("name: a\nturns:\n- {say: hello, say: bye}\n", r"a\.yaml:3: duplicate key `say`"),
        ("name: a\n", r"`turns` is missing"),
    ],
)
def test_a_fault_is_one_line_with_its_place(text: str, message: str) -> None:
    """File, line, what is wrong, and the nearest valid key."""
    with pytest.raises(ScenarioError, match=message) as caught:
        read(text)
    assert "\n" not in str(caught.value)


def test_every_fault_has_its_line() -> None:
    """Three mistakes are reported at once; the key that an unknown one was meant to be is not reported as missing."""
    with pytest.raises(ScenarioError) as caught:
        read("nam: a\nseed: -1\nturns:\n- {say: hello, paus_ms: 1}\n")
    assert [line.partition(";")[0] for line in str(caught.value).splitlines()] == [
        "a.yaml:4: unknown key `turns.0.paus_ms`",
        "a.yaml:1: unknown key `nam`",
        "a.yaml:2: `seed` must be at least 0, not -1",
    ]


def test_a_file_of_another_kind_does_not_flood_the_screen() -> None:
    """Ten lines, and how many more there would be."""
    with pytest.raises(ScenarioError) as caught:
        read(GOOD + "".join(f"unknown_{number}: 1\n" for number in range(14)))
    lines = str(caught.value).splitlines()
    assert len(lines) == documents.MAX_ERRORS + 1
    assert lines[-1] == "a.yaml: and 4 more errors; is it the right file?"


def test_an_alias_bomb_is_refused_at_once() -> None:
    """Aliases that multiply are counted before anything is made of them."""
    bomb = "a: &a [x]\n" + "".join(
        f"{b}: &{b} [*{a}, *{a}, *{a}, *{a}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)
    )
    with pytest.raises(ScenarioError, match=r"a\.yaml:1: over 200,000 values"):
        read(bomb)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: x\nturns: []\n", "s.yaml:2: `turns` must not be empty"),
        ("name: x\nturns: 3\n", "s.yaml:2: `turns` must be a list, as in `turns: [{key: value}]`, not 3"),
        (
            "name: My Calls\nturns: [{say: hi}]\n",
            "s.yaml:1: `name` must be a name of lower-case letters, digits and hyphens, not 'My Calls'",
        ),
        (
            "name: x\nturns: [{say: hi, agent: talk}]\n",
            "s.yaml:2: `turns.0.agent` must be 'respond', 'wait', 'stop', 'ignore' or 'limit', not 'talk'",
        ),
        (
            "name: x\nturns_per_call: most\nturns: [{say: hi}]\n",
            "s.yaml:2: `turns_per_call`: must be a whole number, at least 1, or `all`, not 'most'",
        ),
    ],
)
def test_errors_use_the_words_of_who_wrote_the_document(text: str, message: str) -> None:
    """No programmer's terms and no pattern; a list is shown by an example."""
    with pytest.raises(ScenarioError) as raised:
        documents.parse(text, "s.yaml", Scenario, ScenarioError)
    assert str(raised.value) == message


def test_a_list_is_shown_with_the_keys_its_entries_need() -> None:
    """The example has the required keys; a value that the message quotes already is not repeated."""
    with pytest.raises(ScenarioError) as raised:
        documents.parse("name: x\nlimits: 3\n", "b.yaml", Budget, ScenarioError)
    assert "as in `limits: [{metric: …, at_most: …}]`" in str(raised.value)
    with pytest.raises(ScenarioError) as raised:
        documents.parse("name: x\nlimits: [{metric: turngap, at_most: 1}]\n", "b.yaml", Budget, ScenarioError)
    assert str(raised.value) == "b.yaml:2: `limits.0.metric`: no metric 'turngap'; did you mean `turn_gap_ms`?"


def test_the_keys_of_the_engine_that_is_named_are_the_valid_ones() -> None:
    """Of a union only the member that the document chose has a say."""
    with pytest.raises(ScenarioError) as raised:
        documents.parse("vad: {engine: energy, modell: x}\n", "p.yaml", Profile, ScenarioError)
    assert "p.yaml:1: unknown key `vad.modell`; valid keys: engine, own_process, threshold_dbfs" in str(raised.value)


@pytest.mark.parametrize(
    ("text", "code"), [("", "yaml"), ("a: 1\na: 2", "yaml"), ("[", "yaml"), ("seed: 3", "invalid")]
)
def test_programs_tell_a_malformed_document_from_one_that_does_not_fit(text: str, code: str) -> None:
    """By the code, below the error class's own."""
    with pytest.raises(ScenarioError) as raised:
        read(text)
    assert raised.value.code == f"scenario.{code}"


def test_a_missing_file_and_an_unknown_name_have_codes_of_their_own(tmp_path: Path) -> None:
    """`missing` names the path, `unknown` the names there are."""
    with pytest.raises(ScenarioError) as raised:
        documents.load(tmp_path / "no.yaml", Scenario, ScenarioError)
    assert (raised.value.code, str(tmp_path / "no.yaml") in str(raised.value)) == ("scenario.missing", True)
    (tmp_path / "one.yaml").touch()
    with pytest.raises(ScenarioError) as raised:
        documents.locate("two", tmp_path, "thing", ScenarioError)
    assert raised.value.code == "scenario.unknown"
    assert "one" in str(raised.value)


def test_what_is_no_text_is_named_in_plain_words(tmp_path: Path) -> None:
    """A folder and a binary file, without the words of the operating system or of a codec."""
    binary = tmp_path / "b.yaml"
    binary.write_bytes(b"name: \x8c")
    folder = tmp_path / "f.yaml"
    folder.mkdir()
    for path, fact in ((binary, "UTF-8"), (folder, "is a folder")):
        with pytest.raises(UsageError, match=fact) as raised:
            documents.load(path, documents.FrozenModel)
        assert "Errno" not in str(raised.value)
        assert "codec" not in str(raised.value)
        assert raised.value.code == "usage.unreadable"
    with pytest.raises(UsageError, match="is a folder"):
        documents.locate(str(tmp_path), tmp_path, "profile", UsageError)


def test_only_similar_names_are_suggested() -> None:
    """`l.wav` is no misspelling of `large.wav`."""
    assert documents.suggest("god.wav", ["good.wav"]) == "; did you mean 'good.wav'?"
    assert documents.suggest("large.wav", ["l.wav"]) == ""


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name: " + "[" * 5000, "nested too deeply"),
        ("name: a\nturns: &a [*a]\n", "a.yaml:2: an alias contains itself"),
        ("name: !!int ''\n", "a.yaml:1: not valid YAML: a value of type int cannot be read"),
        ("\n\nseed: " + "9" * 5000, "a.yaml:3: not valid YAML: a value of type int cannot be read"),
        ("seed: !!bool x\n", "a.yaml:1: not valid YAML: a value of type bool cannot be read"),
        ("seed: !!timestamp x\n", "a.yaml:1: not valid YAML: a value of type timestamp cannot be read"),
        ("seed: 2001-99-99\n", "a.yaml:1: not valid YAML: a value of type timestamp cannot be read"),
        ("seed: 1" + ":0" * 400 + ".5\n", "a.yaml:1: not valid YAML: a value of type float cannot be read"),
        ("? [a]\n: b\n", "a.yaml:1: not valid YAML: found unhashable key"),
        ("seed: !!python/name:os.system\n", "a.yaml:1: not valid YAML: could not determine a constructor"),
        ("name: \x00\n", "not valid YAML: unacceptable character"),
        ("#" * (1 << 20) + "\n", "over 1 MiB of text"),
        (GOOD + "seed: " + "x" * 5000, "a.yaml:4: `seed` must be a whole number"),
    ],
)
def test_a_hostile_document_is_one_line(text: str, message: str) -> None:
    """Too deep, too large, values that do not fit their tags, aliases without end: nothing else is raised."""
    with pytest.raises(ScenarioError) as caught:
        read(text)
    first = str(caught.value).split("\n")[0]
    assert message in first
    assert len(first) <= 1000
    assert first.startswith("a.yaml")
