"""A whole report from a frame: tables, figures and the page, in a folder that appears whole or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from eggan.files import refuse_foreign, replaced_folder
from eggan.progress import progress_bar, working
from reports.style.figure_style import Picture, save
from reports.style.finding import Finding
from reports.style.html import PAGE, report_files
from reports.style.report_record import write_record
from reports.style.table import Table
from reports.style.table_writers import terminal, write_tables
from reports.suite import suite_figures, suite_findings, suite_tables
from reports.suite.ablation_figures import ablation_grids
from reports.suite.ablation_tables import Ablations, ablation_table, ablations_of
from reports.suite.claims import claim_findings
from reports.suite.extremes_figure import extremes_figures
from reports.suite.frame import Frame, Progress
from reports.suite.people_results import people_figures, people_table
from reports.suite.reconstruction_table import self_reconstruction
from reports.suite.report_inputs import inputs_digest
from reports.suite.sections import Section, sections_of
from reports.suite.suite_page import SectionPage, render_page
from reports.suite.validation_curves import flattening_findings, validation_figures

OVERVIEW = ("averages", "table2", "people", "ablations")  # what the terminal shows of a section's tables


@dataclass(frozen=True)
class Report:
    """A built report: where it is, and what the terminal shows of it."""

    page: Path
    overview: list[Table]
    findings: list[Finding]

    @property
    def summary(self) -> str:
        """The overview's tables and the sentences as plain text."""
        lines = []
        for table in self.overview:
            lines += [terminal(table), *(f"  {note}" for note in table.notes), ""]
        return "\n".join([*lines, *(finding.line for finding in self.findings)])


def build(frame: Frame, out: Path, progress: Progress, inputs: str = "") -> Report:
    """Write `tables/`, `figures/` and `index.html` under `out`, replacing an earlier report there.

    `report.json` beside them records what the report was made of: see `reports/style/report_record.py`.
    `inputs` is the frame's `inputs_digest`, where it is known already.
    """
    known = report_files(out)
    refuse_foreign(out, known)
    sections = sections_of(frame, progress)
    ablations = {s.key: found for s in sections if (found := ablations_of(frame, s, progress))}
    findings = claim_findings(frame, list(ablations.values())) + suite_findings.findings(frame, sections)
    findings += flattening_findings(frame)
    with working("laying out the figures"):
        pictures = suite_figures.pictures(frame, sections)
        pictures = people_figures(sections) + validation_figures(frame) + pictures + ablation_grids(frame)
        pictures += extremes_figures(frame)
    with working("filling the tables"):
        tables = [section_tables(frame, s, ablations.get(s.key), progress) for s in sections]
    pages = [
        SectionPage(section, made, [picture for picture in pictures if picture.key.endswith(section.key)])
        for section, made in zip(sections, tables, strict=True)
    ]
    overview = [made[name] for made in tables for name in OVERVIEW if name in made]
    report = Report(out / PAGE, overview, findings)
    with replaced_folder(out, known) as staging:
        write_tables([table for made in tables for table in made.values()], staging / "tables")
        for picture in progress(pictures, len(pictures), "figures"):
            save(picture, staging / "figures")
        faces, training = _named(pictures, "fig"), _named(pictures, "training")
        (staging / PAGE).write_text(render_page(frame, pages, faces, training, findings), encoding="utf-8")
        write_record(staging, inputs or inputs_digest(frame), report.summary)
    return report


def section_tables(
    frame: Frame,
    section: Section,
    ablations: Ablations | None = None,
    progress: Progress = progress_bar,
) -> dict[str, Table]:
    """Return every table of a section by its place on the page."""
    made = {
        "averages": suite_tables.table1_averages(section),
        "table1": suite_tables.table1(section),
        "table2": suite_tables.table2(frame, section),
        "by_au": suite_tables.table1_by_au(section),
        "summary": suite_tables.summary(frame, section),
        "agreement": suite_tables.estimator_agreement(section),
    }
    optional = {
        "people": people_table(section),
        "ablations": ablation_table(ablations) if ablations and ablations.full else None,
        "cost": suite_tables.cost(frame, section),
        "differences": suite_tables.differences(section, progress),
        "reconstruction": self_reconstruction(frame, section),
    }
    return made | {name: table for name, table in optional.items() if table}


def _named(pictures: Sequence[Picture], start: str) -> list[Picture]:
    return [picture for picture in pictures if picture.key.startswith(start)]
