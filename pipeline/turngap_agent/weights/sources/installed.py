"""Weights inside an installed Python package: used in place, never copied."""

from __future__ import annotations

from importlib import metadata
from pathlib import Path

from turngap_agent.errors import WeightsError
from turngap_agent.weights.cache import has_identity
from turngap_agent.weights.pins import InstalledSource, Pin


def find(pin: Pin) -> Path:
    """Return the folder with the package's files.

    Raises:
        WeightsError: the package is missing or of another version, or a file does not have the pinned size.
    """
    source = pin.source
    assert isinstance(source, InstalledSource)
    remedy = f"run `pip install {source.package}=={pin.version}`, or `pip install 'turngap[cpu]'` for the whole agent"
    try:
        package = metadata.distribution(source.package)
    except metadata.PackageNotFoundError:
        raise WeightsError(f"{pin.name} is part of {source.package}, which is not installed: {remedy}") from None
    if package.version != pin.version:
        raise WeightsError(f"{pin.name} {package.version} is installed and {pin.version} is pinned: {remedy}")
    for file in pin.files:
        path = Path(str(package.locate_file(file.source_path)))
        if not path.is_file() or path.stat().st_size != file.size:
            raise WeightsError(f"{path} is damaged or missing: {remedy} --force-reinstall")
    return Path(str(package.locate_file(source.folder)))


def verify(pin: Pin) -> None:
    """Compare every byte with the pin.

    Raises:
        WeightsError: as `find`, or a file differs.
    """
    folder = find(pin)
    for file in pin.files:
        if not has_identity(folder / file.path, file.identity):
            raise WeightsError(
                f"{folder / file.path} is not the pinned file: "
                f"run `pip install --force-reinstall --no-deps {pin.name}=={pin.version}`"
            )
