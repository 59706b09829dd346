"""From contents to one HTML file that needs nothing else: no script, no request, every text escaped."""

from __future__ import annotations

import re
from collections.abc import Sequence

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape

from bayes_vae.report.contents import ReportContents
from bayes_vae.report.page_elements import Section
from bayes_vae.report.summary import first_sentences, sections
from bayes_vae.runs.config import versions
from bayes_vae.vocabulary.conditions import conditions
from bayes_vae.vocabulary.glossary import GLOSSARY, anchor, words_in

__all__ = ["page_of", "report_page", "with_subscripts"]

SUBSCRIPT = re.compile(r"(?<![\w./-])([EL]|z\d?)_(?:(q|K|d|\d+)|\{([\d,/K]+)\})(?!\w|[.-]\w)")
"""E_q, L_500, L_{K/2}, z_3, z1_2 and z_{0,3}, which are no file's name."""


def report_page(contents: ReportContents, found: Sequence[Section] | None = None, interactive: str = "") -> str:
    """The report as HTML.

    Args:
        contents: from :func:`bayes_vae.report.report_contents`.
        found: its sections, where they are at hand already.
        interactive: the interactive page of the run, as seen from the report; empty where there is none.

    Returns:
        a whole document. Drawings go in as the markup that Matplotlib wrote, which escapes text itself; all else is
        escaped here.
    """
    listed = list(found or sections(contents))
    return page_of(
        listed,
        first_sentences(listed),
        name=contents.name,
        title=f"{contents.name}: the terms of Bayes’ rule",
        kind="Report of a variational autoencoder",
        conditions=conditions(
            None, contents.num_observations, contents.data["policy"], kl_weight=1, seed=contents.settings.seed
        ),
        interactive=interactive,
    )


def page_of(found: Sequence[Section], leading: Sequence[str], **texts: str) -> str:
    """Sections as HTML.

    Args:
        found: in the order of the page.
        leading: what a reader who stops after five lines should know.
        texts: name, title, kind and conditions of the page, and the interactive page that it links to, if any.
    """
    environment = Environment(
        loader=PackageLoader("bayes_vae.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"markup": Markup, "words": with_subscripts, "anchor": anchor}
    style = Markup(environment.get_template("report.css").render())
    return environment.get_template("report.html").render(
        sections=found, leading=leading, style=style, glossary=GLOSSARY, version=versions()["bayes_vae"], **texts
    )


def with_subscripts(text: str, linked: dict[str, bool] | None = None) -> Markup:
    """Text, escaped, with the subscripts of E_q, L_500 and z_4 set as such, code as code, no break within a figure.

    Args:
        text: a sentence.
        linked: the words of the glossary that are links already; others become links, and are added. None links none.

    >>> with_subscripts("E_q, L_500 <b> my_z_1.npy, z_3.")
    Markup('E<sub>q</sub>, L<sub>500</sub> &lt;b&gt; my_z_1.npy, z<sub>3</sub>.')
    >>> with_subscripts("z_{0,3}, z1_2 and `bayes-vae explain`")
    Markup('z<sub>0,3</sub>, z1<sub>2</sub> and <code>bayes-vae explain</code>')
    """
    whole = str(escape(text))
    if linked is not None:
        whole = _with_links(whole, linked)
    whole = re.sub(r"(?<=\d) (?=[±%])|(?<=±) ", "\N{NO-BREAK SPACE}", whole)
    whole = re.sub(r"`([^`]+)`", r"<code>\1</code>", whole)
    return Markup(SUBSCRIPT.sub(r"\1<sub>\2\3</sub>", whole))


def _with_links(whole: str, linked: dict[str, bool]) -> str:
    """Escaped text with its words of the glossary as links, but for those in code and those that are links already."""
    parts = whole.split("`")
    for place in range(0, len(parts), 2):  # every other part is code
        for start, end, word in reversed(words_in(parts[place])):
            if word not in linked:
                linked[word] = True
                link = f'<a class="word" href="#{anchor(word)}">{parts[place][start:end]}</a>'
                parts[place] = parts[place][:start] + link + parts[place][end:]
    return "`".join(parts)
