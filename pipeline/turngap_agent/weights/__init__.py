"""The weights of the agent and the caller's recordings: fetched once, verified, cached; `weights.toml` has the pins.

`get` is all an engine needs: the path of a verified file or folder, fetched when it is not there yet.
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
    """One pinned entry and how it stands with it here."""

    pin: Pin
    path: Path
    """Where it is, or will be."""
    cached: bool
    problem: str
    """Why it cannot be used though something is there; "" if nothing is wrong."""
    profiles: tuple[str, ...]
    """The shipped profiles that use it."""


def get(name: str, progress: Progress | None = None) -> Path:
    """The verified file or folder of the entry `name`; fetched first when it is missing, with progress on stderr.

    A `name` with a slash is the user's own file or folder, and is given back as it is.
    Costs a look at file sizes and times when it is cached, and needs neither network nor pip then.

    Raises:
        UsageError: no such entry is pinned, or there is no such path.
        WeightsError: it is damaged, cannot be fetched, or cannot be stored.
    """
    if "/" in name:
        own = Path(name).expanduser()
        if not own.exists():
            raise UsageError(f"{name}: no such file or folder (weights are given by name or by path)")
        return own
    return _get(pins.of(name), progress or for_stderr())


def pull(name: str | None = None, progress: Progress | None = None) -> list[Path]:
    """Fetch what a profile needs, or one entry, or (None) what `selection` says.

    What is damaged is fetched again.

    Raises:
        UsageError: `name` is neither an entry nor a profile.
        WeightsError: as `get`.
    """
    progress = progress or for_stderr()
    return [_get(pin, progress, again=True) for pin in selection(name)]


def selection(name: str | None) -> list[Pin]:
    """The pins that `name` (an entry or a profile) means.

    None is all that the shipped profiles and the caller use, but for what the hub has: gigabytes for a GPU, some of it
    behind a login, are fetched when they are asked for.

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
    """Read every byte of what is cached (of `names`, or all), and report; nothing is fetched or changed."""
    progress = progress or for_stderr()
    wanted = list(names) if names is not None else list(pins.shipped())
    found = []
    for status in list_all():
        if status.pin.name not in wanted:
            continue
        if status.cached:
            progress.note(f"verifying {status.pin.name}")
        found.append(_verified(status))
    return found


def list_all() -> list[Status]:
    """How it stands with every entry; no byte is fetched, and none read unless a file's time has changed."""
    users: dict[str, list[str]] = {}
    for name in profile.names():
        for pin in pins.of_profile(name):
            users.setdefault(pin.name, []).append(name)
    return [_status(pin, tuple(users.get(pin.name, ()))) for pin in pins.shipped().values()]


def _get(pin: Pin, progress: Progress, again: bool = False) -> Path:
    if pin.source.kind == "installed":
        return installed.find(pin)
    if not _usable(pin, again):
        with cache.writing(pin), cache.lock(pin, progress):
            # Another process may have fetched it while this one waited.
            if not _usable(pin, again):
                _fetch(pin, progress)
    return _handle(pin)


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
    """Raise unless `folder` holds what is pinned, or what the hub stated of the pinned revision."""
    for file in hub.locked(folder) if pin.by_revision else pin.files:
        if not cache.has_identity(folder / file.path, file.identity):
            raise WeightsError(
                f"{pin.name}: {file.path} is not the pinned file (its checksum is not {file.identity[:12]}…): "
                "nothing was kept; try another mirror, or update turngap"
            )
    if pin.tree and cache.tree_digest(folder) != pin.tree.sha256:
        n_files = len(cache.files_below(folder))
        raise WeightsError(
            f"{pin.name}: the files ({n_files}) are not those of the pinned version {pin.version} ({pin.tree.files}): "
            "nothing was kept; update turngap, or copy this entry's cache folder from another machine (docs/weights.md)"
        )


def _convert(folder: Path) -> None:
    """Replace the GGUF in `folder` by the model made of it."""
    try:
        from turngap_agent.weights import llama_onnx
    except ImportError as fault:
        raise WeightsError(f"{fault.name} is needed to convert a GGUF: run `pip install 'turngap[cpu]'`") from None
    source = folder / "model.gguf"
    llama_onnx.convert(source, folder)
    source.unlink()


def _handle(pin: Pin) -> Path:
    folder = cache.place(pin)
    return folder / pin.gives if pin.gives else folder


def _status(pin: Pin, profiles: tuple[str, ...]) -> Status:
    try:
        if pin.source.kind == "installed":
            return Status(pin, installed.find(pin), True, "", profiles)
        return Status(pin, _handle(pin), cache.is_cached(pin), "", profiles)
    except WeightsError as fault:
        return Status(pin, _handle(pin), False, str(fault), profiles)


def _verified(status: Status) -> Status:
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
    except WeightsError as fault:
        return Status(pin, status.path, False, str(fault), status.profiles)
    return status
