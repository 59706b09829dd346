"""The page in a real browser: Debian's Chromium, driven by Playwright. Skipped, with the reason, where either lacks."""

import re

import numpy as np
import pytest

import bayes_vae as bv

WIDTH = 390
"""Of a phone."""


def number(text):
    return float(text.replace("−", "-"))


def evidence(tab):
    return tab.evaluate("bayesVae.engine.logEvidence")


def elbo(tab):
    return tab.evaluate("bayesVae.terms.elbo")


def test_it_opens_without_a_complaint_or_a_request(opened, file):
    tab, said, asked = opened(file)
    tab.wait_for_timeout(300)
    assert said == []
    assert [url for url in asked if not url.startswith(("data:", "blob:"))] == [file.as_uri()]
    assert file.stat().st_size < 5e6
    for heading in ("one-bar", "steps", "draws", "batch", "codes", "now", "panels"):
        assert tab.locator(f"#{heading}").is_visible()
    assert tab.evaluate("bayesVae.queue.worker !== null"), "no worker could be started under the page's policy"


def test_the_policy_lets_no_other_script_run(opened, file):
    tab, _, _ = opened(file)
    tab.evaluate("""() => {
      const added = document.createElement("script");
      added.textContent = "window.foreign = 1";
      document.body.append(added);
    }""")
    assert tab.evaluate("window.foreign") is None
    assert tab.evaluate("fetch('https://example.org').then(() => 'sent', () => 'refused')") == "refused"


def test_names_are_text(opened, file, file_of_two):
    for each in (file, file_of_two):
        tab, _, _ = opened(each)
        assert tab.locator("#name").inner_text().startswith("<script>window.hacked = 1</script> & a run")
        assert tab.title().startswith("<script>window.hacked = 1</script> & a run")
        assert tab.evaluate("window.hacked") is None


def test_log_evidence_of_twenty_images_is_that_of_python(opened, file, pairs, digits, until):
    """The page sums over other nodes, around each posterior; both sums are exact to far below a part in a million."""
    tab, _, _ = opened(file)
    rule = bv.bayes_rule_on_grid(*(part.double() for part in pairs[0]), digits.test[:20].seeded(0), num_points=161)
    found = []
    for place in range(20):
        tab.evaluate(f"bayesVae.chooseImage({place})")
        until(tab, "bayesVae.engine.fine")
        found.append(evidence(tab))
    np.testing.assert_allclose(found, rule.log_evidence.numpy(), rtol=1e-6)
    for part in pairs[0]:
        part.float()


@pytest.mark.parametrize("width", [320, WIDTH, 768, 1280, 1800])
def test_it_never_scrolls_sideways(opened, file, width):
    tab, _, _ = opened(file, width)
    tab.locator("#start-tour").click()
    assert tab.evaluate("document.documentElement.scrollWidth") <= width
    beyond = """[...document.querySelectorAll('body :not(.unseen, .tip, .tip *, #thumbs *, svg *)')].filter(
      (each) => each.getBoundingClientRect().right > innerWidth + 1).map((each) => each.outerHTML.slice(0, 80))"""
    assert tab.evaluate(beyond) == []


def test_the_first_picture_of_a_click_needs_no_decoder(opened, file_of_large_images):
    """With a worker that never answers, the panels change all the same: from the grid that Python computed."""
    stopped = "Worker.prototype.postMessage = () => {};"
    tab, said, _ = opened(file_of_large_images, script=stopped, ready="window.bayesVae")
    drawn = "document.querySelector('.panel.likelihood canvas').toDataURL()"
    before = tab.evaluate(drawn)
    tab.locator(".thumb").nth(3).click()
    assert tab.evaluate(drawn) != before
    first, kept = tab.evaluate(
        "[bayesVae.engine.grid.logLikelihood, bayesVae.engine.run.first_grid].map((v) => [...v])"
    )
    assert first == kept[3 * 961 : 4 * 961]
    assert tab.evaluate("[bayesVae.engine.cached, bayesVae.engine.fine]") == [None, None]
    assert said == []
    assert file_of_large_images.stat().st_size < 5e6


def test_moving_q_leaves_log_p_x_and_lowers_the_elbo(opened, file):
    tab, _, _ = opened(file)
    before, bound = evidence(tab), elbo(tab)
    tab.get_by_role("slider", name="mean of z₁").press("End")
    assert evidence(tab) == before
    assert elbo(tab) < bound < before
    label = tab.locator(".bar").get_attribute("aria-label")
    parts = [number(part) for part in re.findall(r"−?\d+\.\d\d", label)]
    assert parts[0] == pytest.approx(parts[1] + parts[2], abs=0.011)


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_let_go_climbs_to_the_best_q(opened, file, motion, until):
    tab, _, _ = opened(file, reduced_motion=motion)
    encoder = elbo(tab)
    tab.get_by_role("button", name="Start q at the prior").click()
    assert elbo(tab) < encoder
    tab.get_by_role("button", name="Let go of q").click()
    until(tab, "bayesVae.state.qFrom === 'best'")
    assert encoder <= elbo(tab) + 1e-6 <= evidence(tab) + 1e-5
    assert "approximation gap" in tab.locator(".result").inner_text()
    pushes = tab.evaluate("Object.values(bayesVae.terms.forces).map((force) => Array.from(force.mean))")
    np.testing.assert_allclose(pushes[0], -np.array(pushes[1]), atol=5e-3)


def test_the_three_ways_to_write_the_elbo_agree(opened, file):
    tab, _, _ = opened(file)
    totals = []
    for name, sign in (("With the posterior", -1), ("With the prior", -1), ("With the entropy", 1)):
        tab.get_by_role("button", name=name).click()
        chips = [number(text) for text in tab.locator(".chip b").all_inner_texts()]
        assert chips[0] == pytest.approx(chips[1] + sign * chips[2], abs=0.011)
        totals.append(chips[0])
        needs = tab.locator(".needs").count()
        assert needs == (2 if "posterior" in name else 0)
    assert len(set(totals)) == 1


def test_at_temperature_one_the_volume_is_the_evidence(opened, file):
    tab, _, _ = opened(file)
    words = tab.locator("#steps .number").nth(1).inner_text()
    assert number(re.findall(r"−?\d+\.\d+", words)[0]) == pytest.approx(evidence(tab), abs=0.006)
    tab.get_by_role("slider", name="temperature t").press("Home")
    words = tab.locator("#steps .number").nth(1).inner_text()
    assert number(re.findall(r"−?\d+\.\d+", words)[0]) == pytest.approx(0, abs=0.006)


def test_a_narrow_q_lights_up_k(opened, file):
    tab, _, _ = opened(file)
    tab.get_by_role("button", name="Draw 50 from q").click()
    assert tab.locator("#draws circle").count() == 50
    tab.get_by_role("button", name="Make q too narrow").click()
    assert tab.locator("#draws dd.warn").count() == 1
    assert tab.locator("#draws circle").count() == 500


def test_the_kl_of_an_image_stays_and_the_wrong_one_jumps(opened, file):
    tab, _, _ = opened(file)
    right, wrong = [], []
    for name in ("Shuffle the batch", "Only one class", "Shuffle the batch"):
        tab.get_by_role("button", name=name).click()
        values = tab.locator("#batch p b").all_inner_texts()
        right.append(values[0])
        wrong.append(values[1])
    assert len(set(right)) == 1
    assert len(set(wrong)) > 1
    python = tab.evaluate("bayesVae.engine.python('kl_to_prior')")
    assert number(right[0].split()[0]) == pytest.approx(python, abs=0.006)


def test_labels_are_grey_until_asked_for(opened, file):
    tab, _, _ = opened(file)
    fills = (
        "[...new Set([...document.querySelectorAll('#codes .plane circle')].map((dot) => dot.getAttribute('fill')))]"
    )
    assert tab.evaluate(fills) == ["var(--dot)"]
    assert "label" not in tab.locator("#now-title").inner_text()
    tab.get_by_role("button", name="Show the labels").click()
    assert len(tab.evaluate(fills)) > 5
    assert "never used in training" in tab.locator("#codes").inner_text()
    assert "label" in tab.locator("#now-title").inner_text()


def test_the_hash_brings_a_view_back(opened, file):
    tab, _, _ = opened(file)
    tab.locator(".thumb").nth(3).click()
    tab.get_by_role("button", name="Around the posterior").click()
    tab.get_by_role("button", name="With the prior").click()
    tab.get_by_role("slider", name="deviation of z₂").press("ArrowRight")
    tab.wait_for_timeout(500)
    fragment = tab.evaluate("location.hash")
    again, _, _ = opened(file, fragment=fragment)
    kept = "[bayesVae.state.image, bayesVae.state.view, bayesVae.state.split, bayesVae.state.qFrom]"
    assert again.evaluate(kept) == tab.evaluate(kept) == [3, "posterior", "prior", "own"]
    assert elbo(again) == pytest.approx(elbo(tab), abs=1e-2)


@pytest.mark.parametrize("fragment", ["#image=999&q=1,2&z=a,b&t=7&view=no", "#q=0,0,-1,0,0,1&draw=<script>", "#%"])
def test_a_broken_hash_is_ignored(opened, file, fragment):
    tab, said, _ = opened(file, fragment=fragment)
    assert said == []
    assert tab.evaluate("[bayesVae.state.image, bayesVae.state.qFrom, bayesVae.state.t]") == [0, "encoder", 1]


def test_the_tour_asks_before_it_reveals(opened, file):
    tab, said, _ = opened(file, reduced_motion="reduce")
    tab.get_by_role("button", name="Take the tour: seven questions").click()
    for step in range(1, 8):
        assert tab.locator("#tour-title").inner_text().startswith(f"{step} of 7")
        assert tab.locator("#tour .answer").is_hidden()
        tab.locator("#tour .buttons button").first.click()
        assert tab.locator("#tour .answer").is_visible()
        tab.get_by_role("button", name="Finish" if step == 7 else "Next question").click()
    assert tab.locator("#tour").is_hidden()
    assert said == []


def test_by_keyboard_alone(opened, file):
    tab, _, _ = opened(file)
    for _ in range(60):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.matches('.thumb:nth-child(2)')"):
            break
    tab.keyboard.press("Enter")
    assert tab.evaluate("bayesVae.state.image") == 1
    for _ in range(60):
        tab.keyboard.press("Tab")
        if tab.evaluate("document.activeElement.matches('.plane')"):
            break
    assert tab.evaluate("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    before = tab.evaluate("bayesVae.engine.top")
    tab.keyboard.press("ArrowUp")
    tab.keyboard.press("ArrowRight")
    z = tab.evaluate("bayesVae.state.z")
    assert z[0] > before[0]
    assert z[1] > before[1]


def test_by_touch_on_a_phone(opened, file):
    tab, said, _ = opened(file, WIDTH, has_touch=True, is_mobile=True)
    tab.locator(".thumb").nth(1).tap()
    assert tab.evaluate("bayesVae.state.image") == 1
    plane = tab.locator(".panel.prior .plane")
    plane.scroll_into_view_if_needed()
    plane.tap(position={"x": 20, "y": 20})
    z = tab.evaluate("bayesVae.state.z")
    assert z[0] < 0 < z[1]
    small = """[...document.querySelectorAll('button, input, select')].filter((each) => each.offsetParent &&
      !each.closest('.call') && each.getBoundingClientRect().height < 28).map((each) => each.outerHTML.slice(0, 90))"""
    assert tab.evaluate(small) == []
    assert said == []


def test_q_is_dragged_by_its_dots(opened, file):
    tab, _, _ = opened(file)
    tab.locator(".panel.posterior .plane").scroll_into_view_if_needed()
    box = tab.locator(".panel.posterior .touch[data-part=mean]").bounding_box()
    x, y = box["x"] + box["width"] / 2, box["y"] + box["height"] / 2
    before = tab.evaluate("Array.from(bayesVae.state.q.loc)")
    tab.mouse.move(x, y)
    tab.mouse.down()
    tab.mouse.move(x + 20, y - 30, steps=4)
    tab.mouse.up()
    after = tab.evaluate("Array.from(bayesVae.state.q.loc)")
    assert after[0] > before[0]
    assert after[1] > before[1]


def test_an_image_can_be_drawn(opened, file, until):
    tab, said, _ = opened(file)
    tab.get_by_role("button", name="Draw one yourself").click()
    sheet = tab.locator(".sheet")
    sheet.focus()
    for key in (" ", "ArrowDown", " ", "ArrowDown", " "):
        tab.keyboard.press(key)
    assert tab.evaluate("bayesVae.engine.x.reduce((a, b) => a + b)") == 3
    until(tab, "bayesVae.engine.fine")
    assert tab.locator("#now-title").inner_text() == "Your own image"
    assert elbo(tab) < evidence(tab)
    assert said == []


def test_every_control_has_a_name(opened, file):
    tab, _, _ = opened(file)
    unnamed = """[...document.querySelectorAll('button, input, [role=application], [role=img]')].filter((each) =>
      !(each.getAttribute('aria-label') || each.textContent.trim() || each.labels?.[0]?.textContent.trim())
    ).map((each) => each.outerHTML.slice(0, 90))"""
    assert tab.evaluate(unnamed) == []
    repeated = "[...document.querySelectorAll('[id]')].map((e) => e.id).filter((id, i, all) => all.indexOf(id) !== i)"
    assert tab.evaluate(repeated) == []


CONTRAST = """() => {
  const level = (hex) => [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
    .map((c) => (c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4))
    .reduce((s, c, i) => s + c * [0.2126, 0.7152, 0.0722][i], 0);
  const of = (name) => level(getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim());
  const ratio = (a, b) => (Math.max(of(a), of(b)) + 0.05) / (Math.min(of(a), of(b)) + 0.05);
  return Object.fromEntries(["ink", "soft", "elbo", "kl", "prior", "likelihood", "joint", "posterior", "warn"].flatMap(
    (name) => [[name, Math.min(ratio(name, "card"), ratio(name, "back"))]]));
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_has_contrast_in_both_schemes(opened, file, scheme):
    tab, _, _ = opened(file, color_scheme=scheme)
    assert {name: ratio for name, ratio in tab.evaluate(CONTRAST).items() if ratio < 4.0} == {}
    back = tab.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", back))) > 380) == (scheme == "light")


def test_several_runs_have_a_slider_over_what_differs(opened, file_of_two, until):
    tab, said, _ = opened(file_of_two)
    assert "kl weight" in tab.locator("#runs-title").inner_text()
    first = evidence(tab)
    tab.get_by_role("slider", name="which run").press("End")
    until(tab, "bayesVae.state.run === 1 && bayesVae.engine.fine")
    assert evidence(tab) != first
    assert tab.locator("#runs tr[aria-current=true] td").first.inner_text() == "heavier"
    assert said == []


def test_a_larger_latent_is_shown_as_a_slice_that_says_so(opened, file_of_six_dimensions):
    tab, said, _ = opened(file_of_six_dimensions)
    assert "slice" in tab.locator(".lead").inner_text()
    assert "annealing in Python" in tab.locator("#now").inner_text()
    assert evidence(tab) == tab.evaluate("bayesVae.engine.run.figures.log_evidence[0]")
    tab.locator(".thumb").nth(2).click()
    tab.get_by_role("slider", name="all deviations, times").press("End")
    assert elbo(tab) < evidence(tab)
    assert said == []


def test_the_slice_lies_along_two_numbers_of_z_that_are_chosen(opened, file_of_six_dimensions):
    tab, said, _ = opened(file_of_six_dimensions)
    before, elbo_before = tab.evaluate("[...bayesVae.engine.grid.logJoint]"), elbo(tab)
    tab.get_by_role("button", name="Two numbers of z").click()
    tab.get_by_label("number of z up").select_option("z₆")
    z = tab.evaluate("Array.from(bayesVae.engine.fullZ([0.5, -2]))")
    centre = tab.evaluate("Array.from(bayesVae.engine.encoderQ(0).loc)")
    moved = np.array(z) - centre
    np.testing.assert_allclose(moved, [0.5, 0, 0, 0, 0, -2], atol=1e-12)
    assert "along z₁ and z₆" in tab.locator(".lead").inner_text()
    assert tab.evaluate("[...bayesVae.engine.grid.logJoint]") != before
    tab.wait_for_timeout(400)
    again, _, _ = opened(file_of_six_dimensions, fragment=tab.evaluate("location.hash"))
    assert again.evaluate("bayesVae.state.along") == [0, 5]
    tab.get_by_role("button", name="Principal directions").click()
    assert "principal directions" in tab.locator(".lead").inner_text()
    assert elbo(tab) == pytest.approx(elbo_before, abs=2)
    assert said == []


def test_q_is_let_go_in_six_dimensions(opened, file_of_six_dimensions, until):
    """The ELBO at the top is one of draws that the climb has not seen, so it may not be an accident of its own."""
    tab, said, _ = opened(file_of_six_dimensions)
    at = "bayesVae.engine.elbo(bayesVae.{}, 16).elbo"
    encoder = tab.evaluate(at.format("engine.ownQ"))
    tab.get_by_role("slider", name="all deviations, times").press("End")
    assert tab.evaluate(at.format("state.q")) < encoder
    tab.get_by_role("button", name="Let go of q").click()
    until(tab, "bayesVae.state.qFrom === 'best'")
    assert encoder < tab.evaluate(at.format("state.q")) < evidence(tab) + 0.5
    assert "approximation gap" in tab.locator(".result").inner_text()
    until(tab, "bayesVae.terms.forces")
    assert tab.locator(".panel.posterior .force").count() == 2
    assert said == []


def test_a_flow_is_drawn_by_its_contours(opened, file_of_a_flow):
    tab, said, _ = opened(file_of_a_flow)
    assert tab.locator(".panel.posterior .ellipse.encoder").count() == 2
    assert "is not a normal" in tab.locator(".result").inner_text()
    assert "is not a normal" in tab.locator("#about").inner_text()
    assert said == []


def test_a_small_posterior_is_shown_from_near_and_the_plane_when_q_is_wide(opened, file, until):
    tab, _, _ = opened(file)
    assert tab.locator(".frame").count() == 0
    tab.get_by_role("button", name="Around the posterior").click()
    assert tab.locator(".panel.prior .frame").count() == 1
    assert tab.locator(".frame").count() == 1
    tab.evaluate("bayesVae.set({ view: 'auto' }, 'view')")
    tab.evaluate("bayesVae.engine.isNarrow = () => true")
    tab.get_by_role("button", name="Back to the encoder").click()
    assert tab.evaluate("bayesVae.shown") == "posterior"


def test_the_tour_stands_beside_what_it_asks_about(opened, file):
    tab, _, _ = opened(file, WIDTH, reduced_motion="reduce")
    tab.get_by_role("button", name="Take the tour: seven questions").click()
    for target in ("now", "four", "four", "steps", "one-bar", "one-bar"):
        top = tab.evaluate(f"document.getElementById('{target}').getBoundingClientRect().top")
        assert 0 <= top < tab.locator("#tour").bounding_box()["y"] - 100, target
        tab.get_by_role("button", name="Next question").click()


def test_the_codes_of_several_runs_stand_side_by_side(opened, file_of_two, until):
    tab, _, _ = opened(file_of_two)
    clouds = tab.locator(".cloud")
    assert [clouds.nth(n).locator("circle").count() for n in range(2)] == [60, 60]
    clouds.nth(1).click()
    until(tab, "bayesVae.state.run === 1")
    assert tab.locator(".cloud[aria-pressed=true] span").inner_text() == "heavier"


WHICH_IS_WHICH = {
    "observation": "x is the observation: the image below",
    "hypothesis": "z is the hypothesis: the two numbers from which, according to the model, x was made",
    "prior": "What is believed of z before x is seen",
    "likelihood": "How probable x is if z is its cause",
    "evidence": "p(x) is the evidence: one number, how probable the image is under the whole model",
    "posterior": "What is believed of z after x is seen",
    "nat": "the unit of natural logarithms is the nat",
    "k̂": "k̂, which is red where a few draws from q would decide",
    "ELBO": "The ELBO, the evidence lower bound, is how well draws of q explain x, less the KL of q to the prior",
    "guide": "the encoder makes q(z|x), the ellipse, from x, a stand-in for the posterior",
}


def test_the_page_alone_says_which_part_is_which(opened, file):
    tab, _, _ = opened(file)
    seen = tab.locator("body").inner_text()
    assert [word for word, answer in WHICH_IS_WHICH.items() if answer not in seen] == []
