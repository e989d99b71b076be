"""Kills runs at random moments and counts lost turns, reports and processes.

    python benchmarks/kills.py [--kills 10] [--turns 40] [--longest-s 30] [--seed N]

A scenario of short probe turns runs against the scripted agent. The run's process is killed with SIGKILL at a random
moment; then every turn that it had announced must be in `turns.jsonl`, `turngap report` must render the folder, and no
process that it started may be left. The run is resumed and killed again; a run that is complete is followed by another
one, and the last is resumed to its end. Prints a table; the exit code is 1 if anything was lost.
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
"""An environment variable that all processes of a run inherit: those that are left with it are orphans."""
ORPHANS_S = 10.0
"""How long processes may take to end after the process that started them."""
ANNOUNCED = re.compile(r"^kills: \d+/\d+ (\S+): \w+")


@dataclass(frozen=True, slots=True)
class Kill:
    """One kill and its consequences."""

    after_s: float
    """Time from the start of the process."""
    last_line: str
    """The last line of progress before the kill."""
    announced: int
    """Turns announced so far, in all processes of this run."""
    stored: int
    """The announced turns that are in `turns.jsonl`."""
    rendered: bool
    orphans: tuple[str, ...]

    @property
    def lost(self) -> bool:
        """Whether a turn or the report was lost, or a process was left."""
        return self.stored < self.announced or not self.rendered or bool(self.orphans)


def main() -> int:
    """Run the benchmark; return 0 if nothing was lost."""
    options = argparse.ArgumentParser(description="Kill runs at random moments and count what was lost.")
    options.add_argument("--kills", type=int, default=10)
    options.add_argument("--turns", type=int, default=40, help="turns per run")
    options.add_argument("--longest-s", type=float, default=30.0, help="latest moment of a kill, from the start")
    options.add_argument("--seed", type=int, default=None, help="seed of the moments (default: random)")
    arguments = options.parse_args()
    with tempfile.TemporaryDirectory(prefix="turngap-kills-") as folder:
        return _kill_all(
            Path(folder), arguments.kills, arguments.turns, arguments.longest_s, random.Random(arguments.seed)
        )


def write_scenario(folder: Path, turns: int) -> Path:
    """Write a scenario of `turns` half-second tones, each in its own call that ends as soon as it is answered."""
    lines = ["name: kills", "probe: true", "warm_up_turns: 1", "turns:"]
    seconds = np.arange(RATE // 2) / RATE
    for index in range(turns):
        # Without silence after it a sound may have been cut, and a run leaves it out.
        tone = np.append(0.2 * np.sin(2 * np.pi * (200 + 5 * index) * seconds), np.zeros(RATE // 4))
        soundfile.write(folder / f"t{index}.wav", tone, RATE)
        lines.append(f"  - {{id: t{index}, audio: t{index}.wav, pause_ms: 100, answer_within_ms: 3000}}")
    path = folder / "kills.scenario.yaml"
    path.write_text("\n".join(lines) + "\n", "utf-8")
    return path


class TurngapProcess:
    """A `turngap` process, its lines on stderr, and all processes that it started, found by a mark."""

    def __init__(self, *arguments: str) -> None:
        self.mark = uuid.uuid4().hex
        self.stderr_lines: list[str] = []
        self._process = subprocess.Popen(
            child.python_command("turngap", *arguments),
            env=dict(os.environ) | {MARK: self.mark},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert self._process.stderr is not None
        self._reader = threading.Thread(target=self._read, args=(self._process.stderr,), daemon=True)
        self._reader.start()

    def kill_after(self, seconds: float) -> bool:
        """Kill the process after `seconds`; return False if it ended before."""
        try:
            self.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self.wait(10)
            return True
        return False

    def wait(self, timeout_s: float) -> int:
        """Return the exit status, once the process has ended and all its output has been read.

        Raises:
            subprocess.TimeoutExpired: the process has not ended.
        """
        status = self._process.wait(timeout_s)
        self._reader.join(1.0)
        return status

    @property
    def announced(self) -> set[str]:
        """The utterances whose turn was announced as finished."""
        return {match[1] for line in self.stderr_lines if (match := ANNOUNCED.match(line))}

    def orphans(self, patience_s: float = ORPHANS_S) -> tuple[str, ...]:
        """Return the command lines of the processes that are left after `patience_s`."""
        deadline = time.monotonic() + patience_s
        while (processes := marked_processes(self.mark)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return processes

    def _read(self, stderr: IO[str]) -> None:
        for line in stderr:
            self.stderr_lines.append(line.rstrip())


def stored_utterances(folder: Path) -> set[str]:
    """Return the utterances whose scored turn is in the folder."""
    return {turn.utterance_id for turn in store.read_run(folder).turns if turn.scored}


def report_renders(folder: Path) -> bool:
    """Return whether `turngap report` renders the folder."""
    page = folder.parent / "page.html"
    command = child.python_command("turngap", "report", str(folder), "--out", str(page))
    process = subprocess.run(command, capture_output=True, check=False)
    rendered = process.returncode == 0 and page.stat().st_size > 0
    page.unlink(missing_ok=True)
    return rendered


def marked_processes(mark: str) -> tuple[str, ...]:
    """Return the command lines of all processes with a mark."""
    commands = []
    for process in psutil.process_iter():
        try:
            if process.status() != psutil.STATUS_ZOMBIE and process.environ().get(MARK) == mark:
                commands.append(" ".join(process.cmdline()))
        except psutil.Error:
            continue
    return tuple(commands)


def _kill_all(folder: Path, count: int, turns: int, longest_s: float, rng: random.Random) -> int:
    scenario, results = write_scenario(folder, turns), folder / "results"
    fresh = ("run", str(scenario), "--profile", "scripted", "--out", str(results))
    kills: list[Kill] = []
    completed, announced, over = 0, set[str](), set[Path]()
    current: Path | None = None
    print(f"{'kill':>4} {'after s':>8} {'announced':>9} {'kept':>5} {'report':>7} {'orphans':>7}  last line")
    while len(kills) < count:
        running = TurngapProcess(*(fresh if current is None else ("run", "--resume", str(current))))
        after_s = rng.uniform(0.3, longest_s)
        killed = running.kill_after(after_s)
        announced |= running.announced
        current = current or next(iter(_folders(results) - over), None)
        if not killed:
            if current is None or not _complete(current, turns) or not announced <= stored_utterances(current):
                print("a run ended by itself, but is not complete: " + " / ".join(running.stderr_lines[-3:]))
                return 1
            over.add(current)
            completed, announced, current = completed + 1, set(), None
            continue
        orphans = running.orphans()
        last_line = next((line for line in reversed(running.stderr_lines) if line.startswith("kills: ")), "starting")
        if current is None:
            kills.append(Kill(after_s, last_line, len(announced), 0, True, orphans))
        else:
            kills.append(
                Kill(
                    after_s,
                    last_line,
                    len(announced),
                    len(announced & stored_utterances(current)),
                    report_renders(current),
                    orphans,
                )
            )
        _show(len(kills), kills[-1])
    if current is not None:
        last = TurngapProcess("run", "--resume", str(current))
        last.wait(60 + 5 * turns)
        whole = _complete(current, turns) and announced <= stored_utterances(current)
        completed += whole
        print(f"resumed: {'complete' if whole else 'NOT COMPLETE: ' + ' / '.join(last.stderr_lines[-3:])}")
        if not whole:
            return 1
    lost = sum(kill.lost for kill in kills)
    print(f"{len(kills)} kills, {lost} with a loss; {completed} runs completed")
    return 1 if lost or not kills else 0


def _folders(results: Path) -> set[Path]:
    """Return the run folders; the name of one that is being created starts with a dot."""
    return {path for path in results.glob("[!.]*") if path.is_dir()} if results.is_dir() else set()


def _complete(folder: Path, turns: int) -> bool:
    try:
        record = store.read_run(folder).record
    except RunFolderError as error:
        print(f"{error}", file=sys.stderr)
        return False
    return record.complete and record.n_turns == turns


def _show(number: int, kill: Kill) -> None:
    print(
        f"{number:>4} {kill.after_s:>8.2f} {kill.announced:>9} {kill.stored:>5} "
        f"{'yes' if kill.rendered else 'NO':>7} {len(kill.orphans):>7}  {kill.last_line}"
    )
    for orphan in kill.orphans:
        print(f"     left: {orphan}")
    sys.stdout.flush()


if __name__ == "__main__":
    os.environ.pop(MARK, None)
    sys.exit(main())
