"""The error tree: exit codes, codes, and how a command prints an error."""

import ast
import errno
import pickle
import re
from pathlib import Path

import pytest
from turngap_agent import errors
from turngap_agent.errors import HarnessError, ScenarioError, TurngapError, UsageError, format_error, write_error


def tree(base: type[TurngapError] = TurngapError) -> list[type[TurngapError]]:
    """Return the classes of the module below `base`, itself included."""
    classes = [base]
    for child in base.__subclasses__():
        if child.__module__ == errors.__name__:
            classes += tree(child)
    return classes


def test_every_class_is_in_the_tree_of_the_docstring():
    """The module opens with the hierarchy: each class with its depth, and no other."""
    assert errors.__doc__
    lines = re.findall(r"^([│ ]*)(?:[├└]── )?(\w+Error)\b", errors.__doc__, re.MULTILINE)
    shown = {name: len(indent) // 4 + (name != "TurngapError") for indent, name in lines}
    assert shown == {kind.__name__: len(kind.__mro__) - len(TurngapError.__mro__) for kind in tree()}


def test_user_errors_exit_3_and_all_others_2():
    """The docstring's two exit codes; 0 and 1 are a verdict's."""
    codes = {kind: kind.exit_code for kind in tree()}
    assert {kind for kind, code in codes.items() if code == 3} == set(tree(UsageError))
    assert set(codes.values()) == {2, 3}


def test_every_class_has_a_code_of_its_own():
    """Lower case and hyphens; a finer code is the class's own, a dot, and a word."""
    codes = [kind.code for kind in tree()]
    assert len(set(codes)) == len(codes)
    assert all(re.fullmatch(r"[a-z]+(-[a-z]+)*", code) for code in codes)
    assert ScenarioError("no such file", code="scenario.missing").code == "scenario.missing"
    assert ScenarioError("no such file").code == ScenarioError.code == "scenario"


@pytest.mark.parametrize("kind", tree())
def test_an_error_survives_the_way_between_processes(kind):
    """Message and code are the same after pickling."""
    error = kind("what, where, what to do", code=f"{kind.code}.finer")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), str(again), again.code) == (kind, str(error), error.code)


def test_each_line_of_a_message_is_marked_as_an_error():
    """A document with two errors is two lines on stderr."""
    assert format_error("a.yaml:1: one\na.yaml:2: two") == (
        "turngap: error: a.yaml:1: one\nturngap: error: a.yaml:2: two"
    )


@pytest.mark.parametrize(
    ("number", "kind"), [(errno.EACCES, UsageError), (errno.ENOENT, UsageError), (errno.ENOSPC, HarnessError)]
)
def test_a_path_that_cannot_be_written_is_the_users_unless_the_disk_is_full(number, kind):
    """A full disk is not the user's mistake."""
    error = write_error("out.html: the report cannot be written", OSError(number, "reason"))
    assert type(error) is kind
    assert str(error) == "out.html: the report cannot be written (reason)"


def test_finer_codes_begin_with_their_class():
    """Wherever an error is raised with a code of its own, in the agent or the instrument."""
    kinds = {kind.__name__: kind for kind in tree()}
    root = Path(__file__).parents[2]
    calls = [
        (node.func.id, keyword.value.value)
        for package in ("pipeline/turngap_agent", "harness/turngap")
        for path in (root / package).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in kinds
        for keyword in node.keywords
        if keyword.arg == "code" and isinstance(keyword.value, ast.Constant)
    ]
    assert len(calls) > 20
    assert [(name, code) for name, code in calls if not str(code).startswith(f"{kinds[name].code}.")] == []
