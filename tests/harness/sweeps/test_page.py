"""A sweep's report: whole in one file, in a real browser too."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from turngap.sweeps import charts, page

from tests.harness.accessibility import THEMES, find_violations
from tests.harness.browser import needs_chromium, open_page
from tests.harness.sweeps.builders import write_sweep

pytestmark = pytest.mark.xdist_group("sweep-page")


def render(path: Path) -> str:
    page.write_sweep_page(path, path / "report.html")
    return (path / "report.html").read_text("utf-8")


def test_every_setting_has_its_figures_beside_the_chart(tmp_path: Path) -> None:
    """A row each, the dominated one grey with the name of what dominates it, the profile's own one marked."""
    text = render(write_sweep(tmp_path / "sweep"))
    rows = re.findall(r'<tr class="([^"]*)"><td>(\d)<th', text)
    assert [(classes.split(), number) for classes, number in rows] == [
        ([], "1"),
        (["current"], "2"),
        ([], "3"),
        (["grey"], "4"),
    ]
    assert text.count('role="img"') == 6  # three charts, each wide and narrow
    assert "dominated by min_silence_ms=" in text
    assert "min_silence_ms=200 &lt;b&gt;" in text  # a name is text, whatever is in it
    assert "min_silence_ms=200 <b>" not in text
    embedded = re.search(r'<script type="application/json" id="sweep-json">(.*?)</script>', text, re.DOTALL)
    assert embedded is not None
    assert len(json.loads(embedded[1])["points"]) == 4
    assert "http://" not in text.replace("http://www.w3.org/2000/svg", "")


@pytest.mark.parametrize("begun", [0, 1, 2])
def test_an_unfinished_sweep_shows_its_finished_settings(tmp_path: Path, begun: int) -> None:
    """From no run at all on; it says that it is not complete."""
    text = render(write_sweep(tmp_path / "sweep", settings=3, n=3, begun=begun, complete=False))
    assert "UNFINISHED" in text
    assert f"{3 - begun} setting" in text


@given(st.floats(0, 5000), st.floats(1, 5000), st.integers(2, 8))
def test_ticks_are_round_and_within_the_axis(low: float, width: float, about: int) -> None:
    """Evenly spaced, and about as many as requested."""
    ticks = charts.tick_positions(low, low + width, about)
    assert len(ticks) <= about + 2
    assert all(low - 1e-6 <= tick <= low + width + 1e-6 for tick in ticks)


@given(st.lists(st.floats(-500, 9000), min_size=1, max_size=20))
def test_limits_hold_what_is_shown(values: list[float]) -> None:
    """But for gaps below zero, which are cut-offs and are not drawn."""
    low, high = charts.gap_axis_limits(values)
    assert low < high
    assert all(low <= value <= high for value in values if value >= 0)


@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize("width", [390, 1280])
def test_opens_clean(browser: Any, tmp_path: Path, width: int) -> None:
    """A silent console, no request, no sideways scrolling, one size of each chart."""
    path = write_sweep(tmp_path / "sweep")
    page.write_sweep_page(path, path / "report.html")
    opened, messages = open_page(browser, (path / "report.html").as_uri(), viewport={"width": width, "height": 800})
    assert messages == []
    assert opened.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert opened.locator(".chart svg:visible").count() == opened.locator(".chart").count() == 3
    assert opened.locator(".points tbody tr").count() == 4
    opened.context.close()


@pytest.mark.browser
@needs_chromium
@pytest.mark.parametrize("theme", THEMES)
def test_everybody_can_use_the_page(browser: Any, tmp_path: Path, theme: str) -> None:
    """No rule of axe-core is broken."""
    path = write_sweep(tmp_path / "sweep")
    page.write_sweep_page(path, path / "report.html")
    opened = browser.new_context(color_scheme=theme, viewport={"width": 390, "height": 800}).new_page()
    opened.goto((path / "report.html").as_uri())
    assert find_violations(opened) == []
    opened.context.close()
