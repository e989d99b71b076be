"""The pins of `weights.toml`: each entry's source, licence, and the exact bytes it must have."""

from __future__ import annotations

import hashlib
import tomllib
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator

from turngap_agent import documents, profile
from turngap_agent.documents import FrozenModel
from turngap_agent.errors import UsageError, WeightsError

PINS = Path(__file__).parent.parent / "weights.toml"


def _inside(path: str) -> str:
    """Refuse a path that would leave the folder it is unpacked into."""
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts:
        raise ValueError("must be a path inside the entry's folder")
    return path


Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
GitObject = Annotated[str, Field(pattern=r"^[0-9a-f]{40}$")]
RelativePath = Annotated[str, AfterValidator(_inside)]


class _Table(FrozenModel):
    model_config = ConfigDict(populate_by_name=True)


class File(_Table):
    """One file: its place in the source and in the cache, and its exact content."""

    source_path: RelativePath = Field(alias="from")
    path: RelativePath = Field(alias="to")
    size: int = Field(ge=0)
    sha256: Sha256 | None = None
    git: GitObject | None = None
    """Instead of sha256, for a repository: the file's git object id, or that of its LFS pointer."""

    @model_validator(mode="after")
    def _one_identity(self) -> File:
        if bool(self.sha256) == bool(self.git):
            raise ValueError("either `sha256` or `git` is needed")
        return self

    @property
    def identity(self) -> str:
        """The sha256 or git object id, for `cache.has_identity`."""
        return self.sha256 or self.git or ""


class Tree(_Table):
    """A set of files: their number, total size, and the digest of their listing (`cache.tree_digest`)."""

    files: int = Field(ge=1)
    size: int = Field(ge=0)
    sha256: Sha256


class Unpack(_Table):
    """A file or folder of a Debian package, and its place in the cache; a `.gz` file is unpacked."""

    source_path: RelativePath = Field(alias="from")
    path: RelativePath = Field(alias="to")


class WheelSource(_Table):
    """A PyPI wheel, taken without its dependencies through the user's own pip configuration."""

    kind: Literal["wheel"]
    package: str
    size: int = Field(gt=0)
    sha256: Sha256


class HubSource(_Table):
    """A Hugging Face repository at one commit."""

    kind: Literal["hub"]
    repo: str = Field(pattern=r"^[\w.-]+/[\w.-]+$")
    revision: str = Field(pattern=r"^[0-9a-f]{40}$")
    gated: bool = False
    take: tuple[str, ...] | None = Field(None, min_length=1)
    """Instead of `files`, if they are not known: names or patterns of the files to keep. The hub states each file's
    checksum at the revision, and the entry's lock keeps it."""
    size: int | None = Field(None, gt=0)
    """With `take`: about how many bytes they are."""


class DebianSource(_Table):
    """Debian packages, downloaded by apt-get without root, and unpacked without an install."""

    kind: Literal["debian"]
    packages: tuple[str, ...]
    unpack: tuple[Unpack, ...]


class InstalledSource(_Table):
    """Files of an installed Python package: nothing to fetch, but pinned and verified as well."""

    kind: Literal["installed"]
    package: str
    folder: RelativePath


Source = Annotated[WheelSource | HubSource | DebianSource | InstalledSource, Field(discriminator="kind")]


class Pin(_Table):
    """One entry of `weights.toml`."""

    name: str = ""
    about: str
    version: str
    licence: str
    source: Source
    files: tuple[File, ...] = ()
    tree: Tree | None = None
    file: RelativePath | None = None
    recipe: Literal["gguf-to-onnx-2"] | None = None

    @model_validator(mode="after")
    def _one_of_files_and_tree(self) -> Pin:
        if bool(self.files) + (self.tree is not None) + self.by_revision != 1:
            raise ValueError("one of `files`, `tree` and (for the hub) `source.take` is needed")
        return self

    @property
    def by_revision(self) -> bool:
        """Whether the commit alone is pinned: the hub states the files' checksums when they are fetched."""
        return self.source.kind == "hub" and self.source.take is not None

    @property
    def size(self) -> int:
        """The bytes of the pinned files; approximate if the commit alone is pinned."""
        if self.source.kind == "hub" and self.source.take is not None:
            return self.source.size or 0
        return self.tree.size if self.tree else sum(file.size for file in self.files)

    @property
    def fingerprint(self) -> str:
        """The name of this exact pin in the cache: it changes with the files and with how they are converted."""
        essence = self.model_dump_json(include={"source", "files", "tree", "recipe"}, exclude_none=True)
        return hashlib.sha256(essence.encode()).hexdigest()[:12]


def load(path: Path) -> dict[str, Pin]:
    """Return all pins by name, in the file's order.

    Raises:
        WeightsError: the file is missing or malformed; the message names the entry and the key.
    """
    try:
        tables = tomllib.loads(path.read_text("utf-8"))
        adapter = TypeAdapter(dict[str, Pin])
        pins = adapter.validate_python(tables)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise WeightsError(f"{path}: cannot be read: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(str(part) for part in first["loc"])
        raise WeightsError(f"{path}: `{key}`: {first['msg'].removeprefix('Value error, ')}") from None
    return {name: pin.model_copy(update={"name": name}) for name, pin in pins.items()}


@cache
def shipped() -> dict[str, Pin]:
    """Return the pins of this version of turngap; the file is read once."""
    return load(PINS)


def of(name: str) -> Pin:
    """Return the pin of that name.

    Raises:
        UsageError: (`usage.unknown`) there is none.
    """
    try:
        return shipped()[name]
    except KeyError:
        raise UsageError(
            f"no weights {name!r} are pinned{documents.list_choices(name, shipped())}", code="usage.unknown"
        ) from None


def of_profile(name_or_path: str) -> list[Pin]:
    """Return the pins of the weights that a profile's engines need; a model named by its path needs none.

    Raises:
        ProfileError: there is no such profile, or it is malformed.
    """
    settings = profile.load(name_or_path).engines().values()
    names = (one.pinned_weights() for one in settings)
    return [shipped()[name] for name in names if name in shipped()]
