"""Stacks of the process's Python threads: as code objects, which are cheap to compare, and as text.

Only Python's frames are seen. A thread of a native library (such as ONNX Runtime's pool) has none; a Python thread that
calls into such a library stands at the line of the call.
"""

from __future__ import annotations

from types import CodeType, FrameType

CodeStack = tuple[CodeType, ...]
"""The functions of a thread, outermost first."""
_LOOP = ("Runner.run (asyncio/", "BaseEventLoop._run_once (asyncio/", "Handle._run (asyncio/")
"""The innermost functions of an event loop itself: what follows them is a callback or a task."""
MOST_FRAMES = 64
"""Of a deeper stack (a runaway recursion) the innermost ones are kept."""


def read_codes(frame: FrameType | None) -> CodeStack:
    """Return the functions from the outermost to `frame`'s own; () for None."""
    codes: list[CodeType] = []
    while frame is not None and len(codes) < MOST_FRAMES:
        codes.append(frame.f_code)
        frame = frame.f_back
    codes.reverse()
    return tuple(codes)


def describe_code(code: CodeType) -> str:
    """Return "function (file:line)" of a function, with the line where it begins."""
    return f"{code.co_qualname} ({_shorten(code.co_filename)}:{code.co_firstlineno})"


def describe_stack(frame: FrameType | None) -> tuple[str, ...]:
    """Return a stack as "function (file:line)", outermost first, with the lines that are being executed."""
    lines: list[str] = []
    while frame is not None and len(lines) < MOST_FRAMES:
        lines.append(f"{frame.f_code.co_qualname} ({_shorten(frame.f_code.co_filename)}:{frame.f_lineno})")
        frame = frame.f_back
    lines.reverse()
    return tuple(lines)


def leave_out_loop(stack: tuple[str, ...]) -> tuple[str, ...]:
    """Return the frames below the event loop's own; its own innermost frame if it runs no callback."""
    own = [place for place, frame in enumerate(stack) if frame.startswith(_LOOP)]
    return stack[own[-1] + 1 :] or stack[-1:] if own else stack


def _shorten(file: str) -> str:
    """Return a source file's path from its package on: a whole path names the machine and hides the function."""
    parts = file.replace("\\", "/").split("/")
    for root in ("site-packages", "dist-packages", "pipeline", "lib"):
        if root in parts[:-1]:
            rest = parts[len(parts) - parts[::-1].index(root) :]
            return "/".join(rest[1:] if rest[0].startswith("python3") else rest)
    return "/".join(parts[-2:])
