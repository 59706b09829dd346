"""How long a page of bayes-vae explore takes from a click on an image to its first picture, and to the refined number.

Opens a page in Chromium, clicks six thumbnails one after another, the first of them as soon as there is one, and prints
for each: milliseconds from the click until the browser has painted (clock), the main thread's own time in them (CPU),
and milliseconds until the worker's refined log p(x) is shown. On a busy machine only the CPU time means much.

    python benchmarks/explore_clicks.py runs/mnist/explore.html
"""

from __future__ import annotations

import argparse
import shutil
from pathlib import Path
from typing import Any

from playwright.sync_api import CDPSession, sync_playwright

CLICK = """async (place) => {
  const began = performance.now(), passed = () => performance.now() - began;
  document.querySelectorAll(".thumb")[place].click();
  const handled = passed();
  await new Promise((done) => requestAnimationFrame(() => scheduler.postTask(done, { priority: "user-blocking" })));
  return [handled, passed()];
}"""
REFINED = "async () => { while (!bayesVae.engine.fine) await new Promise((done) => setTimeout(done, 10)); }"


def cpu(session: CDPSession) -> float:
    """Milliseconds that the main thread has worked so far."""
    found: list[dict[str, Any]] = session.send("Performance.getMetrics")["metrics"]
    return 1000 * next(each["value"] for each in found if each["name"] == "TaskDuration")


def main() -> None:
    """Print the times of six clicks."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("page", help="a page of a run of two latent numbers")
    page = Path(parser.parse_args().page).resolve()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": 1280, "height": 900})
        session = tab.context.new_cdp_session(tab)
        session.send("Performance.enable", {"timeDomain": "threadTicks"})
        tab.goto(page.as_uri())
        print(f"opened: {cpu(session):.0f} ms CPU\nclick  handler  painted  CPU ms  refined")
        for place in range(1, 7):
            before, began = cpu(session), tab.evaluate("performance.now()")
            handled, painted = tab.evaluate(CLICK, place)
            spent = cpu(session) - before
            tab.evaluate(REFINED)
            refined = tab.evaluate("performance.now()") - began
            print(f"{place:5d}  {handled:7.0f}  {painted:7.0f}  {spent:6.0f}  {refined:7.0f}")
        browser.close()


if __name__ == "__main__":
    main()
