"""Stacks as text: order, lines, what is left out of them."""

from __future__ import annotations

import sys

from turngap_agent.health.stacks import MOST_FRAMES, describe_code, describe_stack, leave_out_loop, read_codes


def inner() -> tuple[str, ...]:
    return describe_stack(sys._getframe())


def outer() -> tuple[str, ...]:
    return inner()


def test_a_stack_is_outermost_first_with_the_lines_that_run() -> None:
    """The innermost frame is the function that asked, at the line where it asked."""
    frames = outer()
    line = inner.__code__.co_firstlineno + 1
    assert frames[-1] == f"inner (health/test_stacks.py:{line})"
    assert frames[-2].startswith("outer (health/test_stacks.py:")


def test_a_runaway_recursion_keeps_its_innermost_frames() -> None:
    """The depth is bounded; what is kept is where the thread is."""

    def descend(depth: int) -> tuple[str, ...]:
        return describe_stack(sys._getframe()) if depth == 0 else descend(depth - 1)

    frames = descend(3 * MOST_FRAMES)
    assert len(frames) == MOST_FRAMES
    assert "descend" in frames[0]
    assert "descend" in frames[-1]


def test_no_frame_is_an_empty_stack() -> None:
    """A thread that has ended has none."""
    assert describe_stack(None) == ()
    assert read_codes(None) == ()


def test_a_library_is_named_from_its_package_on() -> None:
    """Where a machine keeps its libraries says nothing, and names the machine."""
    code = compile("def f(): pass", "/home/x/.venv/lib/python3.11/site-packages/onnxruntime/capi/session.py", "exec")
    assert describe_code(code) == "<module> (onnxruntime/capi/session.py:1)"
    code = compile("def f(): pass", "/usr/lib/python3.11/json/encoder.py", "exec")
    assert describe_code(code) == "<module> (json/encoder.py:1)"


def test_the_loop_itself_is_left_out_of_a_stack() -> None:
    """What it runs is what matters; if it runs nothing, it is named itself."""
    loop = ("main (server/serve.py:9)", "Runner.run (asyncio/runners.py:118)")
    assert leave_out_loop((*loop, "dumps (json/__init__.py:231)")) == ("dumps (json/__init__.py:231)",)
    assert leave_out_loop(loop) == ("Runner.run (asyncio/runners.py:118)",)
    assert leave_out_loop(("work (worker.py:3)",)) == ("work (worker.py:3)",)
    assert leave_out_loop(()) == ()
