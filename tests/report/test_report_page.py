"""The page: self-contained, escaped, in order; sentences follow the numbers, and every figure says its conditions."""

import importlib
import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest
import torch

import bayes_vae as bv
from bayes_vae.errors import RunError, SettingsError
from bayes_vae.report import report_page, report_pair, write_report
from bayes_vae.report.drawing import draw, svg_of
from bayes_vae.report.evidence import _split_sentence, ladder_section
from bayes_vae.report.page import with_subscripts
from bayes_vae.report.summary import summary
from bayes_vae.report.term_table import terms
from bayes_vae.report.training_sections import about_section
from bayes_vae.runs import RunDirectory

KEYS = [
    "diagnosis",
    "about",
    "terms",
    "training",
    "reconstructions",
    "prior-samples",
    "traversals",
    "latent-means",
    "ladder",
    "reliability",
    "gap",
    "aggregate",
    "kl-per-dimension",
    "extremes",
    "calibration",
]

HOSTILE = "<script>alert(1)</script>\"'&"


class Page(HTMLParser):
    """Every tag with its attributes, and headings with their text."""

    def __init__(self, text):
        super().__init__()
        self.tags, self.headings, self.text = [], [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))
        if re.fullmatch(r"h[1-6]", tag):
            self.headings.append(int(tag[1]))

    def handle_data(self, data):
        self.text.append(data)


@pytest.fixture(scope="module")
def parsed(page):
    return Page(page)


def test_every_section_is_there_in_order_with_a_question_and_words(found, parsed):
    ids = [attributes["id"] for tag, attributes in parsed.tags if tag == "section"]
    assert ids == ["in-short", *KEYS, "glossary"]
    for section in found:
        assert section.question.endswith("?")
        assert section.sentences
        assert not section.missing, section.key
        assert all(sentence.endswith(".") for sentence in section.sentences), section.key
        assert section.blocks, section.key
    links = [attributes["href"] for tag, attributes in parsed.tags if tag == "a" and attributes.get("class") != "word"]
    assert links == [*(f"#{key}" for key in KEYS), "#glossary"]


def test_headings_go_down_one_step_at_a_time(parsed):
    assert parsed.headings[0] == 1
    assert parsed.headings.count(1) == 1
    steps = [after - before for before, after in zip(parsed.headings, parsed.headings[1:], strict=False)]
    assert max(steps) <= 1


def test_nothing_is_asked_of_the_network_and_nothing_runs(page, parsed):
    assert not [tag for tag, _ in parsed.tags if tag in ("script", "iframe", "object", "embed", "form")]
    for tag, attributes in parsed.tags:
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href", "xlink:href", "srcset", "action"):
            assert attributes.get(name, "#").startswith(("#", "data:")), (tag, attributes[name][:80])
    assert "@import" not in page
    assert not re.search(r"url\((?!#)", page)
    assert "default-src 'none'" in page
    assert len(page.encode()) < 5e6


def test_ids_are_unique_and_references_have_their_target(page, parsed):
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))
    targets = re.findall(r"url\(#([^)\"]+)\)|xlink:href=\"#([^\"]+)\"", page)
    assert targets
    assert {first or second for first, second in targets} <= set(ids)


def test_every_picture_has_words(parsed):
    images = [attributes for tag, attributes in parsed.tags if tag == "img" or attributes.get("role") == "img"]
    assert len(images) > 20
    assert all(len(image.get("alt") or image.get("aria-label")) > 15 for image in images)


def test_text_of_the_user_is_escaped(contents, parsed):
    data = {**contents.data, "name": HOSTILE}
    config = {**contents.config, "command": HOSTILE, "data": {**contents.config["data"], "name": HOSTILE}}
    names = (HOSTILE, "$x_1$ $", *"23456789")
    page = report_page(replace(contents, name=HOSTILE, data=data, config=config, label_names=names))
    assert "<script" not in page.lower()
    hostile = Page(page)
    assert {tag for tag, _ in hostile.tags} == {tag for tag, _ in parsed.tags}
    text = "".join(hostile.text)
    assert text.count(HOSTILE) > 10
    shown = contents.labels[contents.best + contents.worst].tolist()
    assert text.count(f"label {HOSTILE}") == shown.count(0)


def test_the_same_contents_give_the_same_section(contents, found):
    assert ladder_section(contents) == found[KEYS.index("ladder")]


def test_every_function_of_the_table_is_there(contents):
    for term in terms(contents):
        function, attribute = re.fullmatch(r"(\w+)\(…\)\.(\w+)", term.function).groups()
        result = getattr(bv, function).__annotations__["return"]
        home = importlib.import_module(getattr(bv, function).__module__)
        container = getattr(home, result)
        assert hasattr(container, attribute) or attribute in container.__dataclass_fields__, term.function


def test_the_table_has_the_numbers_and_they_add_up(contents, parsed):
    found = {term.symbol: term.average.value for term in terms(contents)}
    assert found["ELBO"] == pytest.approx(found["E_q log p(x|z)"] - found["KL(q(z|x) ‖ p(z))"])
    assert found["log p(x) − ELBO"] == pytest.approx(found["log p(x)"] - found["ELBO"])
    text = "".join(parsed.text)
    for value in found.values():
        assert f"{value:.3f}".replace("-", "−") in text


def test_every_figure_says_its_conditions(found):
    for section in found:
        for block in section.blocks:
            if section.key == "about" or not block.caption or block.caption.startswith(("The same", "Ranks")):
                continue
            for words in ("K = " if section.key != "calibration" else "L = ", "N = ", "data policy: ", "KL weight 1"):
                assert words in block.caption, (section.key, words)
            assert re.search(r"seed \d", block.caption), section.key
            assert "estimator: " in block.caption, section.key


def test_the_summary_is_of_the_same_numbers(contents, found):
    result = summary(contents, found)
    assert result["left_out"] == {}
    assert len(result["sentences"]) == 7
    averages = contents.evaluation.averages()
    assert result["terms"][2]["value"] == averages["elbo"].value
    assert {"num_particles", "num_observations", "seed", "kl_weight", "data_policy"} <= result["terms"][0].keys()


def verdict(contents, family, encoder):
    averages = contents.gap.averages()
    whole = replace(averages["inference_gap"], value=family + encoder)
    parts = {"approximation_gap": family, "amortization_gap": encoder}
    changed = {
        name: replace(averages[name], value=v, data_error=0.1, monte_carlo_error=0.0) for name, v in parts.items()
    }
    return _split_sentence({"inference_gap": whole, **changed})


def test_the_verdict_on_the_gap_follows_the_numbers(contents):
    assert "most of it is due to the encoder" in verdict(contents, 1.0, 2.0)
    assert "most of it is due to the family" in verdict(contents, 2.0, 1.0)
    assert "neither is clearly the larger" in verdict(contents, 1.0, 1.2)


def test_other_data_than_those_of_the_training_are_named(contents):
    other = about_section(replace(contents, data={**contents.data, "digest": "0" * 64}))
    assert "test observations may have been trained on" in other.sentences[-1]
    policy = about_section(replace(contents, data={**contents.data, "policy": "threshold"}))
    assert "figures of different policies cannot be compared" in policy.sentences[-1]
    assert "cannot be compared" not in " ".join(about_section(contents).sentences)


def test_drawings_keep_text_and_share_no_name():
    first = draw(lambda axes: axes.set_title("a < b & <i>"), 2, 2, "one")
    second = draw(lambda axes: axes.plot([0, 1]), 2, 2, "two")
    assert "a &lt; b &amp; &lt;i&gt;" in first.svg
    ids = [set(re.findall(r'\sid="([^"]+)"', drawing.svg)) for drawing in (first, second)]
    assert ids[0]
    assert not ids[0] & ids[1]
    for word in ("<?xml", "<!DOCTYPE", "<metadata", "<style"):
        assert word not in first.svg


def test_scatter_plots_are_pixels(contents):
    from matplotlib.figure import Figure

    from bayes_vae.plots import draw_latent_means

    figure = Figure()
    draw_latent_means(figure.add_subplot(), torch.zeros(3000, 2), torch.arange(3000) % 3)
    assert svg_of(figure).count("<use") < 100


def test_a_report_is_written_into_its_run(run, few, tmp_path):
    bv.save(run, tmp_path / "run")
    settings = replace(few, num_observations=4, num_encoded=8, num_gap_observations=0, num_simulated=0, num_diagnosed=0)
    with pytest.raises(
        RunError, match=r"does not say where its data, 'digits', are: give them, write_report\(run, data"
    ):
        write_report(tmp_path / "run", settings)
    path = write_report(tmp_path / "run", settings, data=bv.load_data("digits"))
    assert path == tmp_path / "run" / "report.html"
    assert RunDirectory(tmp_path / "run").read_file("report.html").startswith(b"<!DOCTYPE html>")
    assert bv.write_report is write_report


def test_words_of_the_glossary_are_links_to_it_once_in_a_section(page):
    links = re.findall(r'<a class="word" href="#([^"]+)">', page)
    assert {"word-nat", "word-elbo"} <= set(links)
    for link in set(links):
        assert page.count(f'<dt id="{link}">') == 1
    for part in page.split("<section")[1:]:
        inside = re.findall(r'<a class="word" href="#([^"]+)">', part)
        assert len(inside) == len(set(inside))


def test_code_and_subscripts_hold_no_link():
    linked = {}
    assert with_subscripts("`elbo nats` of 3 nats, nats", linked) == (
        '<code>elbo nats</code> of 3 <a class="word" href="#word-nat">nats</a>, nats'
    )
    assert with_subscripts("nats <b>", linked) == "nats &lt;b&gt;"


def test_a_reader_meets_no_raw_markup_and_no_placeholder(page):
    text = re.sub(r"<(?:style|code)\b.*?</(?:style|code)>|<[^>]+>", " ", page, flags=re.DOTALL)
    assert "`" not in text
    assert not re.search(r"\bz_\d", text)
    assert not re.search(r"\bRUN\b", text)
    assert "docs/" not in text


def test_the_interactive_page_is_linked_where_there_is_one(contents, found, page, tmp_path):
    with_link = report_page(contents, found, "explore.html")
    assert '<a href="explore.html">The interactive page of this run</a>' in with_link
    assert "interactive page" not in page
    assert report_page(contents, found, HOSTILE).count("<script>") == 0


def test_any_pair_has_its_report_in_one_call(run, data, tmp_path):
    path, told = tmp_path / "made" / "mine.html", []
    quick = {"num_observations": 4, "num_encoded": 4, "num_particles": 10, "num_temperatures": 2, "num_simulated": 0}
    quick |= {"num_gap_observations": 0, "num_diagnosed": 0}
    how = {**quick, "name": "my pair", "history": run.history, "progress": lambda done, of: told.append(done / of)}
    assert report_pair(run.model, run.guide, data, path, **how) == path
    page = path.read_text(encoding="utf-8")
    assert "my pair: the terms of Bayes’ rule" in page
    assert "no figures by epoch were stored" not in page
    assert "bayes-vae" not in page, "a pair is no run, and no command takes it"
    assert told[-1] == 1
    with pytest.raises(RunError, match=r"exists already: choose another --out, or give --overwrite \(overwrite=True\)"):
        report_pair(run.model, run.guide, data, path, **quick)
    with pytest.raises(SettingsError, match="report_pair knows no setting 'num_particle': choose from num_obs"):
        report_pair(run.model, run.guide, data, path, overwrite=True, num_particle=3)
    assert path.read_text(encoding="utf-8") == page
    report_pair(run.model, run.guide, data, path, overwrite=True, **quick)
    assert "no figures by epoch were stored with this pair" in path.read_text(encoding="utf-8")
