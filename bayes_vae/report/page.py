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

__all__ = ["report_page", "with_subscripts"]


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
    environment = Environment(
        loader=PackageLoader("bayes_vae.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"markup": Markup, "words": with_subscripts}
    style = Markup(environment.get_template("report.css").render())
    return environment.get_template("report.html").render(
        contents=contents,
        sections=listed,
        leading=first_sentences(listed),
        style=style,
        interactive=interactive,
        version=versions()["bayes_vae"],
    )


def with_subscripts(text: str) -> Markup:
    """Text, escaped, with the subscripts of E_q, L_500 and z_4 set as such, and no break within a figure.

    >>> with_subscripts("E_q, L_500 <b> my_z_1.npy")
    Markup('E<sub>q</sub>, L<sub>500</sub> &lt;b&gt; my_z_1.npy')
    """
    whole = re.sub(r"(?<=\d) (?=[±%])|(?<=±) ", "\N{NO-BREAK SPACE}", str(escape(text)))
    return Markup(re.sub(r"(?<![\w./-])([ELz])_(q|K|d|\d+)(?![\w.-])", r"\1<sub>\2</sub>", whole))
