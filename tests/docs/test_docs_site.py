"""The built site: it opens from disk, fetches nothing, and fits a phone. `make docs` builds it and runs this."""

import os
import re
from pathlib import Path

import pytest

NAMED = os.environ.get("BAYES_VAE_SITE")
SITE = Path(NAMED).resolve() if NAMED else None
PAGES = sorted(SITE.rglob("*.html")) if SITE else []

pytestmark = pytest.mark.skipif(not NAMED, reason="BAYES_VAE_SITE names no built site: make docs")

FETCHED = re.compile(r"<(?:script|img|iframe|source|link)\b[^>]*?\b(?:src|href)=\"(?:\w+:)?//[^\"]*\"", re.IGNORECASE)
IMPORTED = re.compile(r"(?:@import\s+|url\()[\"']?(?:https?:)?//", re.IGNORECASE)
PHONE = {"width": 390, "height": 844}
TALL = 20_000
"""Pixels on a phone from which a page lists its headings."""
UNNAMED = """() => [...document.querySelectorAll("table.docutils")].filter((one) => one.querySelector("thead th"))
    .flatMap((one) => [...one.querySelectorAll("tbody td:not(:first-child)")])
    .filter((cell) => !cell.hasAttribute("data-label")).length"""


def test_the_site_was_built():
    names = {str(page.relative_to(SITE)) for page in PAGES}
    assert {"index.html", "theory.html", "trust.html", "api/terms.html", "notebooks/bayes_rule.html"} <= names


def test_no_page_fetches_from_elsewhere():
    for page in PAGES:
        assert not FETCHED.findall(page.read_text(encoding="utf-8")), page.name
    for style in SITE.rglob("*.css"):
        assert not IMPORTED.search(style.read_text(encoding="utf-8")), style.name


def test_links_within_the_site_lead_somewhere():
    for page in PAGES:
        for target in re.findall(r"href=\"([^\"#?:]+)[\"#?]", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name} links to {target}"


def test_pages_open_from_disk_and_fit_a_phone(browser):
    """No request leaves the disk or fails, formulas are set, no page is wider than the screen, pictures have a text."""
    context = browser.new_context(viewport=PHONE)
    view = context.new_page()
    asked, failed, errors = [], [], []
    view.on("request", lambda request: asked.append(request.url))
    view.on("requestfailed", lambda request: failed.append(request.url))
    view.on("pageerror", lambda error: errors.append(str(error)))
    for page in PAGES:
        view.goto(page.as_uri())
        if view.locator(".math").count():
            view.wait_for_function("window.MathJax && MathJax.startup && MathJax.startup.promise")
            view.evaluate("() => MathJax.startup.promise")
            assert view.locator("mjx-container").count() >= view.locator(".math").count(), page.name
            assert view.locator("mjx-merror, [data-mjx-error]").count() == 0, page.name
        width = view.evaluate("() => document.documentElement.scrollWidth")
        assert width <= PHONE["width"], f"{page.name} is {width} wide"
        height = view.evaluate("() => document.documentElement.scrollHeight")
        assert height < TALL or view.locator(".on-this-page").is_visible(), f"{page.name} is {height} tall"
        assert view.evaluate(UNNAMED) == 0, f"{page.name}: cells of a stacked table that do not name their column"
        words = view.evaluate("() => [...document.images].map((image) => image.alt)")
        assert all(alt and "_images/" not in alt for alt in words), f"{page.name}: {words}"
    context.close()
    assert not failed
    assert not errors
    assert [url for url in asked if not url.startswith(("file://", "data:", "blob:"))] == []
