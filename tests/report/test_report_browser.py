"""The report in a real browser: Debian's Chromium, driven by Playwright. Skipped, with the reason, where either "
"lacks."""

import pytest

WIDTH = 390
"""Of a phone."""


@pytest.fixture(scope="module")
def file(page, tmp_path_factory):
    path = tmp_path_factory.mktemp("report") / "report.html"
    path.write_text(page, encoding="utf-8")
    return path.as_uri()


@pytest.fixture
def opened(browser, file):
    """``opened(width)``: the page, what its console said, and what it asked for."""
    pages = []

    def open_page(width):
        tab = browser.new_page(viewport={"width": width, "height": 800})
        pages.append(tab)
        said, asked = [], []
        tab.on("console", lambda message: said.append(message.text))
        tab.on("pageerror", lambda error: said.append(str(error)))
        tab.on("request", lambda request: asked.append(request.url))
        tab.goto(file)
        return tab, said, asked

    yield open_page
    for tab in pages:
        tab.close()


def test_it_opens_without_a_complaint_or_a_request(opened, file, found):
    tab, said, asked = opened(1200)
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [file]
    for section in found:
        assert tab.locator(f"#{section.key} h2").inner_text() == section.title
        assert tab.locator(f"#{section.key}").is_visible()
    drawings = tab.locator("[role=img] svg")
    assert drawings.count() > 10
    assert all(drawing.bounding_box()["width"] > 100 for drawing in drawings.all())
    assert tab.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


@pytest.mark.parametrize("width", [320, WIDTH, 768, 1000, 1600])
def test_it_never_scrolls_sideways(opened, width):
    tab, _, _ = opened(width)
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    beyond = """[...document.querySelectorAll('main :not(svg *), main svg text')].filter(
        one => !one.closest('.scroll') && one.getBoundingClientRect().right > innerWidth + 1).length"""
    assert tab.evaluate(beyond) == 0


def test_wide_tables_scroll_within_themselves_on_a_phone(opened):
    tab, _, _ = opened(WIDTH)
    wide = tab.locator("#terms .scroll")
    assert wide.evaluate("one => one.scrollWidth > one.clientWidth")
    assert wide.bounding_box()["width"] <= WIDTH


def test_every_link_of_the_contents_leads_to_its_section(opened):
    tab, _, _ = opened(WIDTH)
    for link in tab.locator("nav a").all():
        assert tab.locator(link.get_attribute("href")).count() == 1
    tab.locator("nav a").last.click()
    assert tab.locator("#calibration h2").bounding_box()["y"] < 800


def test_it_prints_and_cuts_no_figure(opened):
    tab, _, _ = opened(1200)
    content = tab.pdf(format="A4")
    assert content.startswith(b"%PDF")
    assert content.count(b"/Type /Page\n") + content.count(b"/Type /Page ") > 1
    tab.emulate_media(media="print")
    assert tab.locator("figure").first.evaluate("one => getComputedStyle(one).breakInside") == "avoid"
    assert tab.locator("#terms .scroll").evaluate("one => getComputedStyle(one).overflowX") == "visible"
