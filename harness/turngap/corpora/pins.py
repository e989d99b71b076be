"""The public corpora that are pinned in `corpora.toml`: where each comes from, its licence, and how it is converted."""

from __future__ import annotations

import hashlib
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, TypeAdapter, model_validator
from turngap_agent.documents import FrozenModel

PINS = Path(__file__).parent / "corpora.toml"
TABLE_VERSION = 2
"""Raised when a converter's output changes: fetched corpora are converted again."""


class RemoteFile(FrozenModel):
    """One file to fetch."""

    url: str = Field(pattern=r"^https://")
    path: str = Field(pattern=r"^[\w.-]+(/[\w.-]+)*$")
    """Its name among the fetched files."""
    size: int | None = Field(None, gt=0)
    """In bytes; None where it is not known."""
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")
    """None where it is not known: that of the first fetch is recorded, and later fetches must have it."""


class HubFile(FrozenModel):
    """One file of a dataset on the Hugging Face hub, at one commit."""

    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")
    path: str = Field(pattern=r"^[\w.-]+(/[\w.-]+)*$")
    gated: bool = False
    size: int | None = Field(None, gt=0)
    sha256: str | None = Field(None, pattern=r"^[0-9a-f]{64}$")


class CorpusPin(FrozenModel):
    """One pinned corpus."""

    name: str = ""
    given: str = ""
    """As the user gave it, where that is not its name."""
    about: str
    licence: str
    source: str
    """As it is to be cited."""
    homepage: str
    converter: Literal["ami", "harper-valley", "hub"]
    needs: str = ""
    """A package that the converter needs and that only the extra `parquet` brings."""
    files: Annotated[tuple[RemoteFile | HubFile, ...], Field(min_length=1)]
    """In the file of pins `each` may stand for them: the same files for each of its names."""

    @model_validator(mode="before")
    @classmethod
    def _list_files(cls, data: Any) -> Any:
        if not isinstance(data, dict) or "each" not in data:
            return data
        each = data["each"]
        files = [
            {key: value.replace("{name}", name) for key, value in file.items()}
            for name in each["names"]
            for file in each["files"]
        ]
        return {key: value for key, value in data.items() if key != "each"} | {"files": files}

    @property
    def title(self) -> str:
        """What messages call it."""
        return self.given or self.name

    @property
    def fingerprint(self) -> str:
        """The name of this exact corpus in the cache: it changes with the files and with how they are converted."""
        essence = self.model_dump_json(include={"files", "converter", "licence", "source"}, exclude_none=True)
        return hashlib.sha256(f"{TABLE_VERSION} {essence}".encode()).hexdigest()[:12]

    @property
    def size(self) -> int | None:
        """The bytes to fetch; None where some are not known."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size or 0 for size in sizes)

    @property
    def size_text(self) -> str:
        """The bytes to fetch, in words."""
        known = sum(file.size or 0 for file in self.files)
        more = "" if self.size is not None else "more than "
        return f"{more}{known / 1e6:,.0f} MB, {self.licence}"

    def locate(self, cache_folder: Path) -> Path:
        """Return its folder in the cache of corpora, fetched or not."""
        return cache_folder / self.name / self.fingerprint


_HUB_ROWS = re.compile(
    r"(?P<repo>[\w.-]+/[\w.-]+)@(?P<revision>[0-9a-f]{40}):(?P<path>[\w.-]+(/[\w.-]+)*\.parquet)", re.ASCII
)


def make_hub_pin(given: str, licence: str) -> CorpusPin | None:
    """Return the pin of a data set on the hub that is given as ORG/NAME@COMMIT:PATH.parquet; None if it is not."""
    match = _HUB_ROWS.fullmatch(given)
    if match is None:
        return None
    return CorpusPin(
        name=match["repo"].replace("/", "-"),
        given=given,
        about="a data set on the hub",
        licence=licence,
        source=f"{match['repo']} at {match['revision'][:12]}",
        homepage=f"https://huggingface.co/datasets/{match['repo']}",
        converter="hub",
        needs="pyarrow",
        files=(HubFile(repo=match["repo"], revision=match["revision"], path=match["path"]),),
    )


@cache
def load_pins() -> dict[str, CorpusPin]:
    """Return the pinned corpora by name, in the file's order."""
    tables = tomllib.loads(PINS.read_text("utf-8"))
    pins = TypeAdapter(dict[str, CorpusPin]).validate_python(tables)
    return {name: pin.model_copy(update={"name": name}) for name, pin in pins.items()}
