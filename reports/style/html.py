"""HTML pages from templates: everything that comes from runs is escaped, a missing value is an error.

The pages' common head and look is `base.html`, beside this file.
"""

import re
from glob import escape
from pathlib import Path
from typing import Any

import jinja2
import markupsafe

from eggan.errors import UserError
from eggan.files import check_writable, files_in, refuse_foreign
from reports.style.report_record import RECORD, has_record

PAGE = "index.html"
# What `base.html` puts into a page's head; the second is in pages of versions that did not name themselves.
MARKS = ('<meta name="generator" content="eggan">', ":root { --ink: #1f2933; --soft: #52606d;")
CODE = re.compile(r"`([^`]+)`")
BEFORE_ARROW = re.compile(" (?=[↑↓])")
LINKED = re.compile(r'(?:href|src)="((?:tables|figures)/[^"/]+)"')


def render(template: Path, **values: Any) -> str:
    """Return the page that `template` makes of `values`; it may include `base.html`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        trim_blocks=True,
        lstrip_blocks=True,
        undefined=jinja2.StrictUndefined,
    )
    environment.filters["with_code"] = with_code
    environment.filters["with_arrow"] = with_arrow
    return environment.get_template(template.name).render(**values)


def with_code(text: str) -> markupsafe.Markup:
    """Return a text for a page, escaped, with what stands in backticks as code."""
    return markupsafe.Markup(CODE.sub(r"<code>\1</code>", str(markupsafe.escape(text))))


def with_arrow(text: str) -> str:
    """Return a heading whose arrow never stands alone on a line."""
    return BEFORE_ARROW.sub("\u00a0", text)


def check_report_folder(folder: Path) -> None:
    """Raise a `UserError` where a report cannot be written, or would take the place of other files."""
    check_writable(folder)
    refuse_foreign(folder, report_files(folder))


def report_files(folder: Path) -> list[str]:
    """Return patterns of the files of the report in `folder`: its page, what that links, and its record.

    There are none where nothing is; a folder that holds anything but a report is a `UserError`.
    """
    if not folder.exists() or (folder.is_dir() and not files_in(folder)):
        return []
    try:
        page = (folder / PAGE).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        page = ""
    linked = LINKED.findall(page)
    if not linked or not any(mark in page for mark in MARKS):
        raise UserError(f"{folder} exists and is not a report: choose another folder with --out")
    record = [RECORD] if has_record(folder) else []
    return [PAGE, *map(escape, sorted(set(linked))), *record]
