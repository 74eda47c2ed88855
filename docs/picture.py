"""Makes docs/report.png, the picture of a report in the README, out of the quickstart's: `python docs/picture.py`.

It needs Chromium and what the tests need, and an output of `make quickstart`.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from PIL import Image

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent / "tests"))

from support.browser import browser, opened  # noqa: E402  (tests/ is no package)

MOST_BYTES = 200_000


def picture(report: Path) -> bytes:
    """A PNG of the inputs of a report, small enough for a README."""
    with browser() as running, opened(running, report, width=1200, height=830) as found:
        found.page.get_by_role("button", name="Most regions").click()
        found.page.locator("#inputs").scroll_into_view_if_needed()
        found.page.evaluate("document.querySelector('#inputs').scrollIntoView()")
        shot = Image.open(io.BytesIO(found.page.screenshot())).convert("RGB")
    for colours, width in ((256, 1000), (128, 900), (64, 800), (48, 720)):
        small = shot.resize((width, round(shot.height * width / shot.width)), Image.Resampling.LANCZOS)
        out = io.BytesIO()
        small.quantize(colours, dither=Image.Dither.NONE).save(out, "PNG", optimize=True)
        if out.tell() < MOST_BYTES:
            break
    return out.getvalue()


if __name__ == "__main__":
    place = Path(sys.argv[1] if len(sys.argv) > 1 else "out/quickstart/report.html")
    (DOCS / "report.png").write_bytes(picture(place.resolve()))
