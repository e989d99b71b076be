"""What axe-core, the engine behind most checks of accessibility, finds wrong with a page."""

from __future__ import annotations

from typing import Any

from axe_playwright_python.sync_playwright import Axe

THEMES = ("light", "dark")


def find_violations(page: Any) -> list[str]:
    """Open every folded part of `page` and return each broken rule with the elements that break it."""
    page.evaluate("document.querySelectorAll('details').forEach(part => { part.open = true })")
    results = Axe().run(page)
    assert results.response["passes"], "axe-core checked nothing"
    return [
        f"{violation['id']}: {[node['target'] for node in violation['nodes']][:5]}"
        for violation in results.response["violations"]
    ]
