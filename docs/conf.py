"""How the site is built: `make docs`. It opens from disk: nothing on a page is fetched from elsewhere."""

import atexit
import gzip
import html
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

from bayes_vae.explore.bundle import page_of

MATHJAX = "mathjax/tex-svg-full.js"

LIVE_PAGE, MNIST_PAGE = "live.html", "mnist.html"
KEPT_MNIST = Path(__file__).with_name("mnist_page.json.gz")
"""Weights and some images of a run on MNIST; explore.md has the commands that made it."""

TRAIN_LIVE = ["train", "--latent-dim", "2", "--hidden-dims", "64", "64", "--epochs", "40"]
"""The run behind the live page; --out is added."""

FIGURES = """
c = get_config()
c.IPKernelApp.matplotlib = "inline"
c.InlineBackend.figure_formats = {"svg"}
c.HistoryManager.enabled = False
c.IPKernelApp.log_level = 40
"""
"""How the notebooks draw: sharp at every size."""

STARTUP = """
import subprocess
import warnings

from IPython.core.magic import register_cell_magic

warnings.filterwarnings("ignore", "IProgress not found")


@register_cell_magic
def sh(_line, cell):
    ended = subprocess.run(["sh", "-e", "-c", cell], capture_output=True, text=True)
    print(ended.stdout, end="")
    if ended.returncode:
        raise RuntimeError(ended.stderr)
"""
"""%%sh as Jupyter's own, but its output stays whole, and standard error shows only where a command fails."""


def notebook_profile() -> str:
    """A folder with IPython's settings, which ends with the build."""
    folder = Path(tempfile.mkdtemp(prefix="notebooks-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    profile = folder / "profile_default"
    profile.mkdir()
    (profile / "ipython_kernel_config.py").write_text(FIGURES, encoding="utf-8")
    (profile / "startup").mkdir()
    (profile / "startup" / "00.py").write_text(STARTUP, encoding="utf-8")
    return str(folder)


os.environ["IPYTHONDIR"] = notebook_profile()
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])  # where bayes-vae is
os.environ.setdefault("OMP_NUM_THREADS", "1")  # the figures on the pages are those of one thread
os.environ.pop("BAYES_VAE_DATA", None)  # the pages run on the bundled digits

project = "bayes_vae"
author = "the bayes_vae contributors"
project_copyright = author
release = importlib.metadata.version("bayes_vae")

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "sphinx.ext.mathjax",
    "sphinx_copybutton",
]
exclude_patterns = ["_build", "combinations_table.md", "reference_table.md"]
templates_path: list[str] = []

# Markdown
myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# Notebooks, as text: they run at every build, each in an empty folder
nb_execution_mode = "force"
nb_execution_in_temp = True
nb_execution_timeout = 600
nb_execution_raise_on_error = True
nb_execution_show_tb = True
nb_output_stderr = "warn"
nb_merge_streams = True

# Docstrings
napoleon_google_docstring = True
napoleon_numpy_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
napoleon_custom_sections = [("Warns", "Warns")]
autodoc_member_order = "bysource"
autodoc_typehints_format = "short"
autodoc_preserve_defaults = False  # it takes a signature apart by its source, and ours list the shared keywords too
autodoc_inherit_docstrings = False
maximum_signature_line_length = 80
add_module_names = False
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"

# Pages
html_theme = "furo"
html_title = "bayes_vae"
html_static_path = ["_static"]
html_css_files = ["pages.css"]
html_copy_source = False
html_show_sourcelink = False
html_show_copyright = False
html_theme_options = {"navigation_with_keys": True}
mathjax_path = MATHJAX
mathjax_options = {"defer": "defer"}
mathjax3_config = {"svg": {"fontCache": "global"}, "options": {"enableMenu": False}}
copybutton_exclude = ".linenos, .gp, .go"


def copy_mathjax(app: Sphinx, failure: Exception | None) -> None:
    """Put MathJax beside the pages: one file that needs no font and no network."""
    found = find_spec("sphinx-mathjax-offline")
    if failure is None and found is not None and found.origin is not None and app.builder.format == "html":
        target = Path(app.outdir) / "_static" / MATHJAX
        target.parent.mkdir(exist_ok=True)
        shutil.copyfile(Path(found.origin).parent / "static" / MATHJAX, target)


def make_live_page(app: Sphinx, failure: Exception | None) -> None:
    """Put two interactive pages beside the others: of a small run that is trained here, half a minute, and of MNIST."""
    if failure is not None or app.builder.format != "html":
        return
    with tempfile.TemporaryDirectory() as folder:
        run, page = Path(folder) / "digits", Path(app.outdir) / "_static" / LIVE_PAGE
        for words in ([*TRAIN_LIVE, "--out", str(run)], ["explore", str(run), "--out", str(page), "--overwrite"]):
            subprocess.run([sys.executable, "-m", "bayes_vae", *words], check=True, capture_output=True)
    kept = gzip.decompress(KEPT_MNIST.read_bytes()).decode()
    page.with_name(MNIST_PAGE).write_text(page_of(kept), encoding="utf-8")


def escape_shapes(_app: Sphinx, _kind: str, _name: str, _thing: object, _options: object, lines: list[str]) -> None:
    """The star of a shape such as (N, *event) opens no emphasis, and the letter of "num_particles: K." no list."""
    lines[:] = [re.sub(r"(?<=[( ])\*(?=\w+[,)])", r"\\*", line) for line in lines]
    lines[:] = [re.sub(r"(^\s*|: )([A-Z])\.(?=\s|$)", r"\1\2\\.", line) for line in lines]


TABLE = re.compile(r"<table\b.*?</table>", re.DOTALL)
HEAD_CELL = re.compile(r"<th\b[^>]*>(.*?)</th>", re.DOTALL)
ROW = re.compile(r"<tr\b.*?</tr>", re.DOTALL)
LONG = 7_000
"""Characters of a page's text from which it lists its own headings."""


def for_phones(_app: Sphinx, _name: str, _template: str, context: dict[str, Any], _doctree: object) -> None:
    """On a narrow screen a row becomes a list, so each cell knows its column; and a long page lists its headings."""
    if "body" not in context:
        return
    context["body"] = TABLE.sub(lambda table: name_cells(table[0]), context["body"])
    if len(re.sub(r"<[^>]+>", "", context["body"])) > LONG and "<li>" in context.get("toc", ""):
        listed = f'</h1>\n<details class="on-this-page"><summary>On this page</summary>{context["toc"]}</details>'
        context["body"] = context["body"].replace("</h1>", listed, 1)


def name_cells(table: str) -> str:
    """Give each cell but the first of a row the heading of its column, as an attribute."""
    head, _, body = table.partition("</thead>")
    names = [html.escape(re.sub(r"<[^>]+>", "", name).strip(), quote=True) for name in HEAD_CELL.findall(head)]
    if not body or not any(names):
        return table

    def named(row: re.Match[str]) -> str:
        column = iter(names)
        return re.sub(r"<td\b", lambda _: f'<td data-label="{next(column, "")}"', row[0])

    return f"{head}</thead>{ROW.sub(named, body)}"


def setup(app: Sphinx) -> None:
    """Called by Sphinx."""
    app.connect("html-page-context", for_phones)
    app.connect("autodoc-process-docstring", escape_shapes)
    app.connect("build-finished", copy_mathjax)
    app.connect("build-finished", make_live_page)
