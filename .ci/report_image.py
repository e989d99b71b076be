"""Make the README's picture: the top of a report as a small PNG.

    python .ci/report_image.py [REPORT.html] [IMAGE.png]

Needs Playwright and Chromium, as the browser tests do. The image has few colours, so that it stays under 150 KiB.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image
from playwright.sync_api import sync_playwright

ROOT = Path(__file__).parent.parent
CHROMIUM = Path("/usr/bin/chromium")
SIZE = {"width": 1180, "height": 900}
COLOURS = 64
MOST_BYTES = 150 * 1024


def make(report: Path, image: Path) -> None:
    """Write the top of `report` to `image`, in the light colour scheme."""
    with sync_playwright() as driver:
        path = str(CHROMIUM) if CHROMIUM.exists() else None
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport=SIZE, color_scheme="light")
        page.goto(report.resolve().as_uri())
        shot = page.screenshot()
        browser.close()
    image.parent.mkdir(parents=True, exist_ok=True)
    Image.open(io.BytesIO(shot)).convert("RGB").quantize(COLOURS).save(image, optimize=True)
    size = image.stat().st_size
    print(f"{image}: {size / 1024:.0f} KiB")
    if size > MOST_BYTES:
        sys.exit(f"{image} is over {MOST_BYTES // 1024} KiB: use fewer colours or a smaller window")


if __name__ == "__main__":
    given = [Path(argument) for argument in sys.argv[1:]]
    make(*given, *(ROOT / "reports" / "reference.html", ROOT / "docs" / "images" / "report.png")[len(given) :])
