"""The title's lines of every figure: they end within it, and what is drawn stands below them."""

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg

from bayes_vae.plots.style import new_figure

LONG = "log p(x) lies above $L_{5\\,000}$ by 0.21 ± 0.05 nats, and k̂ says nothing more; " * 4


@pytest.mark.parametrize("width", [3.0, 7.6])
def test_a_long_subtitle_is_wrapped_within_the_figure(width):
    figure = new_figure(width, 2.0, "Title", f"K = 5,000 · N = 500\n{LONG}")
    axes = figure.add_subplot()
    axes.set_title("above the axes")
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    _, subtitle = (text.get_window_extent(canvas.get_renderer()) for text in figure.texts)
    assert subtitle.x1 <= figure.bbox.x1
    assert subtitle.y0 >= axes.title.get_window_extent(canvas.get_renderer()).y1
    assert figure.get_size_inches()[0] == width
    lines = figure.texts[1].get_text().split("\n")
    assert lines[0] == "K = 5,000 · N = 500"
    assert " ".join(lines[1:]).split() == LONG.split()
    assert all(line.count("$") % 2 == 0 for line in lines)


def test_a_short_subtitle_stays_one_line():
    figure = new_figure(7.6, 2.0, "Title", "K = 5,000 · N = 500")
    assert figure.texts[1].get_text() == "K = 5,000 · N = 500"
    assert figure.get_size_inches()[1] == pytest.approx(2.62)
