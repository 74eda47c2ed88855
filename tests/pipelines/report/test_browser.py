"""The report in a real browser: it asks nobody, draws what the tables hold, and can be read by everybody."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pytest
from bulkinfer.pipelines.report.output import open_output
from bulkinfer.pipelines.report.report import write_report
from PIL import Image
from pycocotools import mask as coco
from support.browser import browser, opened
from support.jobs import photo
from support.outputs import RUN, error, mask, prediction, region, write_output

LATER = "20260201T120000Z-000002"
SIZE = (40, 30)
DISC = (np.add.outer((np.arange(30) - 12.0) ** 2, (np.arange(40) - 25.0) ** 2)) < 80
HOSTILE = "<script>alert(1)</script>\u202e<img src=http://127.0.0.1:9/x onerror=alert(1)>"


@pytest.fixture(scope="module")
def running() -> Iterator[Any]:
    with browser() as found:
        yield found


@pytest.fixture(scope="module")
def output(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An output with a little of everything: pictures, a turned one, texts, failures, two runs."""
    folder = tmp_path_factory.mktemp("output")
    (folder / "a.jpg").write_bytes(photo(size=SIZE))
    turned, exif = Image.new("RGB", SIZE, (200, 200, 200)), Image.Exif()
    exif[0x0112] = 6
    turned.save(folder / "turned.jpg", exif=exif)
    (folder / "text.txt").write_text(HOSTILE)
    names = {name: str(folder / name) for name in ("a.jpg", "turned.jpg", "text.txt")}
    size = {"width": 40, "height": 30, "regions": [region(0, label="disc", score=0.75)]}
    rows = [
        prediction(names["a.jpg"], **size, created_at=1_769_860_000_000_000, run_id=LATER),
        prediction(
            names["turned.jpg"], **size, orientation=6, created_at=1_769_860_005_000_000, run_id=LATER
        ),
        prediction(names["text.txt"], media_type="text", label=HOSTILE, score=0.5, text=HOSTILE),
        *(
            prediction(f"gone/{n}.jpg", label=f"label {n % 7}", score=n / 40, latency_ms=float(n))
            for n in range(40)
        ),
    ]
    masks = [mask(names[name], 0, DISC, label="disc", score=0.75) for name in ("a.jpg", "turned.jpg")]
    errors = [error("bad/1"), error(f"bad/{HOSTILE}", message=HOSTILE, error_type="busy", retryable=True)]
    job = {"source": {"files": f"{folder}/*"}, "model": {"method": HOSTILE}}
    return write_output(folder / "out", rows, masks, errors, runs=(RUN, LATER), job=job)


@pytest.fixture(scope="module")
def path(output: Path) -> Path:
    return Path(write_report(open_output(str(output))))


def show_all(page: Any) -> None:
    page.get_by_role("button", name="All", exact=True).click()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_a_page_asks_for_nothing_and_says_nothing(running: Any, path: Path, scheme: str) -> None:
    with opened(running, path, scheme=scheme) as found:
        for button in found.page.locator("button.zoom").all():
            if button.is_visible():
                button.click()
                found.page.keyboard.press("Escape")
        show_all(found.page)

        assert found.said == []
        assert found.asked == []


def test_every_figure_is_what_duckdb_gives_for_the_query_beside_it(running: Any, path: Path) -> None:
    with opened(running, path) as found:
        figures = found.page.locator("figure").all()
        shown = {
            figure.get_attribute("id"): (
                figure.locator("pre.sql").text_content(),
                figure.locator("tbody tr").evaluate_all(_CELLS),
            )
            for figure in figures
        }

    assert {"failures", "labels", "scores", "latency", "areas", "over_time", "runs"} <= set(shown)
    for key, (sql, rows) in shown.items():
        theirs = [[_plain(value) for value in row] for row in duckdb.sql(sql).fetchall()]
        assert rows == theirs, key


#: The values of a table's cells as the page holds them.
_CELLS = """rows => rows.map(row => [...row.querySelectorAll('th, td')].map(cell => {
    const data = cell.querySelector('data');
    return data ? data.value : cell.title || cell.textContent;
}))"""


def _plain(value: Any) -> str:
    if hasattr(value, "isoformat"):
        return str(value.isoformat())
    return str(value).replace("\u202e", "\u27e8202E\u27e9")


def test_the_query_of_a_figure_is_copied(running: Any, path: Path) -> None:
    with opened(running, path, permissions=["clipboard-read", "clipboard-write"]) as found:
        figure = found.page.locator("figure#labels")
        figure.locator("summary", has_text="SQL").click()
        figure.get_by_role("button", name="Copy the SQL of Labels").click()
        copied = found.page.evaluate("navigator.clipboard.readText()")

        assert copied == figure.locator("pre.sql").text_content()
        assert duckdb.sql(copied).fetchall()


@pytest.mark.parametrize(("name", "turns"), [("a.jpg", 0), ("turned.jpg", 3)])
def test_the_pixels_of_a_drawn_mask_are_those_of_its_rle(
    running: Any, path: Path, output: Path, name: str, turns: int
) -> None:
    query = f"SELECT segmentation FROM '{output}/masks/*.parquet' WHERE input_id LIKE '%/{name}'"
    ((segmentation,),) = duckdb.sql(query).fetchall()
    # People see a picture of orientation 6 turned clockwise by a quarter.
    expected = np.rot90(coco.decode(segmentation), turns).astype(bool)
    with opened(running, path, width=1000) as found:
        show_all(found.page)
        picture = found.page.locator("svg.picture", has=found.page.locator(".mask")).and_(
            found.page.get_by_role("img", name=f"{name}:")
        )
        height, width = expected.shape
        found.page.add_style_tag(
            content=f"""svg.picture {{ width: {4 * width}px !important; height: {4 * height}px; border-radius: 0; }}
            .photo, .label, .box {{ display: none; }}
            .mask {{ fill: #000; fill-opacity: 1; stroke: none; }} svg.picture {{ background: #fff; }}"""
        )
        # At whole pixels of the window, and above all else.
        picture.evaluate(
            "el => { document.body.append(el); el.style.cssText = 'position: fixed; left: 0; top: 0' }"
        )
        area = {"x": 0, "y": 0, "width": 4 * width, "height": 4 * height}
        pixels = np.asarray(Image.open(io.BytesIO(found.page.screenshot(clip=area))).convert("L"))

    assert pixels.shape == (4 * height, 4 * width)
    assert np.array_equal(pixels[2::4, 2::4] < 128, expected)


def test_a_mask_is_drawn_over_its_picture(running: Any, path: Path) -> None:
    with opened(running, path) as found:
        show_all(found.page)
        box = "el => (({x, y, width, height}) => [x, y, width, height])(el.getBoundingClientRect())"
        picture = found.page.get_by_role("img", name="a.jpg:")
        photo_box = picture.locator("image").evaluate(box)
        mask_box = picture.locator(".mask").evaluate(box)

    ys, xs = np.nonzero(DISC)
    left = photo_box[0] + xs.min() / 40 * photo_box[2]
    top = photo_box[1] + ys.min() / 30 * photo_box[3]
    assert mask_box[:2] == pytest.approx([left, top], abs=2.5)


def test_choices_order_what_is_shown(running: Any, path: Path) -> None:
    with opened(running, path) as found:
        found.page.get_by_role("button", name="Least sure").click()
        names = [one.inner_text() for one in found.page.locator("article:visible h3").all()]

        assert names[:3] == ["0.jpg", "1.jpg", "2.jpg"]
        assert found.page.get_by_role("status").inner_text() == f"{len(names)} shown"


def test_layers_are_switched_off_and_on(running: Any, path: Path) -> None:
    with opened(running, path) as found:
        show_all(found.page)
        picture = found.page.get_by_role("img", name="a.jpg:")
        for layer, part in (("Masks", ".mask"), ("Labels", ".label"), ("All boxes", ".box")):
            before = picture.locator(part).first.is_visible()
            found.page.get_by_role("checkbox", name=layer).click()
            assert picture.locator(part).first.is_visible() is not before, layer


def test_everything_is_reached_by_the_keyboard(running: Any, path: Path) -> None:
    with opened(running, path) as found:
        page = found.page
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.textContent") == "Skip to the content"
        page.evaluate("document.querySelector('[data-choice=\"\"]').click()")
        wanted = page.evaluate(
            "[...document.querySelectorAll('a, button, input, summary, [tabindex=\"0\"]')]"
            ".filter(el => el.checkVisibility()).length"
        )
        seen = set()
        for _ in range(wanted + 5):
            seen.add(page.evaluate("[...document.querySelectorAll('*')].indexOf(document.activeElement)"))
            page.keyboard.press("Tab")
        assert len(seen) >= wanted

        page.get_by_role("button", name="Enlarge a.jpg").focus()
        page.keyboard.press("Enter")
        assert page.get_by_role("dialog", name="a.jpg: 1 region: disc").is_visible()
        page.keyboard.press("Escape")
        assert page.evaluate("document.activeElement.ariaLabel") == "Enlarge a.jpg"


def test_a_screen_reader_finds_a_name_for_everything(running: Any, path: Path) -> None:
    with opened(running, path) as found:
        show_all(found.page)
        tree = found.page.context.new_cdp_session(found.page).send("Accessibility.getFullAXTree")
    roles: dict[str, list[str]] = {}
    for node in tree["nodes"]:
        if not node.get("ignored"):
            role = node.get("role", {}).get("value", "")
            roles.setdefault(role, []).append(node.get("name", {}).get("value", ""))

    for role in (
        "button",
        "link",
        "checkbox",
        "image",
        "figure",
        "table",
        "article",
        "region",
        "heading",
    ):
        assert roles.get(role), role
        assert all(name.strip() for name in roles[role]), role
    assert "a.jpg: 1 region: disc" in roles["image"]
    assert roles["main"] and roles["navigation"]


def test_text_stands_out_from_its_ground(running: Any, path: Path) -> None:
    with opened(running, path) as found:
        found.page.evaluate(_UNFOLD)
        for scheme, expected in (("light", "rgb(251, 250, 248)"), ("dark", "rgb(20, 23, 27)")):
            found.page.emulate_media(color_scheme=scheme)

            assert found.page.evaluate(_CONTRAST) == [], scheme
            assert found.page.evaluate("getComputedStyle(document.body).backgroundColor") == expected


_UNFOLD = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"
#: Texts whose contrast is below the 4.5 of WCAG's AA.
_CONTRAST = """() => {
    const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
    const light = ([r, g, b]) => [r, g, b].map((v) => v / 255)
        .map((v) => v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4)
        .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
    const ground = (el) => {
        for (; el; el = el.parentElement) {
            const found = numbers(getComputedStyle(el).backgroundColor);
            if (found.length < 4 || found[3] > 0) return found;
        }
        return [255, 255, 255];
    };
    const poor = [];
    for (const el of document.querySelectorAll('body *:not(svg *, script, style)')) {
        const own = [...el.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!own || !el.checkVisibility() || el.closest('.unseen, .skip')) continue;
        const [a, b] = [light(numbers(getComputedStyle(el).color)), light(ground(el))].sort((x, y) => y - x);
        if ((a + 0.05) / (b + 0.05) < 4.5) poor.push(`${el.tagName}.${el.className}: ${el.textContent.slice(0, 40)}`);
    }
    return poor;
}"""


def test_a_page_fits_into_any_window(running: Any, path: Path) -> None:
    with opened(running, path) as found:
        found.page.evaluate(_UNFOLD)
        for width in (320, 480, 768, 1280, 1920):
            found.page.set_viewport_size({"width": width, "height": 900})

            inner, outer = found.page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
            assert inner <= outer == width
            assert found.page.evaluate(_OUTSIDE) == [], width
            assert found.page.evaluate(_SMALL) == [], width


#: What reaches beyond the window, and does not scroll by itself.
_OUTSIDE = """() => [...document.querySelectorAll('body *')].filter((el) => el.checkVisibility()
    && !el.closest('.scroll, .unseen, .skip, svg') && el.getBoundingClientRect().right > innerWidth + 1)
    .map((el) => el.outerHTML.slice(0, 100))"""
#: What is touched and lower than WCAG's least size.
_SMALL = """() => [...document.querySelectorAll('button, input')].filter((el) => el.checkVisibility()
    && (el.closest('label') || el).getBoundingClientRect().height < 24).map((el) => el.outerHTML.slice(0, 100))"""


def test_without_scripts_everything_is_there(running: Any, path: Path) -> None:
    with opened(running, path, java_script_enabled=False) as found:
        articles = found.page.locator("article").count()
        assert found.page.locator("article:visible").count() == articles > 12
        assert found.page.get_by_role("img", name="a.jpg:").locator(".mask").is_visible()
