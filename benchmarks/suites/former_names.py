"""Suites and rows that had another name once: old commands go on working, old cells are told from new."""

from collections.abc import Collection, Mapping

STANDARD, TWIN_SUITE = "standard", "twin"
FORMER_SUITES: Mapping[str, str] = {"crowd": STANDARD}
# Rows of the former suite `crowd`, which had the twin's EGGAN under the plain name.
FORMER_METHODS: Mapping[str, str] = {
    f"{name}-crowd": name for name in ("eggan", "stargan", "homointerpgan", "ganimation")
}


def present_method(name: str) -> str:
    """Return the name that a method or row has now."""
    return FORMER_METHODS.get(name, name)


def is_of_twin(suite: str, method: str, trained: bool, data: Collection[str]) -> bool:
    """Return whether a cell is of the former suite `standard`, which is called `twin` now.

    `data`: the names or roles of the cell's datasets. What `standard` trains now learns from the crowd,
    but for rows whose name says that they learn from the twin.
    """
    crowd = any("crowd" in name for name in data)
    return suite == STANDARD and trained and not crowd and not method.endswith(f"-{TWIN_SUITE}")
