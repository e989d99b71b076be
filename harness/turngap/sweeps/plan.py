"""What a sweep has to do: a request for each setting, all of one scenario; checked before anything starts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

from turngap_agent.errors import ProfileError, RunFolderError, UsageError
from turngap_agent.profile import Profile

from turngap import scenario as scenarios
from turngap.corpus.clips import Corpus
from turngap.model.plural import plural
from turngap.scenario import Scenario
from turngap.session import plan as runs
from turngap.session.request import Options, Request
from turngap.session.run_documents import DEFAULT_PROFILE, locate_recorded_scenario
from turngap.store import folder as store
from turngap.store.disk import FolderLock
from turngap.sweeps import folder
from turngap.sweeps.folder import SettingRow, SweepRecord
from turngap.sweeps.grid import Setting, moved_settings


@dataclass(frozen=True, slots=True)
class Member:
    """A setting whose run is not complete, and the request for the rest of that run."""

    row: SettingRow
    request: Request
    notes: tuple[str, ...] = ()
    """The settings that the sweep moved along with this one, a line each."""


@dataclass(frozen=True, slots=True)
class SweepRequest:
    """A sweep whose settings have been checked."""

    record: SweepRecord
    members: tuple[Member, ...]
    """The settings whose runs are not complete."""
    out: Path
    path: Path | None = None
    """The sweep's folder; None until a new sweep has one."""
    lock: FolderLock | None = field(default=None, compare=False)

    @property
    def description(self) -> str:
        """What is swept, in a few words."""
        settings = plural(len(self.members), "setting")
        return f"{settings} of profile {self.record.profile}, each utterance with one after the other"

    def release_locks(self) -> None:
        """Let other processes resume the sweep and its runs."""
        if self.lock is not None:
            self.lock.release()
        for member in self.members:
            member.request.release_lock()


def plan_sweep(
    scenario: Scenario | Path | str,
    settings: Sequence[Setting],
    *,
    profile: Profile | Path | str | None = None,
    options: Options,
) -> SweepRequest:
    """Check everything the user gave; scenario and profile as for a run.

    Raises:
        UsageError: (or a subclass) something does not fit; nothing was started.
    """
    profile = profile or DEFAULT_PROFILE
    plain = runs.plan_run(scenario, profile=profile, options=options).profile
    assert plain is not None
    members = []
    for setting in settings:
        moved = moved_settings(plain, setting.overrides)
        overrides = (*setting.overrides, *(move.override for move in moved))
        try:
            request = runs.plan_run(scenario, profile=profile, overrides=overrides, options=options)
        except ProfileError as error:
            raise ProfileError("\n".join(f"{setting.where}{line}" for line in str(error).splitlines())) from None
        _one_call_at_a_time(request)
        row = SettingRow(
            name=setting.name,
            slug=setting.slug,
            set=overrides,
            current=request.profile == plain,
            profile_data=request.profile_data,
        )
        members.append(Member(row, request, tuple(move.note for move in moved)))
    _all_different(members)
    first = members[0].request
    record = SweepRecord(
        sweep_id="",
        started="",
        complete=False,
        scenario=first.scenario.name,
        scenario_path=str(first.scenario_path),
        scenario_sha256=first.scenario_sha256,
        profile=first.profile_name,
        seed=first.seed,
        n_turns=options.n_turns,
        settings=tuple(member.row for member in members),
    )
    return SweepRequest(record, tuple(members), options.out)


def plan_resumed_sweep(path: Path) -> SweepRequest:
    """Return the rest of the unfinished sweep in that folder.

    Raises:
        RunFolderError: it is not the folder of a sweep, the sweep is complete, another process writes it, or its
            scenario has changed.
    """
    folder.read_sweep(path)  # before the lock: the folder of something else gets no lock file
    lock = FolderLock(path)
    members: list[Member] = []
    try:
        return _plan_rest(path, lock, members)
    except BaseException:
        lock.release()  # the traceback keeps it alive
        for member in members:
            member.request.release_lock()
        raise


def _plan_rest(path: Path, lock: FolderLock, members: list[Member]) -> SweepRequest:
    """Append the settings still to be measured to `members`, and return the request."""
    record = folder.read_sweep(path)
    if record.complete:
        raise RunFolderError(f"{path}: the sweep is complete; there is nothing to resume")
    scenario_path = locate_recorded_scenario(path, record.scenario_path, record.scenario_sha256)
    scenarios.load_scenario_file(scenario_path)
    options = Options(seed=record.seed, n_turns=record.n_turns, out=path)
    for row in record.settings:
        if (path / row.slug / store.RUN).is_file():
            if not store.read_run(path / row.slug).record.complete:
                members.append(Member(row, runs.plan_resumed_run(path / row.slug)))
            continue
        request = runs.plan_run(str(scenario_path), profile=DEFAULT_PROFILE, options=options)
        if request.scenario_sha256 != record.scenario_sha256:
            raise RunFolderError(f"{path}: {scenario_path} has changed since the sweep started; start a new one")
        members.append(Member(row, replace(request, profile=Profile.model_validate(row.profile_data))))
    return SweepRequest(record, tuple(members), path.parent, path, lock)


def with_corpus(sweep: SweepRequest, corpus: Corpus) -> SweepRequest:
    """Return the sweep for the utterances that can be used.

    Raises:
        RunFolderError: a run to be resumed started with another corpus.
    """
    members = tuple(replace(member, request=runs.with_corpus(member.request, corpus)) for member in sweep.members)
    return replace(sweep, members=members)


def with_folder(sweep: SweepRequest, unix_ns: int) -> SweepRequest:
    """Return the sweep with its folder, which is made for a new sweep; the folders of its runs will be inside.

    Raises:
        HarnessError: the folder can't be written.
    """
    if sweep.path is not None:
        return sweep
    started = datetime.fromtimestamp(unix_ns / 1e9, UTC)
    record = sweep.record.model_copy(
        update={
            "sweep_id": f"{started:%Y%m%dT%H%M%SZ}-sweep-{sweep.record.scenario}-{sweep.record.profile}",
            "started": started.isoformat(timespec="seconds"),
        }
    )
    path, record, lock = folder.create_sweep(sweep.out, record, sweep.members[0].request.scenario_text)
    members = tuple(
        replace(member, request=replace(member.request, options=replace(member.request.options, out=path)))
        for member in sweep.members
    )
    return replace(sweep, record=record, members=members, path=path, lock=lock)


def _one_call_at_a_time(request: Request) -> None:
    if request.simultaneous_calls != 1:
        raise UsageError(
            f"{request.scenario_label}: {request.simultaneous_calls} simultaneous calls; a sweep places one call at a "
            "time, so that a setting is measured while the others are idle: use a scenario with simultaneous_calls: 1"
        )


def _all_different(members: Sequence[Member]) -> None:
    for place, member in enumerate(members):
        for other in members[:place]:
            if member.request.profile == other.request.profile:
                raise UsageError(
                    f"{other.row.name!r} and {member.row.name!r} are the same setting; leave one of them out"
                )
