"""Shipped weights as rows of a suite: scored beside what is trained there, and never trained themselves."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from eggan.errors import UserError
from eggan.method import Method, MethodEntry
from eggan.shipped.weights import load_shipped, read_card

SUFFIX = "-shipped"
METHOD_OF: Mapping[str, str] = {
    "eggan_64": "eggan",
    "eggan_w_64": "eggan-w",
    "eggan_w_128": "eggan-w",
}


@dataclass(frozen=True)
class ShippedMethod:
    """Weights that come with the package, such as `eggan_w_64`, and the method that they are of."""

    weights: str
    entry: MethodEntry

    @property
    def name(self) -> str:
        """Name of the row."""
        return f"{self.entry.name}{SUFFIX}"

    @property
    def title(self) -> str:
        """Display name."""
        return f"{self.entry.title} (shipped)"

    @property
    def reads(self) -> tuple[str, ...]:
        """Fields of EditRequest that `edit` reads."""
        return self.entry.reads

    @property
    def version(self) -> int:
        """Version of the method."""
        return self.entry.version

    @property
    def identity(self) -> dict[str, str]:
        """What stands in a cell's key in the place of a config: another file, another cell."""
        return {"weights": self.weights, "sha256": str(self.card["sha256"])}

    @property
    def learns_from(self) -> str:
        """What a table says of the people that it was trained on."""
        edits = " and true edits" if self.entry.learns_from_true_edits else ""
        return f"{self.card['data']['people']:,} people{edits}"

    @cached_property
    def card(self) -> dict[str, Any]:
        """The card beside the weights."""
        return read_card(self.weights)

    def for_size(self, size: int) -> "ShippedMethod":
        """Return the row with the method's weights for images of `size`; without such it is a `UserError`."""
        own = [name for name, method in METHOD_OF.items() if method == self.entry.name]
        sizes = {read_card(name)["image_size"]: name for name in own}
        if size not in sizes:
            there = ", ".join(f"{other} px" for other in sorted(sizes))
            raise UserError(f"{self.name}: no weights for {size} px are shipped (there are some for {there})")
        return replace(self, weights=sizes[size])

    def restore(self, device: str) -> Method:
        """Return the method, ready to edit; damaged weights are a `UserError`."""
        checkpoint = load_shipped(self.weights)
        return self.entry.restored(checkpoint, device, where=f"{self.weights}.json")


def shipped_methods(entries: Mapping[str, MethodEntry]) -> dict[str, ShippedMethod]:
    """Return a row for each method with shipped weights, by name; `for_size` chooses among its weights."""
    rows: dict[str, ShippedMethod] = {}
    for weights, method in METHOD_OF.items():
        row = ShippedMethod(weights, entries[method])
        rows.setdefault(row.name, row)  # the first weights of a method stand for all
    return rows
