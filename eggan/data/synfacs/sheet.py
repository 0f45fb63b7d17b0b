"""Contact sheets: every AU at every intensity, and many people with every expression."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw

from eggan.aus import AU_COUNT, AU_NAMES, AU_NUMBERS, EXPRESSIONS, LEVELS
from eggan.data.synfacs.nuisance import draw_nuisance
from eggan.data.synfacs.picture import render, render_group
from eggan.data.synfacs.plan import SIZES, person, posed_pictures
from eggan.errors import UserError, known_names
from eggan.pictures import save_picture
from eggan.progress import progress_bar

SHEETS = ("aus", "expressions")
AU_SHEET_PEOPLE = (1, 2, 12)
LABEL_WIDTH, LABEL_HEIGHT = 118, 16


def write_sheet(kind: str, size: int, seed: int, path: Path) -> Path:
    """Draw a sheet of the kind `aus` or `expressions` into a PNG and return its path."""
    if kind not in SHEETS:
        raise UserError(f"unknown sheet {kind!r}{known_names(kind, SHEETS)}")
    if size not in SIZES:
        raise UserError(f"size {size} is not offered: choose 64 or 128")
    sheet = au_sheet(size, seed) if kind == "aus" else expression_sheet(size, seed)
    return save_picture(np.asarray(sheet), path)


def au_sheet(size: int, seed: int) -> Image.Image:
    """Return 17 rows (AUs) x 6 intensities on three people side by side."""
    aus = np.eye(AU_COUNT)[:, None, :] * np.arange(LEVELS)[None, :, None]
    people = []
    for number, index in enumerate(progress_bar(AU_SHEET_PEOPLE, description="draw", unit="person")):
        someone, nuisance = person(seed, "twin", index), draw_nuisance("sheet", number)
        faces = render_group(someone, aus.reshape(-1, AU_COUNT), nuisance, "frontal", size)
        people.append(faces.reshape(AU_COUNT, LEVELS, size, size, 3))
    rows = [
        np.concatenate([face for faces in people for face in faces[position]], axis=1)
        for position in range(AU_COUNT)
    ]
    names = [f"AU{number} {AU_NAMES[number]}" for number in AU_NUMBERS]
    return labelled(rows, names, [str(level) for _ in people for level in range(LEVELS)], size)


def expression_sheet(size: int, seed: int, people: int = 20) -> Image.Image:
    """Return `people` rows x 8 expressions, gaze frontal, as in the RaFD twin."""
    rows, names = [], []
    for index in progress_bar(range(people), description="draw", unit="person"):
        someone = person(seed, "twin", index)
        pictures = {name: aus for name, gaze, aus in posed_pictures(someone) if gaze == "frontal"}
        faces = [
            render(
                someone, pictures[name], draw_nuisance(seed, "twin", index, 3 * number + 1), "frontal", size
            )
            for number, name in enumerate(EXPRESSIONS)
        ]
        rows.append(np.concatenate(faces, axis=1))
        names.append(someone.name)
    return labelled(rows, names, list(EXPRESSIONS), size)


def labelled(rows: list[np.ndarray], names: list[str], columns: list[str], size: int) -> Image.Image:
    """Return rows of faces with names at the left and column titles on top."""
    body = np.concatenate(rows, axis=0)
    sheet = Image.new("RGB", (body.shape[1] + LABEL_WIDTH, body.shape[0] + LABEL_HEIGHT), "white")
    sheet.paste(Image.fromarray(body), (LABEL_WIDTH, LABEL_HEIGHT))
    draw = ImageDraw.Draw(sheet)
    for row, name in enumerate(names):
        number, _, words = name.partition(" ")
        draw.multiline_text(
            (4, LABEL_HEIGHT + row * size + 8), f"{number}\n{words.replace(' ', chr(10))}", fill="black"
        )
    for column, title in enumerate(columns):
        draw.text((LABEL_WIDTH + column * size + 6, 2), title, fill="black")
    return sheet
