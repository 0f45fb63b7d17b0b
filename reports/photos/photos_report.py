"""The page of one `eggan bench photos`: targets, tables, and every face with each AU at the highest level."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.photos.photos_run import CARD, MOST_ON_SHEET, Measured, read_measured
from benchmarks.photos.summary import readable, targets_of
from eggan.aus import AU_NUMBERS
from eggan.errors import UserError
from eggan.files import replaced_folder
from eggan.options import command
from eggan.progress import working
from reports.photos import photos_tables
from reports.style.figure_style import Picture, save
from reports.style.finding import Finding, Tone
from reports.style.html import PAGE, render, report_files
from reports.style.image_rows import image_rows
from reports.style.text_table import write_text_tables

TEMPLATE = Path(__file__).with_name("photos_page.html")
LABEL_CHARACTERS = 18  # of a portrait's name beside its faces
TONES: dict[bool | None, Tone] = {True: "good", False: "bad", None: "open"}


@dataclass(frozen=True)
class Report:
    """A built report: its page, and what the terminal shows of it."""

    page: Path
    findings: list[Finding]


def latest(folder: Path) -> Path:
    """Return the last complete measurement in the folder of them all; none is a `UserError`."""
    found = sorted(path.parent for path in folder.glob(f"*/{CARD}"))
    if not found:
        raise UserError(f"{folder} holds no measurement: run `{command('bench photos')}` first")
    return found[-1]


def build(folder: Path, out: Path) -> Report:
    """Write `figures/`, `tables/` and `index.html` under `out`, replacing an earlier report there."""
    known = report_files(out)
    measured = read_measured(folder)
    tables = {
        "by_au": photos_tables.by_au(measured),
        "by_portrait": photos_tables.by_portrait(measured),
        "pairs": photos_tables.real_pairs(measured),
        "not_measured": photos_tables.not_measured(measured),
    }
    findings = [
        Finding(TONES[target.reached], f"{target.word.capitalize()}: {target.text}.")
        for target in targets_of(measured.probes)
    ]
    with working("laying out the faces"):
        sheet = contact_sheet(measured)
    with replaced_folder(out, known) as staging:
        write_text_tables([table for table in tables.values() if table], staging / "tables")
        save(sheet, staging / "figures")
        page = render(
            TEMPLATE,
            title="EGGAN on photographs",
            facts=facts(measured),
            findings=findings,
            sheet=sheet,
            **tables,
        )
        (staging / PAGE).write_text(page, encoding="utf-8")
    return Report(out / PAGE, findings)


def contact_sheet(measured: Measured) -> Picture:
    """Return a row of faces for each portrait: the source, then each AU at the highest level."""
    rows = [(_short(name), list(tiles)) for name, tiles in measured.tiles.items()]
    headings = ["source", *(f"AU{number}" for number in AU_NUMBERS)]
    level = max(measured.card["levels"])
    left_out = len(measured.card["portraits"]) - len(rows)
    more = f" The first {MOST_ON_SHEET} portraits; {left_out} more were measured." if left_out else ""
    caption = f"Each AU at {level:g}, the others as the landmark reader reads them there.{more}"
    return Picture("faces", "Every face, one AU at a time", caption, image_rows(rows, headings, 1))


def _short(name: str) -> str:
    last = name if len(name) <= LABEL_CHARACTERS else name.rpartition("/")[2]
    return last if len(last) <= LABEL_CHARACTERS else f"{last[: LABEL_CHARACTERS - 1]}…"


def facts(measured: Measured) -> list[tuple[str, str]]:
    """Return the lines of the page's head."""
    card = measured.card
    portraits = card["portraits"]
    kinds = [entry["kind"] for entry in portraits]
    read = readable(measured.probes)
    unread = [f"AU{number}" for number in AU_NUMBERS if number not in read]
    levels = ", ".join(f"{level:g}" for level in card["levels"])
    analysed = max(entry["analysis_seconds"] for entry in portraits)
    return [
        ("Weights", f"{card['weights']}, sha256 {card['weights_sha256'][:12]}"),
        ("Portraits", f"{kinds.count('photograph')} photographs, {kinds.count('render')} renders"),
        ("Probes", f"{len(measured.probes)} edits: every AU at {levels}"),
        ("Not readable", ", ".join(unread) or "none: every AU is read from landmarks"),
        ("Identity", card["identity"] or "dlib's face descriptors"),
        ("Analysis", f"at most {analysed:.2f} s for a face, once"),
    ]
