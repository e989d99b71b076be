"""The history's page, in a real browser too, and the command."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from turngap.cli.app import execute
from turngap.history.page import write_history_page
from turngap.history.series import read_history

from tests.harness.accessibility import THEMES, find_violations
from tests.harness.browser import needs_chromium, open_page
from tests.harness.history.builders import invalidate, write_runs

pytestmark = pytest.mark.xdist_group("history-page")

STEP = [450, 452, 449, 451, 450, 453, 448, 450, 451, 449, 530, 529, 531, 530, 532, 528]


def write(folder: Path) -> Path:
    """A folder of 16 runs with one change and one INVALID run, a report of the first, and its page."""
    paths = write_runs(folder / "results", STEP)
    invalidate(paths[3])
    (folder / "reports").mkdir()
    (folder / "reports" / f"{paths[0].name}.html").write_text("<!doctype html><title>a report</title>")
    page = folder / "reports" / "history.html"
    write_history_page(read_history(folder / "results"), page, folder / "reports")
    return page


def test_the_page_says_what_changed_and_when(tmp_path: Path) -> None:
    """By how much, from which run on, and that the build changed; a report that is there is linked, others are not."""
    text = write(tmp_path).read_text("utf-8")
    assert "+80 ms at the median from 2026-08-11 10:15 on (2026-08-11-cpu-default)" in text
    assert "the build changed from 00000000 to 11111111" in text
    assert text.count('href="2026-08-01-cpu-default.html"') == 3  # the table, and both sizes of the chart
    assert "2026-08-02-cpu-default.html" not in text
    assert text.count('class="grey"') == 1


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A line a series and the page's place; `--json` writes none; a folder without runs is one line."""
    write_runs(tmp_path / "results", STEP)
    assert execute(["history", str(tmp_path / "results")]) == 0
    output = capsys.readouterr().out
    assert "default on cpu" in output
    assert "+80 ms from 2026-08-11 on" in output
    page = tmp_path / "reports" / "history.html"
    assert page.is_file()
    page.unlink()
    assert execute(["history", str(tmp_path / "results"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["series"][0]["changes"] == ["2026-08-11-cpu-default"]
    assert not page.exists()
    (tmp_path / "empty").mkdir()
    assert execute(["history", str(tmp_path / "empty")]) == 3
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 1
    assert "there is no run in it" in error


@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_a_dot_opens_its_report(browser: Any, tmp_path: Path, width: int) -> None:
    """A silent console, no request, no sideways scrolling; a click on the first run's dot leads to its report."""
    page = write(tmp_path)
    opened, messages = open_page(browser, page.as_uri(), viewport={"width": width, "height": 800})
    assert messages == []
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    opened.locator(".chart svg:visible a circle").first.click()
    assert opened.title() == "a report"
    opened.context.close()


@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize("theme", THEMES)
def test_everybody_can_use_the_page(browser: Any, tmp_path: Path, theme: str) -> None:
    """No rule of axe-core is broken."""
    opened = browser.new_context(color_scheme=theme, viewport={"width": 390, "height": 800}).new_page()
    opened.goto(write(tmp_path).as_uri())
    assert find_violations(opened) == []
    opened.context.close()
