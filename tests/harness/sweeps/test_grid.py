"""The settings of a sweep, from the command line and from a file."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from turngap.session.request import Options
from turngap.sweeps import grid, plan
from turngap_agent import profile as profiles
from turngap_agent.errors import UsageError

NUMBERS = st.integers(0, 5000).map(str)
WORDS = st.text("abcdefgh_", min_size=1, max_size=8)
LISTS = st.lists(st.integers(0, 30), max_size=4).map(lambda values: f"[{','.join(map(str, values))}]")
QUOTED = st.text("abc, []{}", max_size=6).map(lambda text: f'"{text}"')
VALUES = st.lists(NUMBERS | WORDS | LISTS | QUOTED, min_size=1, max_size=4, unique=True)


@given(VALUES)
def test_split_values_are_unchanged(values: list[str]) -> None:
    """Commas inside brackets and quotes separate nothing."""
    assert grid.split_values(",".join(values)) == values
    assert grid.split_values(" , ".join(values)) == values


@given(st.text("a1,[]{}()'\" ", max_size=30))
def test_any_text_is_split_or_refused(text: str) -> None:
    """The result is never empty, and joined it is the text but for the spaces around its commas."""
    try:
        values = grid.split_values(text)
    except UsageError:
        return
    assert all(values)
    assert ",".join(values).replace(" ", "") == text.replace(" ", "")


@given(st.lists(VALUES, min_size=1, max_size=3))
def test_the_grid_is_every_combination(axes: list[list[str]]) -> None:
    """As many settings as the product, all different, each with a value for every key and a name for a folder."""
    count = 1
    for values in axes:
        count *= len(values)
    axis_options = [f"part.key{place}={','.join(values)}" for place, values in enumerate(axes)]
    if count > grid.MOST_SETTINGS:
        with pytest.raises(UsageError, match=f"at most {grid.MOST_SETTINGS}"):
            grid.combine_values(axis_options)
        return
    settings = grid.combine_values(axis_options)
    assert len(settings) == count
    assert len({setting.overrides for setting in settings}) == count
    assert len({setting.slug for setting in settings}) == count
    for setting in settings:
        assert [override.partition("=")[0] for override in setting.overrides] == [
            f"part.key{place}" for place in range(len(axes))
        ]
        assert Path(setting.slug).name == setting.slug
        assert setting.slug not in ("", ".", "..")


def test_a_list_is_one_value() -> None:
    """`stt.cores=[0,1],[1]` has two values; the YAML of each is a list."""
    settings = grid.combine_values(["stt.cores=[0,1],[1]"])
    assert [yaml.safe_load(each.overrides[0].partition("=")[2]) for each in settings] == [[0, 1], [1]]
    assert [each.slug for each in settings] == ["cores-0-1", "cores-1"]


def test_a_key_with_one_value_is_no_part_of_the_names() -> None:
    """It is the same for all settings; keys that end alike are named in full."""
    settings = grid.combine_values(["stt.threads=1,2", "llm.threads=1,2", "endpointing.policy=silence"])
    assert settings[0].name == "stt.threads=1 llm.threads=1"
    assert settings[3].overrides == ("stt.threads=2", "llm.threads=2", "endpointing.policy=silence")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "needs settings"),
        (("endpointing.min_silence_ms",), "expected section.key=value"),
        (("min_silence_ms=100",), "expected section.key=value"),
        (("a.b=",), "--set 'a.b=': a value is missing; give values with commas between them"),
        (("a.b=1,,2",), "--set 'a.b=1,,2': a value is missing; give one beside each comma, or drop the comma"),
        (("a.b=[1,2",), r"--set 'a.b=\[1,2': a bracket or a quote is not closed"),
        (("a.b=1]",), "--set 'a.b=1]': a bracket or a quote is not closed"),
        (("a.b=1,2,1",), "is given twice"),
        (("a.b=1", "a.b=2"), "--set a.b: given more than once"),
        (("a.b=1,2,3,4,5,6,7,8,9,10,11,12,13",), "at most 12"),
    ],
)
def test_malformed_options_are_refused(options: tuple[str, ...], message: str) -> None:
    """One line that says what to do, before anything starts."""
    with pytest.raises(UsageError, match=message) as fault:
        grid.combine_values(options)
    assert "\n" not in str(fault.value)


ORDER = ("provisional_ms", "min_silence_ms", "max_silence_ms")


@pytest.mark.parametrize(
    ("overrides", "moved"),
    [
        (("min_silence_ms=100",), {"provisional_ms": 100}),
        (("min_silence_ms=250",), {}),
        (("min_silence_ms=900",), {"max_silence_ms": 900}),
        (("provisional_ms=900",), {"min_silence_ms": 900, "max_silence_ms": 900}),
        (("max_silence_ms=150",), {"provisional_ms": 150, "min_silence_ms": 150}),
        (("provisional_ms=100", "max_silence_ms=200"), {"min_silence_ms": 200}),
        (("provisional_ms=600", "max_silence_ms=400"), {}),
        (("min_silence_ms=100", "provisional_ms=192"), {}),
        (("min_silence_ms=100", "policy=silence"), {}),
        (("min_silence_ms=soon",), {}),
    ],
)
def test_a_swept_silence_moves_what_must_be_ordered_with_it(overrides: tuple[str, ...], moved: dict[str, int]) -> None:
    """As far as the order demands, and nothing that an override names; contradictions are left to the profile."""
    profile = profiles.load(
        "cpu", tuple(f"endpointing.{key}={ms}" for key, ms in zip(ORDER, (192, 300, 800), strict=True))
    )
    changes = grid.moved_settings(profile, tuple(f"endpointing.{override}" for override in overrides))
    assert {one.override for one in changes} == {f"endpointing.{key}={ms}" for key, ms in moved.items()}
    for one, key in zip(changes, moved, strict=True):
        assert one.note.startswith(f"endpointing.{key} is {moved[key]} instead of ")


def test_the_published_sweep_of_the_shortest_silence_is_accepted(tmp_path: Path) -> None:
    """`--set endpointing.min_silence_ms=100,200,300` of the default profile: the provisional end follows."""
    settings = grid.combine_values(["endpointing.min_silence_ms=100,200,300"])
    request = plan.plan_sweep("pauses", settings, options=Options(out=tmp_path))
    silences = [[row.profile_data["endpointing"][key] for key in ORDER[:2]] for row in request.record.settings]
    assert silences == [[100, 100], [192, 200], [192, 300]]
    assert [len(member.notes) for member in request.members] == [1, 0, 0]
    assert [row.name for row in request.record.settings] == [f"min_silence_ms={ms}" for ms in (100, 200, 300)]


def write_file(folder: Path, text: str) -> Path:
    file = folder / "grid.yaml"
    file.write_text(text)
    return file


def test_steps_of_a_file_keep_their_order_and_names(tmp_path: Path) -> None:
    """A step without `set` is the profile as it is."""
    text = 'steps:\n- {name: Plain}\n- {name: + short window, set: ["stt.window=short", endpointing.policy=silence]}\n'
    settings = grid.load_steps(write_file(tmp_path, text))
    assert [(each.name, each.slug) for each in settings] == [("Plain", "plain"), ("+ short window", "short-window")]
    assert settings[0].overrides == ()
    assert settings[1].overrides == ("stt.window=short", "endpointing.policy=silence")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("steps: []", r"grid.yaml:1: `steps`"),
        ("steps:\n- {name: a}\n- {name: b, sett: [a.b=1]}", r"grid.yaml:3: unknown key `steps.1.sett`; did you mean"),
        ("steps:\n- {set: [a.b=1]}", r"grid.yaml:2: `steps.0.name` is missing"),
        ("steps:\n- {name: a}\n- {name: a, set: [a.b=1]}", "two steps are called 'a'"),
        ("steps:\n- {name: a, set: [a.b=1, a.b=2]}", "sets a.b twice"),
        ("steps:\n" + "".join(f"- {{name: s{i}}}\n" for i in range(13)), "at most 12"),
    ],
)
def test_a_malformed_file_is_refused(tmp_path: Path, text: str, message: str) -> None:
    """With its line, and the key that was meant."""
    with pytest.raises(UsageError, match=message):
        grid.load_steps(write_file(tmp_path, text))
