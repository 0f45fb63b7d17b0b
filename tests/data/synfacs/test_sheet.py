"""Contact sheets: their size, and what goes wrong with them."""

from pathlib import Path

import pytest

from eggan.data.synfacs import sheet
from eggan.data.synfacs.sheet import LABEL_HEIGHT, LABEL_WIDTH, expression_sheet, write_sheet
from eggan.errors import UserError


def test_the_expression_sheet_has_one_row_per_person() -> None:
    picture = expression_sheet(64, seed=0, people=1)
    assert picture.size == (LABEL_WIDTH + 8 * 64, LABEL_HEIGHT + 64)


@pytest.mark.slow
def test_the_au_sheet_has_17_rows_and_six_levels(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sheet, "AU_SHEET_PEOPLE", (1,))
    path = write_sheet("aus", 64, 0, tmp_path / "aus.png")
    assert path.stat().st_size > 10_000
    assert sheet.au_sheet(64, 0).size == (LABEL_WIDTH + 6 * 64, LABEL_HEIGHT + 17 * 64)


@pytest.mark.parametrize(("kind", "size"), [("faces", 64), ("aus", 65)])
def test_bad_sheets_are_user_errors(kind: str, size: int, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        write_sheet(kind, size, 0, tmp_path / "x.png")
