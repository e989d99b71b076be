"""Every engine is in one registry by stage and name, and named nowhere else."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from turngap_agent.engines import EngineSettings, SttSettings, registry
from turngap_agent.engines.settings import engine_name
from turngap_agent.errors import EngineError, ProfileError
from turngap_agent.weights import pins

from tests.pipeline.engines.packages import MINE, install

ROOT = Path(__file__).parents[3]
EVERY = [(stage, name) for stage, names in registry.SHIPPED.items() for name in names]


@pytest.mark.parametrize(("stage", "name"), EVERY)
def test_an_engine_that_ships_declares_itself(stage: registry.EngineKind, name: str) -> None:
    """Its class has the stage and the name that the registry has it under, and it can be built."""
    settings = registry.find(stage, name)
    assert (settings.stage, engine_name(settings)) == (stage, name)
    assert settings.build is not EngineSettings.build
    assert settings.install.startswith("turngap")


def test_declarations_import_no_engine() -> None:
    """Reading a profile is cheap: no engine's packages are imported, and no entry point is looked for."""
    code = (
        "import sys; from turngap_agent.engines import registry\n"
        "engines = [registry.find(stage, name) for stage, names in registry.SHIPPED.items() for name in names]\n"
        "packages = {package for one in engines for package in one.packages} - {'httpx'}\n"
        "assert len(packages) > 5 and not registry._entry_points.cache_info().misses\n"
        "sys.exit(', '.join(packages & {*sys.modules}) or 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_a_default_that_is_pinned_is_an_entry_of_the_pins() -> None:
    """A misspelt entry would be taken for a folder. Others: random weights, and a repository of the hub."""
    # Without validation: some engines have keys without a default, which name no weights. Replicas have those of the
    # engine that they replicate, and that has no default.
    own = [(stage, name) for stage, name in EVERY if name != "replicas"]
    defaults = {name: registry.find(stage, name).model_construct(engine=name).pinned_weights() for stage, name in own}
    entries = {entry for entry in defaults.values() if entry is not None and entry != "random" and "/" not in entry}
    assert len(entries) >= 4
    assert entries <= set(pins.shipped())


def test_an_unknown_engines_error_names_the_nearest_and_all() -> None:
    """Of its stage alone."""
    with pytest.raises(ProfileError) as caught:
        registry.find("stt", "faster-whisper")
    text = str(caught.value)
    assert "'faster-whisper'" in text
    assert "`faster_whisper`" in text
    assert text.endswith("faster_whisper, whisper, scripted, replicas")


def test_another_package_adds_an_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By an entry point of its name; it is listed after those that ship."""
    install(tmp_path, monkeypatch)
    settings = registry.find("stt", "mine").model_validate({"engine": "mine", "beams": 3})
    assert settings.model_dump() == {"engine": "mine", "own_process": False, "whole_s": None, "beams": 3}
    assert registry.names("stt") == ["faster_whisper", "whisper", "scripted", "replicas", "mine"]
    assert "mine" not in registry.names("tts")
    with pytest.raises(ProfileError, match="no tts engine"):
        registry.find("tts", "mine")


def test_a_package_is_not_imported_before_its_engine_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So a broken one disturbs no other profile, and is left out where engines are listed."""
    install(tmp_path, monkeypatch, "raise RuntimeError('broken')")
    assert registry.find("stt", "scripted").stage == "stt"
    assert "my_engines" not in sys.modules
    assert "mine" not in registry.names("stt")
    with pytest.raises(ProfileError, match="no stt engine is called 'mien'"):
        registry.find("stt", "mien")


def test_a_package_within_a_missing_package_is_not_installed() -> None:
    """`find_spec` raises for it, unlike for a missing package itself."""

    class Nested(SttSettings):
        packages = ("nothing_of_that_name.inner",)

    with pytest.raises(EngineError, match=r"engine nested is not installed \(no nothing_of_that_name\.inner\)"):
        Nested(engine="nested").require_packages()


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import nothing_of_that_name", "ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("raise RuntimeError('two\\nlines')", "RuntimeError: two lines"),
        ("", "AttributeError"),
        ("MineSettings = 3", "not a subclass of SttSettings"),
        (MINE.replace('Literal["mine"]', 'Literal["other"]'), 'needs `engine: Literal["mine"]`'),
        (MINE.replace('Literal["mine"]', "str"), 'needs `engine: Literal["mine"]`'),
        (MINE.replace("SttSettings", "EngineSettings"), "not a subclass of SttSettings"),
        (MINE.partition("    def build")[0], "has no `build`"),
    ],
)
def test_a_broken_entry_point_names_its_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: str, reason: str
) -> None:
    """One line: the engine, the package with its version, what is wrong, and what to do."""
    install(tmp_path, monkeypatch, code)
    with pytest.raises(EngineError) as caught:
        registry.find("stt", "mine")
    text = str(caught.value)
    assert text.startswith("engine 'mine' of package my-engines 1.2 (my_engines:MineSettings) ")
    assert reason in text
    assert "repair or uninstall that package" in text
    assert "\n" not in text


def test_two_packages_with_one_name_are_both_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither wins by chance."""
    install(tmp_path / "a", monkeypatch)
    install(tmp_path / "b", monkeypatch, package="other-engines", module="other_engines")
    with pytest.raises(EngineError, match=r"package my-engines 1\.2 and package other-engines 1\.2; uninstall one"):
        registry.find("stt", "mine")


def test_a_name_that_ships_always_means_that_engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No package can change what a profile means."""
    code = MINE.replace('"mine"', '"scripted"')
    install(tmp_path, monkeypatch, code, name="scripted")
    assert registry.find("stt", "scripted").__module__ == "turngap_agent.stt.scripted"
    assert registry.names("stt").count("scripted") == 1


NOT_ENGINES = {
    ("pipeline/turngap_agent/endpointing/policies.py", "smart_turn"): "a policy of endpointing",
    ("pipeline/turngap_agent/profile/sections.py", "smart_turn"): "the same, among its policies",
    ("harness/turngap/processes/environment.py", "vllm"): "a distribution, whose version a run records",
    ("harness/turngap/session/machine_record.py", "energy"): "joules",
    ("harness/turngap/report/terminal.py", "energy"): "the same",
    ("harness/turngap/chaos/conversations.py", "scripted"): "a profile",
}
"""Where an engine's name is something else."""


def test_engines_are_named_in_the_registry_alone() -> None:
    """Nothing in either package compares with an engine's name or lists such names, except that engine itself."""
    names = {name for _, name in EVERY}
    engines = {
        value.partition(":")[0].removesuffix(".settings").replace(".", "/")
        for one in registry.SHIPPED.values()
        for value in one.values()
    }
    matches = {
        (str(path.relative_to(ROOT)), word)
        for folder in ("harness/turngap", "pipeline/turngap_agent")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if not any(str(path.with_suffix("")).startswith(f"{ROOT}/pipeline/{engine}") for engine in engines)
        for word in list_compared_names(ast.parse(path.read_text("utf-8")))
        if word in names
    }
    registered = {row for row in matches if row[0] == "pipeline/turngap_agent/engines/registry.py"}
    assert {word for _, word in registered} == names
    assert matches - registered == set(NOT_ENGINES)


def list_compared_names(tree: ast.Module) -> Iterator[str]:
    """Texts that are compared, matched, keys of a mapping, or members of a collection or of a `Literal` of several."""
    for node in ast.walk(tree):
        parts: list[ast.expr | None] = []
        if isinstance(node, ast.Compare):
            parts = [node.left, *node.comparators]
        elif isinstance(node, ast.MatchValue):
            parts = [node.value]
        elif isinstance(node, ast.Dict):
            # A profile's section as data, {"engine": …, …}, chooses an engine and lists none.
            parts = list(node.keys)
        elif isinstance(node, (ast.List, ast.Tuple, ast.Set)):
            parts = list(node.elts)
        yield from (part.value for part in parts if isinstance(part, ast.Constant) and isinstance(part.value, str))
