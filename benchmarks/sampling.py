"""Measures what watching and sampling the agent cost the caller: turn gaps with and without, in pairs.

    python -m benchmarks.sampling [--turns 80] [--py-spy] [--json]              about 9 minutes for 80 rounds

Agents with scripted engines run side by side: one that nobody watches, one whose event loop is watched as in every run,
and one whose threads are also sampled 100 times a second for `turngap run --trace-worst`. They are called alternately
with the same utterance and the frames at the same positions, and the gap is measured from the audio. The mean and the
median difference from the unwatched agent are judged by their 95 % intervals: they must be within 1 ms of 0. With
`--py-spy` a fourth agent is sampled from outside by that program, as often, without stopping it: for comparison,
not judged (`pip install py-spy`; it must be allowed to trace other processes).
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

from turngap.caller.priority import raised_priority
from turngap.model.turn import TurnRecord
from turngap_agent.errors import UsageError

from benchmarks.promises import Promise, make_parser, print_progress, print_result, run_main
from benchmarks.side_by_side import Variant, side_by_side
from benchmarks.tracing import compute_differences, make_promises

OFF, WATCHED, SAMPLED, OUTSIDE = "nobody looks", "loop watched", "stacks sampled", "sampled by py-spy"
RATE_HZ = 100
VARIANTS: Mapping[str, Variant] = {
    OFF: Variant(watched=False),
    WATCHED: Variant(),
    SAMPLED: Variant(sample_stacks=True),
}


async def measure_rounds(turns: int, *, py_spy: bool) -> list[dict[str, TurnRecord]]:
    """Return `turns` rounds of one turn with each agent.

    Raises:
        UsageError: py-spy is wanted and not there, or may not trace the agent.
    """
    variants = {**VARIANTS, **({OUTSIDE: Variant(watched=False)} if py_spy else {})}
    async with side_by_side(variants) as caller:
        pid = caller.agents[OUTSIDE].pid if py_spy else None
        async with _sampled_from_outside(pid):
            return await caller.rounds(turns)


@contextlib.asynccontextmanager
async def _sampled_from_outside(pid: int | None) -> AsyncIterator[None]:
    if pid is None:
        yield
        return
    program = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if program is None:
        raise UsageError("--py-spy: there is no program py-spy; install it: pip install py-spy")
    with tempfile.TemporaryDirectory() as folder:
        out = str(Path(folder) / "stacks.txt")
        options = ["--pid", str(pid), "--rate", str(RATE_HZ), "--nonblocking", "--idle", "--format", "raw", "-o", out]
        process = await asyncio.create_subprocess_exec(
            program,
            "record",
            "--duration",
            "unlimited",
            *options,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            with contextlib.suppress(TimeoutError):
                _, text = await asyncio.wait_for(process.communicate(), 2.0)
                lines = text.decode("utf-8", "replace").strip().splitlines() or ["it said nothing"]
                raise UsageError(f"--py-spy: it does not sample the agent: {lines[-1]}")
            print_progress(f"py-spy samples process {pid}")
            yield
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()


def main() -> int:
    """Print the table; return 1 if a promise does not hold."""
    options = make_parser(__doc__)
    options.add_argument("--turns", type=int, default=80, help="rounds of one turn with each agent")
    options.add_argument("--py-spy", action="store_true", help="compare with py-spy, which samples from outside")
    arguments = options.parse_args()
    with raised_priority():
        rounds = asyncio.run(measure_rounds(arguments.turns, py_spy=arguments.py_spy))
    rows: list[Promise] = []
    details = {}
    for name in (WATCHED, SAMPLED, *([OUTSIDE] if arguments.py_spy else [])):
        with_ms, without_ms = compute_differences(rounds, name, OFF)
        rows += make_promises(with_ms, without_ms, name, "nobody looking", judged=name != OUTSIDE)
        left_out = arguments.turns - len(with_ms)
        rows.append(
            Promise(
                f"{name}: pairs left out <= 10 %",
                f"{left_out} of {arguments.turns}",
                left_out,
                holds=left_out <= arguments.turns / 10,
            )
        )
        details[name] = {"with_ms": with_ms, "without_ms": without_ms}
    return print_result("sampling", rows, details, as_json=arguments.json)


if __name__ == "__main__":
    sys.exit(run_main(main))
