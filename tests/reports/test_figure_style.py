"""Files of figures: laid out once, the same places in all of them, in a font that is read fast."""

import inspect
import io
import itertools
import re
import struct
import warnings
import zlib
from pathlib import Path

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.artist import Artist
from matplotlib.backends import _backend_pdf_ps
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.backends.backend_pdf import PdfFile
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from PIL import Image

from reports.style import figure_font, figure_style
from reports.style.au_matrices import matrices
from reports.style.figure_font import LEAN, WHOLE, families
from reports.style.figure_style import Picture, legend_columns, save, style
from reports.style.image_rows import LABEL, LABEL_CHARACTERS, SIDE, TILE, image_rows
from reports.style.line_panels import Line, Panel, line_panels
from reports.style.quick_matplotlib import _replaced, quick_images
from reports.style.sheet import Height, Sheet
from reports.suite.method_names import METHOD_TITLES
from tests.reports.drawn import extents, fillings, images, lines, texts

THEIR_WRITER = PdfFile._writePng


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
        labelled().savefig(tmp_path / "plain.png", dpi=figure_style.DPI)
    save(Picture("own", "title", "caption", labelled()), tmp_path)
    own, plain = (Image.open(tmp_path / f"{name}.png") for name in ("own", "plain"))
    np.testing.assert_array_equal(np.asarray(own), np.asarray(plain.convert("RGB")))
    assert (own.mode, own.info["dpi"]) == ("RGB", plain.info["dpi"])


def test_text_in_a_pdf_keeps_its_font_which_is_there_as_it_is(tmp_path):
    theirs = _backend_pdf_ps.get_glyphs_subset
    save(Picture("key", "title", "caption", labelled()), tmp_path)
    assert re.search(rb"/FontFile2 ", (tmp_path / "key.pdf").read_bytes())
    assert figure_font._lean_font().read_bytes() in unpacked_streams(tmp_path / "key.pdf")
    assert _backend_pdf_ps.get_glyphs_subset is theirs


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


def test_the_lean_font_is_made_once_and_again_where_its_file_was_damaged(tmp_path, monkeypatch):
    whole = Path(mpl.get_data_path(), "fonts/ttf/DejaVuSans.ttf")
    monkeypatch.setattr(mpl, "get_cachedir", lambda: str(tmp_path))
    made = figure_font._lean(whole)
    content, written = made.read_bytes(), made.stat().st_mtime_ns
    assert len(content) < whole.stat().st_size / 2
    assert figure_font._lean(whole) == made
    assert made.stat().st_mtime_ns == written
    made.write_bytes(content[:-1])
    assert figure_font._lean(whole) == made
    assert made.read_bytes() == content
    assert list(tmp_path.iterdir()) == [made]


def unpacked_streams(path) -> list[bytes]:
    unpacked = []
    for stream in re.findall(rb"stream\r?\n(.*?)endstream", path.read_bytes(), flags=re.DOTALL):
        try:
            unpacked.append(zlib.decompress(stream))
        except zlib.error:
            continue
    return unpacked


def fonts_in(path) -> set[str]:
    unpacked = [path.read_bytes(), *unpacked_streams(path)]
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


def test_a_pdf_has_its_font_once_whatever_the_signs(tmp_path):
    with style():
        sheet = Sheet(3, 1)
        sheet.write(0.1, 0.5, "AU 12 −0.5 α ↓")
    save(Picture("key", "title", "caption", sheet.figure), tmp_path)
    held = (tmp_path / "key.pdf").read_bytes()
    assert len(re.findall(rb"/Length1 ", held)) == 1


def test_what_matplotlib_is_asked_to_leave_out_it_does_again_for_others():
    class Own(Artist):
        """An artist that is made after figures were imported."""

        def set_place(self, place: float) -> None:
            """Set its place."""

    assert "place" in inspect.signature(Own.set).parameters
    with quick_images():
        assert PdfFile._writePng is not THEIR_WRITER
    assert PdfFile._writePng is THEIR_WRITER


def test_what_another_matplotlib_lacks_is_not_replaced():
    class Theirs:
        kept = 1

    with _replaced(Theirs, "gone", 2), _replaced(Theirs, "kept", 2):
        assert vars(Theirs).get("gone") is None
        assert Theirs.kept == 2
    assert Theirs.kept == 1


def test_no_methods_name_leaves_its_place_beside_a_row_of_images():
    labels = [
        *METHOD_TITLES.values(),
        "IMG_20261126_181512"[:LABEL_CHARACTERS],
        "a method with a very long name of five lines at least",
    ]
    for label in labels:
        *rows, _ = extents(image_rows([(label, [None])], ["source"], 1))
        assert min(left for left, *_ in rows) >= 0
        assert max(right for _, _, right, _ in rows) <= LABEL
        assert max(top for *_, top in rows) - min(bottom for _, bottom, _, _ in rows) <= TILE


def coloured_corners(side: int) -> np.ndarray:
    """An image that differs whichever way it is turned: red at its upper left, blue at its lower right."""
    image = np.full((side, side, 3), 128, np.uint8)
    image[: side // 2, : side // 2] = (255, 0, 0)
    image[side // 2 :, side // 2 :] = (0, 0, 255)
    return image


@pytest.mark.parametrize("side", [16, 300])
def test_images_stand_upright_at_their_places_in_a_png(tmp_path, side):
    figure = image_rows([("", [None, coloured_corners(side)])], ["a", "b"], 1)
    path, _ = save(Picture("key", "title", "caption", figure), tmp_path)
    dots, width = figure_style.DPI, round(SIDE * figure_style.DPI)
    left, top = round((LABEL + TILE) * dots), Image.open(path).height - width
    shown = np.asarray(Image.open(path).convert("RGB"))[top:, left : left + width]
    expected = np.asarray(
        Image.fromarray(coloured_corners(side)).resize((width, width), Image.Resampling.NEAREST)
    )
    apart = slice(4, None, 8)  # from the edges between colours, which are smooth
    assert np.abs(shown[apart, apart].astype(int) - expected[apart, apart]).mean() < 6
    outside = np.asarray(Image.open(path).convert("RGB"))[top:]
    assert (outside[:, round(LABEL * dots) : left] == 255).all()


def as_png(rows: bytes, side: int) -> bytes:
    """A PNG of the rows of an RGB image as PDF and PNG both hold them, filtered."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)), (b"IDAT", zlib.compress(rows))]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in [*parts, (b"IEND", b"")]
    )


def test_a_pdf_holds_the_pixels_themselves_upright(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (32, 32, 3), dtype=np.uint8)
    save(Picture("key", "title", "caption", image_rows([("", [image])], ["a"], 1)), tmp_path)
    streams = unpacked_streams(tmp_path / "key.pdf")
    (rows,) = [part for part in streams if len(part) == 32 * (1 + 32 * 3)]
    held = np.asarray(Image.open(io.BytesIO(as_png(rows, 32))))
    np.testing.assert_array_equal(held, image)
    side = f"{72 * SIDE:.2f}"  # neither turned nor mirrored: a PDF draws the first row at the top
    assert any(f"{side} 0 0 {side} 0 0 cm /I1 Do".encode() in part for part in streams)


def test_a_pdf_holds_no_more_pixels_than_the_png_has_dots(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (600, 600, 3), dtype=np.uint8)
    save(Picture("key", "title", "caption", image_rows([("", [noise])], ["a"], 1)), tmp_path)
    assert (tmp_path / "key.pdf").stat().st_size < 3 * (SIDE * figure_style.DPI) ** 2 + 50_000


def drawn_panels(values: list[float]) -> tuple[Figure, list[str]]:
    steps = np.arange(len(values), dtype=float) * 1000
    with style():
        figure = line_panels(
            [Panel("a $term", [Line(steps, np.array(values), "#ff0000")])] * 3, 2, 0.5
        ).figure
        figure.draw_without_rendering()
    return figure, texts(figure)


def test_panels_of_lines_name_their_ranges_and_keep_everything_on_the_figure():
    figure, shown = drawn_panels([0.5, 2.0, np.nan, np.inf, 1.0])
    assert shown.count("a $term") == 3
    numbers = [float(text) for text in dict.fromkeys(shown) if "term" not in text]
    steps = [number for number in numbers if number == 0 or number > 10]
    assert len(steps) >= 3
    assert all(0 <= step <= 4200 for step in steps)
    assert {0.5, 1.0, 1.5, 2.0} <= set(numbers)
    across, up = figure.get_size_inches()
    for left, bottom, right, top in extents(figure):
        assert 0 <= left < right <= across
        assert 0 <= bottom < top <= up - 0.5
    drawn = lines(figure)[-1].path.vertices
    assert np.isfinite(drawn).any()
    inside = drawn[np.isfinite(drawn).all(axis=1)]
    assert (inside >= 0).all()
    assert (inside <= (across, up - 0.5)).all()


@pytest.mark.parametrize("values", [[3.0, 3.0], [np.nan, np.nan], [0.0, 0.0], [-1e-9, 1e-9], [2e6, 7e6]])
def test_panels_of_lines_that_do_not_vary_or_are_tiny_or_huge_have_ticks_that_say_so(values):
    _, shown = drawn_panels(values)
    numbers = [float(text.replace("−", "-")) for text in shown if "term" not in text]
    assert len(numbers) >= 6
    finite = [value for value in values if np.isfinite(value)] or [0.0, 1.0]
    low, high = min(finite), max(finite)
    room = 0.06 * (high - low) or max(0.06 * abs(high), 0.06)
    near = [number for number in numbers if low - room <= number <= high + room]
    assert near


def test_a_legend_stays_on_its_figure_whatever_the_names():
    with style():
        for names in (["EGGAN"], ["a method with a very long name", "b"] * 7, []):
            sheet = Sheet(4.0, 3.0)
            end = sheet.legend([(name, "#ff0000") for name in names], 8)
            found = extents(sheet.figure)
            assert len(fillings(sheet.figure)) == len(names)
            assert all(left >= 0 and right <= 4.0 and bottom >= end for left, bottom, right, _ in found)
            places = sorted((bottom, left, right) for left, bottom, right, _ in found)
            for (low, _, before), (high, after, _) in itertools.pairwise(places):
                assert before < after or low < high


def written_at(align: float, height: Height, upwards: bool) -> tuple[float, float, float, float]:
    """Return left, lower, right and upper end of what is black where a text stands at (1, 1), in inches."""
    with style():
        sheet = Sheet(2, 2)
        sheet.write(1, 1, "HHHHHH", 12, align, height, upwards)
        canvas = FigureCanvasAgg(sheet.figure)
        canvas.draw()
    up, across = np.nonzero(np.asarray(canvas.buffer_rgba())[::-1, :, 0] < 128)
    ends = (across.min(), up.min(), across.max() + 1, up.max() + 1)
    left, bottom, right, top = (end / sheet.figure.dpi for end in ends)
    return left, bottom, right, top


@pytest.mark.parametrize("upwards", [False, True])
def test_texts_stand_where_they_were_written_to(upwards):
    for align in (0.0, 0.5, 1.0):
        left, bottom, right, top = written_at(align, "baseline", upwards)
        start, end = (bottom, top) if upwards else (left, right)
        assert start + align * (end - start) == pytest.approx(1.0, abs=0.03)  # a letter has room at its sides
    for height, share in (("baseline", 0.0), ("middle", 0.5), ("top", 1.0)):
        left, bottom, right, top = written_at(0.0, height, upwards)
        start, end = (2 - right, 2 - left) if upwards else (bottom, top)  # letters stand to the left
        assert start + share * (end - start) == pytest.approx(1.0, abs=0.02)


def test_matrices_show_rows_downwards_with_large_values_red_and_none_white():
    table = np.zeros((17, 17))
    table[0, 0], table[16, 0], table[0, 16] = 4, -4, np.nan
    (shown, _), written = (found(matrices(["m"], [table])) for found in (images, texts))
    red, blue, white, middle = (shown[i, j].astype(int) for i, j in ((0, 0), (-1, 0), (0, -1), (100, 100)))
    assert red[0] > red[2] + 50
    assert blue[2] > blue[0] + 50
    assert white.tolist() == [255] * 3
    assert np.ptp(middle) < 10
    assert written.count("AU set from 0 to 4") == 1
    assert {"1", "45", "4", "−4", "m"} <= set(written)


def test_the_lines_of_a_legend_are_filled_evenly():
    assert [legend_columns(entries, 8) for entries in (0, 1, 8, 9, 16, 17)] == [1, 1, 8, 5, 8, 6]
