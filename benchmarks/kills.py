"""Kills runs at random moments, ten times, and counts what was lost.

    python benchmarks/kills.py [--kills 10] [--turns 40] [--longest-s 30] [--seed N]

A scenario of short probe turns runs against the scripted agent. The harness's process is killed with SIGKILL at a
random moment of its life; then every turn that it had announced must be in `turns.jsonl`, `turngap report` must render
the folder, and no process that it started may be left. The run is resumed, and killed again; when all kills are done
(or the run is complete, and another begins) it is completed. Prints a table; exits 1 if anything was lost.
"""

from __future__ import annotations

import argparse
import os
import random
import re
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import psutil
import soundfile
from turngap.processes import child
from turngap.store import folder as store
from turngap_agent.errors import RunFolderError

RATE = 8000
MARK = "TURNGAP_KILLS"
"""An environment variable that everything a run starts inherits: what still has it afterwards is an orphan."""
ORPHANS_S = 10.0
"""How long processes may take to notice the death of the one that started them."""
ANNOUNCED = re.compile(r"^kills: \d+/\d+ (\S+): \w+")


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill and what was found after it."""

    after_s: float
    """From the harness's start."""
    doing: str
    """The last it had said."""
    announced: int
    """Turns of this run announced so far, over all its resumptions."""
    kept: int
    """Of those, the ones in `turns.jsonl`."""
    rendered: bool
    orphans: tuple[str, ...]

    @property
    def lost(self) -> bool:
        """True where anything is not as it should be."""
        return self.kept < self.announced or not self.rendered or bool(self.orphans)


def main() -> int:
    """Run it; 0 when nothing was lost."""
    options = argparse.ArgumentParser(description="Kill runs at random moments and count what was lost.")
    options.add_argument("--kills", type=int, default=10)
    options.add_argument("--turns", type=int, default=40, help="turns a run")
    options.add_argument("--longest-s", type=float, default=30.0, help="latest moment of a kill, from the start")
    options.add_argument("--seed", type=int, default=None, help="of the moments; default: another each time")
    given = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="turngap-kills-") as folder:
        return _kill_all(Path(folder), given.kills, given.turns, given.longest_s, random.Random(given.seed))


def write_scenario(folder: Path, turns: int) -> Path:
    """`turns` half-second tones, each in a call of its own that is hung up as soon as it was answered."""
    lines = ["name: kills", "probe: true", "warm_up_turns: 1", "turns:"]
    seconds = np.arange(RATE // 2) / RATE
    for index in range(turns):
        soundfile.write(folder / f"t{index}.wav", 0.2 * np.sin(2 * np.pi * (200 + 5 * index) * seconds), RATE)
        lines.append(f"  - {{id: t{index}, audio: t{index}.wav, pause_ms: 100, answer_within_ms: 3000}}")
    path = folder / "kills.scenario.yaml"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


class Running:
    """A `turngap` process, what it says on stderr, and everything it started, known by a mark."""

    def __init__(self, *arguments: str) -> None:
        self.mark = uuid.uuid4().hex
        self.said: list[str] = []
        self._process = subprocess.Popen(
            child.python("turngap", *arguments),
            env=dict(os.environ) | {MARK: self.mark},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stderr,), daemon=True)
        self._reader.start()

    def kill_after(self, seconds: float) -> bool:
        """SIGKILL at that moment; False if it had ended before."""
        try:
            self.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.wait(10)
            return True
        return False

    def wait(self, timeout_s: float) -> int:
        """Its exit status, when it has ended and all it said has been read.

        Raises:
            subprocess.TimeoutExpired: it has not ended.
        """
        status = self._process.wait(timeout_s)
        self._reader.join(1.0)
        return status

    @property
    def announced(self) -> set[str]:
        """The utterances whose turn it said was finished."""
        return {found[1] for line in self.said if (found := ANNOUNCED.match(line))}

    def orphans(self, patience_s: float = ORPHANS_S) -> tuple[str, ...]:
        """What is left of it after `patience_s`, as command lines."""
        deadline = time.monotonic() + patience_s
        while (left := marked(self.mark)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left

    def _read(self, stderr: IO[str]) -> None:
        for line in stderr:
            self.said.append(line.rstrip())


def kept(folder: Path) -> set[str]:
    """The utterances whose scored turn is in the folder."""
    return {turn.utterance_id for turn in store.read(folder).turns if turn.scored}


def renders(folder: Path) -> bool:
    """True if `turngap report` makes its page."""
    page = folder.parent / "page.html"
    command = child.python("turngap", "report", str(folder), "--out", str(page))
    done = subprocess.run(command, capture_output=True, check=False)
    found = done.returncode == 0 and page.stat().st_size > 0
    page.unlink(missing_ok=True)
    return found


def marked(mark: str) -> tuple[str, ...]:
    """The command lines of all processes with that mark."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark:
                found.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return tuple(found)


def _kill_all(folder: Path, kills: int, turns: int, longest_s: float, rng: random.Random) -> int:
    scenario, results = write_scenario(folder, turns), folder / "results"
    fresh = ("run", str(scenario), "--profile", "scripted", "--out", str(results))
    done: list[Kill] = []
    completed, announced, over = 0, set[str](), set[Path]()
    current: Path | None = None
    print(f"{'kill':>4} {'after s':>8} {'announced':>9} {'kept':>5} {'report':>7} {'orphans':>7}  it was")
    while len(done) < kills:
        running = Running(*(fresh if current is None else ("run", "--resume", str(current))))
        after_s = rng.uniform(0.3, longest_s)
        killed = running.kill_after(after_s)
        announced |= running.announced
        current = current or next(iter(_folders(results) - over), None)
        if not killed:
            if current is None or not _complete(current, turns) or not announced <= kept(current):
                print("a run ended by itself, but is not whole: " + " / ".join(running.said[-3:]))
                return 1
            over.add(current)
            completed, announced, current = completed + 1, set(), None
            continue
        orphans = running.orphans()
        doing = next((line for line in reversed(running.said) if line.startswith("kills: ")), "starting")
        if current is None:
            done.append(Kill(after_s, doing, len(announced), 0, True, orphans))
        else:
            done.append(Kill(after_s, doing, len(announced), len(announced & kept(current)), renders(current), orphans))
        _show(len(done), done[-1])
    if current is not None:
        last = Running("run", "--resume", str(current))
        last.wait(60 + 5 * turns)
        whole = _complete(current, turns) and announced <= kept(current)
        completed += whole
        print(f"resumed: {'complete' if whole else 'NOT COMPLETE: ' + ' / '.join(last.said[-3:])}")
        if not whole:
            return 1
    lost = sum(kill.lost for kill in done)
    print(f"{len(done)} kills, {lost} with a loss; {completed} runs completed")
    return 1 if lost or not done else 0


def _folders(results: Path) -> set[Path]:
    """The run folders that stand; one that is still being made has a dot before its name."""
    return {path for path in results.glob("[!.]*") if path.is_dir()} if results.is_dir() else set()


def _complete(folder: Path, turns: int) -> bool:
    try:
        record = store.read(folder).record
    except RunFolderError as fault:
        print(f"{fault}", file=sys.stderr)
        return False
    return record.complete and record.n_turns == turns


def _show(number: int, kill: Kill) -> None:
    print(
        f"{number:>4} {kill.after_s:>8.2f} {kill.announced:>9} {kill.kept:>5} "
        f"{'yes' if kill.rendered else 'NO':>7} {len(kill.orphans):>7}  {kill.doing}"
    )
    for orphan in kill.orphans:
        print(f"     left: {orphan}")
    sys.stdout.flush()


if __name__ == "__main__":
    os.environ.pop(MARK, None)
    sys.exit(main())
