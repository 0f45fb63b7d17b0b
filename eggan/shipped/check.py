"""Do the shipped weights still edit? One rendered face, one edit, read by AU estimator a."""

from dataclasses import dataclass

import numpy as np
import torch

from eggan.aus import AU_COUNT, au_index
from eggan.data.images import to_network_range
from eggan.data.synfacs.nuisance import draw_nuisance
from eggan.data.synfacs.picture import render
from eggan.data.synfacs.plan import person
from eggan.errors import UserError
from eggan.evaluation.instruments import load_au_estimator
from eggan.method import EditRequest, MethodEntry
from eggan.model import ENTRY as EGGAN
from eggan.shipped.weights import load_shipped
from eggan.warp import ENTRY as EGGAN_W

ENTRIES: dict[str, MethodEntry] = {entry.name: entry for entry in (EGGAN_W, EGGAN)}
ASKED = {4: 4.0, 12: 4.0}  # lowered brows and a smile: the upper and the lower face
LEAST = 0.5  # of what was asked for; the weights' mean slope over all AUs is higher


@dataclass(frozen=True)
class Reading:
    """What estimator a reads of one AU in a neutral face and in its edit, both in [0, 5]."""

    au: int
    asked: float
    before: float
    after: float

    @property
    def is_right(self) -> bool:
        """Whether the edit moves the AU towards what was asked for, by at least `LEAST` of the way."""
        return self.after - self.before >= LEAST * (self.asked - self.before)


def read_one_edit(name: str) -> list[Reading]:
    """Return what one edit of a rendered neutral face shows; weights of another version: `UserError`."""
    checkpoint = load_shipped(name)
    card, entry = checkpoint.card, ENTRIES[checkpoint.card.method]
    if card.method_version != entry.version:
        raise UserError(
            f"{name} is of {entry.name} version {card.method_version}, this software has {entry.version}"
        )
    method = entry.restored(checkpoint, "cpu", where="config")
    neutral = np.zeros(AU_COUNT)
    face = render(person(0, "twin", 0), neutral, draw_nuisance("shipped", 0), "frontal", card.image_size)
    source = to_network_range(torch.from_numpy(face).permute(2, 0, 1)[None])
    target = torch.zeros(1, AU_COUNT)
    for au, intensity in ASKED.items():
        target[0, au_index(au)] = intensity
    unread = torch.full((1,), -1, dtype=torch.int64)
    edit = method.edit(EditRequest(source, torch.zeros_like(target), target, unread, source))
    before, after = load_au_estimator("a").predict(torch.cat([source, edit])).tolist()
    return [Reading(au, asked, before[au_index(au)], after[au_index(au)]) for au, asked in ASKED.items()]
