"""The weights of the agent and the caller's recordings: fetched once, verified, cached; `weights.toml` pins them.

An engine needs `get` only: it returns the path of a verified file or folder, fetched if it is missing.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from turngap_agent import profile
from turngap_agent.errors import ProfileError, UsageError, WeightsError
from turngap_agent.weights import cache, pins
from turngap_agent.weights.pins import Pin
from turngap_agent.weights.sources import debian, hub, installed, wheel
from turngap_agent.weights.sources.progress import Progress, for_stderr

_FETCH: dict[str, Callable[[Pin, Path, Path, Progress], None]] = {
    "wheel": wheel.fetch,
    "hub": hub.fetch,
    "debian": debian.fetch,
}


@dataclass(frozen=True, slots=True)
class Status:
    """One pinned entry and its state on this machine."""

    pin: Pin
    path: Path
    """Its place, even before it is fetched."""
    cached: bool
    problem: str
    """Why it cannot be used although something is there; "" if nothing is wrong."""
    profiles: tuple[str, ...]
    """The shipped profiles that use it."""


def get(name: str, progress: Progress | None = None) -> Path:
    """Return the verified file or folder of the entry `name`; fetch it first if it is missing, with progress on stderr.

    A `name` with a slash is the user's own file or folder, and is returned as it is. For a cached entry only file sizes
    and times are checked; neither network nor pip is needed.

    Raises:
        UsageError: no such entry is pinned, or there is no such path.
        WeightsError: it is damaged, cannot be fetched, or cannot be stored.
    """
    if "/" in name:
        own = Path(name).expanduser()
        if not own.exists():
            raise UsageError(
                f"{name}: no such file or folder (weights are named by an entry or a path)", code="usage.missing"
            )
        return own
    return _ensure(pins.of(name), progress or for_stderr())


def pull(name: str | None = None, progress: Progress | None = None) -> list[Path]:
    """Fetch the weights of a profile, or one entry, or (None) those that `selection` returns; return their paths.

    Damaged entries are fetched again.

    Raises:
        UsageError: `name` is neither an entry nor a profile.
        WeightsError: as `get`.
    """
    progress = progress or for_stderr()
    return [_ensure(pin, progress, again=True) for pin in selection(name)]


def selection(name: str | None) -> list[Pin]:
    """Return the pins that `name` (an entry or a profile) means.

    None means all that the shipped profiles and the caller use, except what the hub has: gigabytes for a GPU, some of
    them behind a login, are fetched by name only.

    Raises:
        UsageError: it is neither an entry nor a profile.
        ProfileError: it is a profile file that is malformed.
    """
    if name is None:
        used = [pin for each in profile.names() for pin in pins.of_profile(each)]
        voices = [pin for pin in pins.shipped().values() if pin.source.kind == "debian"]
        return list({pin.name: pin for pin in [*used, *voices] if pin.source.kind != "hub"}.values())
    if name in pins.shipped():
        return [pins.of(name)]
    try:
        return pins.of_profile(name)
    except ProfileError:
        if name.endswith((".yaml", ".yml")):
            raise
        entries, profiles = ", ".join(pins.shipped()), ", ".join(profile.names())
        raise UsageError(f"{name!r} is neither weights ({entries}) nor a profile ({profiles})") from None


def verify(progress: Progress | None = None, names: Iterable[str] | None = None) -> list[Status]:
    """Read every byte of the cached entries (`names`, or all) and return their state; nothing is fetched or changed."""
    progress = progress or for_stderr()
    selected = list(names) if names is not None else list(pins.shipped())
    statuses = []
    for status in list_all():
        if status.pin.name not in selected:
            continue
        if status.cached:
            progress.note(f"verifying {status.pin.name}")
        statuses.append(_verify(status))
    return statuses


def list_all() -> list[Status]:
    """Return the state of every entry; nothing is fetched, and files are read only if their time has changed."""
    users: dict[str, list[str]] = {}
    for name in profile.names():
        for pin in pins.of_profile(name):
            users.setdefault(pin.name, []).append(name)
    return [_status(pin, tuple(users.get(pin.name, ()))) for pin in pins.shipped().values()]


def _ensure(pin: Pin, progress: Progress, again: bool = False) -> Path:
    if pin.source.kind == "installed":
        return installed.find(pin)
    if not _usable(pin, again):
        with cache.writing(pin), cache.lock(pin, progress):
            # Another process may have fetched it while this one waited.
            if not _usable(pin, again):
                _fetch(pin, progress)
    return _entry_path(pin)


def _usable(pin: Pin, again: bool) -> bool:
    try:
        return cache.is_cached(pin)
    except WeightsError:
        if again:
            return False
        raise


def _fetch(pin: Pin, progress: Progress) -> None:
    with cache.staging(pin) as folder:
        _FETCH[pin.source.kind](pin, folder, cache.partial(), progress)
        _compare(pin, folder)
        if pin.recipe:
            progress.note(f"{pin.name}: converting, once")
            _convert(folder)
    progress.note(f"{pin.name} {pin.version} is ready ({pin.licence})")


def _compare(pin: Pin, folder: Path) -> None:
    """Raise a `WeightsError` unless `folder` has the pinned files, or those the hub stated of the pinned commit."""
    for file in hub.read_lock(folder) if pin.by_revision else pin.files:
        if not cache.has_identity(folder / file.path, file.identity):
            raise WeightsError(
                f"{pin.name}: {file.path} is not the pinned file (its checksum is not {file.identity[:12]}…): "
                "nothing was kept; try another mirror, or update turngap",
                code="weights.mismatch",
            )
    if pin.tree and cache.tree_digest(folder) != pin.tree.sha256:
        n_files = len(cache.files_below(folder))
        raise WeightsError(
            f"{pin.name}: the files ({n_files}) are not those of the pinned version {pin.version} ({pin.tree.files}): "
            "nothing was kept; update turngap, or copy the entry's cache folder from another machine (docs/weights.md)",
            code="weights.mismatch",
        )


def _convert(folder: Path) -> None:
    """Replace the GGUF in `folder` by the model converted from it."""
    try:
        from turngap_agent.weights import llama_onnx
    except ImportError as error:
        raise WeightsError(f"{error.name} is needed to convert a GGUF: run `pip install 'turngap[cpu]'`") from None
    source = folder / "model.gguf"
    llama_onnx.convert(source, folder)
    source.unlink()


def _entry_path(pin: Pin) -> Path:
    folder = cache.place(pin)
    return folder / pin.file if pin.file else folder


def _status(pin: Pin, profiles: tuple[str, ...]) -> Status:
    try:
        if pin.source.kind == "installed":
            return Status(pin, installed.find(pin), True, "", profiles)
        return Status(pin, _entry_path(pin), cache.is_cached(pin), "", profiles)
    except WeightsError as error:
        return Status(pin, _entry_path(pin), False, str(error), profiles)


def _verify(status: Status) -> Status:
    pin = status.pin
    if not status.cached:
        return status
    try:
        if pin.source.kind == "installed":
            installed.verify(pin)
        else:
            cache.verify(pin)
            if not pin.recipe:
                _compare(pin, cache.place(pin))
    except WeightsError as error:
        return Status(pin, status.path, False, str(error), status.profiles)
    return status
