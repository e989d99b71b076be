"""What is given on the command line or to the API becomes the plan of a run: files, folders, pairs, labels, sides."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from turngap_agent import documents
from turngap_agent.errors import ScenarioError, UsageError

from turngap.annotations import Annotations, find_label_file, read_annotations
from turngap.model.plural import plural
from turngap.recordings.run import RecordingPlan
from turngap.recordings.sides import NAMES
from turngap.recordings.sound import CODE, CallSound, open_call
from turngap.session.network_plan import select_telephone_network
from turngap.verdict.budget import Budget, load_budget

SUFFIXES = (".wav", ".wave", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aiff", ".aif", ".au", ".caf", ".w64", ".rf64")
"""The files of a folder that are recordings."""
PAIR = "+"
Channel = Literal["left", "right"]


def plan_recordings(
    recordings: Sequence[Path | str],
    *,
    caller: Channel | str | None = None,
    caller_file: Path | None = None,
    agent_file: Path | None = None,
    labels: Path | None = None,
    budget: Budget | Path | str | None = None,
    at_ear: bool = False,
    out: Path = Path("results"),
) -> RecordingPlan:
    """Return the plan of a run from recordings: files with two channels, folders of them, and pairs `CALLER+AGENT`.

    Raises:
        UsageError: nothing can be read, or options contradict each other (`usage.recording`).
        ScenarioError: the label file cannot be read.
        BudgetError: the budget cannot be read.
    """
    if caller is not None and caller not in NAMES:
        raise UsageError(f"--caller: no channel {caller!r}{documents.list_choices(caller, NAMES)}", code=CODE)
    if (caller_file is None) != (agent_file is None):
        raise UsageError("--caller-file and --agent-file go together: the two sides of one call", code=CODE)
    given: list[tuple[Path, Path | None]] = []
    if caller_file is not None:
        given.append((caller_file, agent_file))
    for one in recordings:
        given += _expand(one)
    if not given:
        raise UsageError("give recordings, a folder of them, or --caller-file and --agent-file", code=CODE)
    _refuse_repeated(given)
    calls: list[CallSound] = []
    left_out: list[str] = []
    for first, second in given:
        try:
            calls.append(open_call(first, second))
        except UsageError as error:
            if len(given) == 1:
                raise
            left_out.append(str(error))
    if not calls:
        raise UsageError("\n".join(left_out), code=CODE)
    judged = budget if budget is None or isinstance(budget, Budget) else load_budget(str(budget))
    return RecordingPlan(
        calls=tuple(calls),
        name=_name(recordings, calls),
        caller=None if caller is None else NAMES.index(caller),
        labels={} if labels is None else _read_labels(labels, calls),
        budget=judged,
        network=None if at_ear else select_telephone_network(judged, None),
        out=out,
        left_out=tuple(left_out),
        notes=tuple(_note_unread_labels(calls)) if labels is None else (),
    )


def _refuse_repeated(given: Sequence[tuple[Path, Path | None]]) -> None:
    seen: set[tuple[Path | None, ...]] = set()
    for files in given:
        real = tuple(file and file.resolve() for file in files)
        if real in seen:
            raise UsageError(f"{files[0]}: given twice; its turns would count twice, so give it once", code=CODE)
        seen.add(real)


def _expand(given: Path | str) -> list[tuple[Path, Path | None]]:
    path = Path(given)
    if path.is_dir():
        files = sorted(file for file in path.iterdir() if file.suffix.lower() in SUFFIXES and file.is_file())
        if not files:
            raise UsageError(f"{path}: no recordings in that folder ({', '.join(SUFFIXES)})", code=CODE)
        return [(file, None) for file in files]
    if PAIR in str(given) and not path.exists():
        first, _, second = str(given).partition(PAIR)
        if first and second:
            return [(Path(first), Path(second))]
    return [(path, None)]


def _read_labels(labels: Path, calls: Sequence[CallSound]) -> dict[str, Annotations]:
    """Return the labels by call: those of a file for the one recording, or those in a folder by the file's name."""
    if not labels.is_dir():
        if len(calls) > 1:
            raise UsageError(
                f"--labels {labels}: one file, for {len(calls)} recordings; give the folder of their label files",
                code=CODE,
            )
        return {calls[0].name: read_annotations(labels)}
    found = {}
    for call in calls:
        file = find_label_file(labels / call.first.path.name)
        if file is None:
            raise ScenarioError(
                f"{labels}: no labels for {call.name} ({call.first.path.stem} with the suffix of a label format)",
                code="scenario.labels",
            )
        found[call.name] = read_annotations(file)
    return found


def _note_unread_labels(calls: Sequence[CallSound]) -> Iterator[str]:
    """Yield a line about label files that lie beside recordings: they are read with `--labels` alone."""
    found = [file for call in calls if (file := find_label_file(call.first.path)) is not None]
    if found:
        more = f", and {plural(len(found) - 1, 'more file')} like it" if len(found) > 1 else ""
        yield (
            f"{found[0]}{more}: not read, though it may be the labels of a recording; with --labels "
            f"{found[0].parent if len(found) > 1 else found[0]} ends of speech are taken from there"
        )


def _name(recordings: Sequence[Path | str], calls: Sequence[CallSound]) -> str:
    """Return the run's name: that of the folder or the file, in letters that a folder's name can have."""
    only = Path(recordings[0]) if len(recordings) == 1 else None
    name = only.resolve().name if only is not None and only.is_dir() else calls[0].first.path.stem
    return "".join(letter if letter.isalnum() and letter.isascii() else "-" for letter in name).strip("-") or "calls"
