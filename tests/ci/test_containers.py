"""Dockerfile, compose file and monitoring: every file, metric and address that they name exists."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import yaml
from turngap_agent.telemetry.metrics import LoopLag, Metrics
from turngap_agent.telephony import MEDIA_PATH

ROOT = Path(__file__).parents[2]
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text("utf-8"))
DOCKERFILE = (ROOT / "Dockerfile").read_text("utf-8")


def test_the_dashboard_shows_metrics_that_the_agent_has() -> None:
    """Every metric of every panel is in the agent's exposition, with the labels that the panel asks for."""
    text = Metrics(LoopLag(), lambda: 0, lambda: 0).exposition().decode()
    known = {line.split("{")[0].split(" ")[0] for line in text.splitlines() if not line.startswith("#")}
    # A histogram without labels has its series from the start; one with labels from the first observation on.
    known |= {f"{name}_{part}" for name in re.findall(r"# TYPE (\S+) histogram", text) for part in ("bucket", "count")}
    dashboard = json.loads((ROOT / "examples/monitoring/dashboard.json").read_text("utf-8"))
    expressions = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    used = {name for text in expressions for name in re.findall(r"\b(?:turngap|process)_\w+", text)}
    assert len(used) > 8
    assert used - known == set()


def test_panels_do_not_overlap() -> None:
    """Each stands at a place of its own, inside the 24 columns."""
    dashboard = json.loads((ROOT / "examples/monitoring/dashboard.json").read_text("utf-8"))
    places = [panel["gridPos"] for panel in dashboard["panels"]]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) < 24


def test_the_image_copies_what_is_there() -> None:
    """Each COPY names files of the repository that the build context contains."""
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text("utf-8").splitlines() if line.startswith("!")}
    copied = {source for line in re.findall(r"^COPY (.+) \S+$", DOCKERFILE, re.MULTILINE) for source in line.split()}
    assert copied == allowed
    assert [source for source in copied if not (ROOT / source).exists()] == []


def test_no_image_runs_as_root() -> None:
    """The last USER of each target is not root."""
    stages = re.split(r"^FROM ", DOCKERFILE, flags=re.MULTILINE)[1:]
    assert [re.search(r" AS (\w+)", stage).group(1) for stage in stages] == ["harness", "cpu", "gpu"]  # type: ignore[union-attr]
    assert [re.findall(r"^USER (\S+)$", stage, re.MULTILINE)[-1] for stage in stages] == ["1000"] * 3


def test_the_services_fit_together() -> None:
    """Targets exist, mounted files exist, Prometheus reads the agent's port, and the header's call fits its socket."""
    services = COMPOSE["services"]
    targets = {service["build"]["target"] for service in services.values() if "build" in service}
    assert targets <= set(re.findall(r" AS (\w+)", DOCKERFILE))
    mounts = [mount.split(":")[0] for service in services.values() for mount in service.get("volumes", [])]
    files = [mount for mount in mounts if mount.startswith("./examples")]
    assert len(files) == 4
    assert [file for file in files if not (ROOT / file).is_file()] == []
    prometheus = yaml.safe_load((ROOT / "examples/monitoring/prometheus.yml").read_text("utf-8"))
    assert prometheus["scrape_configs"][0]["static_configs"][0]["targets"] == ["agent:8080"]
    assert f"ws://agent:8080{MEDIA_PATH}" in (ROOT / "compose.yaml").read_text("utf-8")
    assert services["agent"]["command"][services["agent"]["command"].index("--port") + 1] == "8080"
