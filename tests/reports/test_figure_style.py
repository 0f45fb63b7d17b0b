"""Files of figures: laid out once, the same places in all of them."""

import re

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from reports.style import figure_style
from reports.style.figure_style import Picture, save, style


def labelled() -> Figure:
    with style():
        figure = Figure(figsize=(3, 2), layout="constrained")
        for axes in figure.subplots(1, 2):
            axes.plot([0, 1000], label="line")
            axes.set_ylabel("a long label of an axis")
        figure.legend(["line"], loc="outside upper center")
    return figure


def places(figure: Figure) -> list[tuple[float, ...]]:
    return [axes.get_position().bounds for axes in figure.axes]


def test_both_files_show_one_layout_that_was_made_once(tmp_path, monkeypatch):
    layouts, drawn = [], []
    execute, draw = ConstrainedLayoutEngine.execute, Figure.draw
    monkeypatch.setattr(
        ConstrainedLayoutEngine, "execute", lambda *given: layouts.append(1) or execute(*given)
    )
    monkeypatch.setattr(Figure, "draw", lambda *given: drawn.append(places(given[0])) or draw(*given))
    figure = labelled()
    before = places(figure)
    written = save(Picture("key", "title", "caption", figure), tmp_path)
    assert [path.name for path in written] == ["key.png", "key.pdf"]
    assert len(layouts) == 1
    assert drawn == [places(figure)] * 2  # once for each file
    assert places(figure) != before


def test_a_file_shows_what_its_engine_would_have_shown(tmp_path):
    with style():
        labelled().savefig(tmp_path / "plain.png", dpi=figure_style.DPI, **figure_style.FORMATS["png"])
    save(Picture("own", "title", "caption", labelled()), tmp_path)
    assert (tmp_path / "own.png").read_bytes() == (tmp_path / "plain.png").read_bytes()


def test_text_in_a_pdf_keeps_its_font(tmp_path, monkeypatch):
    monkeypatch.setitem(figure_style.STYLE, "pdf.fonttype", 42)
    save(Picture("key", "title", "caption", labelled()), tmp_path)
    assert re.search(rb"/FontFile2 ", (tmp_path / "key.pdf").read_bytes())
