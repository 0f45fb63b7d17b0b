"""Files of figures: laid out once, the same places in all of them, in a font that is read fast."""

import re
import warnings
import zlib

from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine

from reports.style import figure_style
from reports.style.figure_font import LEAN, WHOLE, families
from reports.style.figure_style import Picture, legend_columns, save, style
from reports.style.image_rows import LABEL_CHARACTERS, TILE, image_rows
from reports.suite.method_names import METHOD_TITLES


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


def test_text_in_a_pdf_keeps_its_font(tmp_path):
    save(Picture("key", "title", "caption", labelled()), tmp_path)
    assert re.search(rb"/FontFile2 ", (tmp_path / "key.pdf").read_bytes())


def test_the_lean_font_draws_what_the_whole_one_does(tmp_path, monkeypatch):
    text = "AVA To fi 0123456789 (é, ß): α ± 0.5 − × “Fig. 2” … ↓ ↑ ≤ | τ-b"
    assert families() == [LEAN, WHOLE]
    for family in (LEAN, WHOLE):
        monkeypatch.setattr(figure_style, "families", lambda family=family: [family])
        with style():
            figure = Figure(figsize=(6, 1))
            figure.text(0.05, 0.5, text)
        save(Picture(family, "title", "caption", figure), tmp_path)
    assert (tmp_path / f"{LEAN}.png").read_bytes() == (tmp_path / f"{WHOLE}.png").read_bytes()


def fonts_in(path) -> set[str]:
    streams = re.findall(rb"stream\r?\n(.*?)endstream", path.read_bytes(), flags=re.DOTALL)
    unpacked = [path.read_bytes()]
    for stream in streams:
        try:
            unpacked.append(zlib.decompress(stream))
        except zlib.error:
            continue
    return {name.decode() for part in unpacked for name in re.findall(rb"/BaseFont /(?:\w+\+)?(\S+)", part)}


def test_other_signs_are_drawn_by_the_whole_font(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # a sign that no font has is a warning
        for name, text in (("plain", "AU 12"), ("other", "AU 12 Жизнь")):
            with style():
                figure = Figure(figsize=(3, 1))
                figure.text(0.1, 0.5, text)
            save(Picture(name, "title", "caption", figure), tmp_path)
    assert fonts_in(tmp_path / "plain.pdf") == {"DejaVuSansLean"}
    assert fonts_in(tmp_path / "other.pdf") == {"DejaVuSansLean", "DejaVuSans"}


def test_no_methods_name_leaves_its_place_beside_a_row_of_images():
    labels = [
        *METHOD_TITLES.values(),
        "IMG_20261126_181512"[:LABEL_CHARACTERS],
        "a method with a very long name of five lines at least",
    ]
    figure = image_rows([(label, [None]) for label in labels], ["source"], 1)
    with style():
        figure.draw_without_rendering()
        boxes = [text.get_window_extent() for text in figure.texts[: len(labels)]]
    assert min(box.x0 for box in boxes) >= 0
    assert all(box.height <= TILE * figure.dpi for box in boxes)


def test_the_lines_of_a_legend_are_filled_evenly():
    assert [legend_columns(entries, 8) for entries in (0, 1, 8, 9, 16, 17)] == [1, 1, 8, 5, 8, 6]
