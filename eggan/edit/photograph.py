"""Editing a photograph at its own size: analysed once, edited many times.

The network sees the face as the training images frame it, at its own size. What it says of an edit, flow and
paint, is enlarged and composed of the photograph's own pixels, in the photograph's own grid: what does not
move keeps its bits. Nothing outside the square around the face is computed or changed, and the edit fades
out towards the square's border.

A network that was taught by renders does not give a photograph back unchanged, whatever it is asked for. So
what it would do at the AUs that the photograph shows is subtracted from what it does at the wanted ones.
Where an edit changes much, such as a lid or a mouth that closes, it stands alone: what was there would shine
through. There the network is asked for what it sees itself (`eggan.edit.as_rendered`) in all AUs that nobody
changes: a brow that it takes for a low one would be drawn over the lid otherwise. So it is where brows and
eyes would lose a drawing that the photograph never had: landmarks take heavy brows for lowered ones.

The network is asked for the face and for its mirror image (`eggan.edit.as_rendered`): an edit does not depend
on which way a face looks.
"""

from collections.abc import Iterator
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from eggan.aus import AU_COUNT, AU_NUMBERS, LOWER_FACE, UPPER_FACE
from eggan.edit.editing import Model
from eggan.edit.photo_file import GREY
from eggan.errors import UserError
from eggan.method import EditRequest, EditsLarge
from eggan.warp import Parts, compose, warp

if TYPE_CHECKING:
    from eggan.edit.as_rendered import AsRendered
    from eggan.faces.face import Face

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels
FEATHER = 0.12  # of half the square: where an edit fades out
ROUNDING = 1e-3  # pixels: landmarks are float32
KERNEL = 2  # pixels around a place that a bicubic kernel reads
SMOOTH = 4  # the network's fields are enlarged by up to this much with a smooth kernel, the rest linearly
BAND = 1 << 20  # pixels that are composed at once: bounds memory
# The change (of 2, the mean over colours) between which an edit turns from a difference into one of its own
SMALL_CHANGE, LARGE_CHANGE = 0.15, 0.4
# The paint between which a photograph's own detail gives way to what is painted
LITTLE_PAINT, MUCH_PAINT = 0.1, 0.4
HALF = 127.5  # of 255 levels
# A face is black and white where the colours of nearly all of its square differ by no more levels of 255 than
# these: JPEG's and a scanner's. What its edit changes is seen in the brightness that BT.601 gives colours
GREY_LEVELS, NEARLY_ALL = 5, 0.95
SPREAD = 1 / 32  # of a side: what changes much takes its surroundings along
# Which AUs reach brows, eyes and mouth. Others end at the first place in the square, from its top, and are
# seen in full from the second one. Lower brows are at 0.33 to 0.37 there, lids at 0.39 to 0.44
BROWS, EYES, MOUTH = (0.355, 0.395), (0.46, 0.54), (0.66, 0.56)
REACH = (((1, 2, 4, 9), *BROWS), ((*UPPER_FACE, 9), *EYES), ((*LOWER_FACE, 9), *MOUTH))
# How far below a place skin lies, in half squares (x, y): the cheek below a lid, the chin below lips; and the
# levels of 255 beyond which detail is an edge
SKIN_BELOW, GRAIN = (0.0, 0.26), 12
LITTLE_CHANGE = 0.2  # the share of the largest change from which another one counts in full


class PhotographEditor:
    """Edits one face of one photograph.

    photograph: uint8 (H, W, 3). `face` is one that was found there; None takes the centre square for a face
    that is framed as training images are, and edits it as the network says: of the network's own size, it is
    what `method.edit` returns, without colours where the picture has none. `source_aus` (17,) are what the
    photograph shows, as far as it is known: NaN counts as 0, and None as nothing known. Without `both_ways`
    the network is not asked for the mirror image of a photographed face, which takes half of the time.
    """

    def __init__(
        self,
        model: Model,
        photograph: np.ndarray,
        face: "Face | None",
        source_aus: np.ndarray | None = None,
        both_ways: bool = True,
    ) -> None:
        self._model = model
        self._photograph = photograph
        self._feather = FEATHER if face is not None else 0.0
        self._to_square = _to_square(photograph, face)
        self._to_pixels = np.linalg.inv(self._to_square[:, :2])
        self.box = self._bounds()
        square = framed(photograph, face, model.image_size)
        self._small = _in_range(square, model.device)
        self._grey = bool((np.ptp(square, axis=2) <= GREY_LEVELS).mean() >= NEARLY_ALL)
        known = np.zeros(AU_COUNT) if source_aus is None else np.nan_to_num(source_aus)
        self._source_aus = _row(known, model.device)
        self._differs = source_aus is not None and face is not None
        self._own_size = face is None and min(photograph.shape[:2]) == model.image_size
        self._both_ways = both_ways

    @property
    def side(self) -> float:
        """The side of the square around the face, in pixels of the photograph."""
        return 2 / float(np.sqrt(abs(np.linalg.det(self._to_square[:, :2]))))

    def edit(
        self, target_aus: np.ndarray, expression: int = -1, reference: np.ndarray | None = None
    ) -> np.ndarray:
        """Return the edited photograph: uint8 (H, W, 3), bit for bit the photograph outside of `box`.

        target_aus: (17,) in [0, 5]; `expression` and `reference`, a uint8 face (S, S, 3) of the model's size,
        are for methods that read them.
        """
        return self._placed(self.patch(target_aus, expression, reference))

    def patch(
        self, target_aus: np.ndarray, expression: int = -1, reference: np.ndarray | None = None
    ) -> np.ndarray:
        """Return what `edit` has inside of `box`, in a picture of that size."""
        return self._compose(self._fields(self._request(target_aus, expression, reference)))

    def interpolation(
        self, target_aus: np.ndarray, steps: int, expression: int = -1, reference: np.ndarray | None = None
    ) -> Iterator[np.ndarray]:
        """Yield the patches of `steps` frames from the source's AUs to the edit (Eq. 8), as of `patch`.

        A method that offers `interpolate` makes the frames itself; any other is asked for the AUs of each,
        and one that reads no AUs is a `UserError`.
        """
        request = self._request(target_aus, expression, reference)
        alpha = torch.linspace(0, 1, steps, device=self._model.device)
        own = getattr(self._model.method, "interpolate", None)
        if own is not None:
            yield from (self._compose(self._redrawn(frame[None])) for frame in own(request, alpha)[0])
            return
        if "target_aus" not in self._model.reads:
            raise UserError(
                f"{self._model.name} reads no AUs, so it has no frames in between: use `eggan edit`"
            )
        for aus in torch.lerp(request.source_aus, request.target_aus, alpha[:, None]):
            yield self._compose(self._fields(replace(request, target_aus=aus[None])))

    def _placed(self, patch: np.ndarray) -> np.ndarray:
        left, top, right, bottom = self.box
        edited = self._photograph.copy()
        edited[top:bottom, left:right] = patch
        return edited

    def _request(self, target_aus: np.ndarray, expression: int, reference: np.ndarray | None) -> EditRequest:
        device, face = self._model.device, self._small
        if reference is not None:
            face = _in_range(reference, device)
        wanted = torch.full((1,), expression, dtype=torch.int64, device=device)
        return EditRequest(self._small, self._source_aus, _row(target_aus, device), wanted, face)

    # --- at the network's size

    def _fields(self, request: EditRequest) -> Tensor:
        """Return what is composed, (1, 7, S, S) on the CPU: flow (2, half squares), how much is kept of the
        moved pixels (1), what is added to them (3, of 255 levels), and how much grain this gets (1).
        """
        method = self._model.method
        if not isinstance(method, EditsLarge) or self._own_size:
            return self._redrawn(method.edit(request))
        if self._known is None:
            parts = method.parts(self._small, request.target_aus)
            flow, added, lost = parts.flow, _added(parts), _lost(parts)
            grain = torch.zeros_like(lost)
        else:
            flow, added, lost = self._difference(self._known, request.target_aus)
            grain = lost
        painted = lost * (warp(self._small, flow) + 1) + added
        return torch.cat([flow, 1 - lost, painted * HALF, grain], 1).float().cpu()

    def _difference(self, known: "AsRendered", target_aus: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return flow, what is added to the moved pixels, and how much of these is lost."""
        from eggan.edit.as_rendered import rescaled

        assert self._as_is is not None
        wanted, own = self._twice(known, target_aus, rescaled(target_aus, self._source_aus, known.aus))
        as_is, own_as_is = self._as_is
        alone = torch.maximum(_alone(own, own_as_is), self._misread(wanted, as_is, own_as_is))
        flow = torch.lerp(wanted.flow - as_is.flow, own.flow, alone)
        added = torch.lerp(_added(wanted) - _added(as_is), _added(own), alone) / known.gain
        seen = self._seen(target_aus)
        return flow * seen, added * seen, _lost(own) * alone * seen

    def _misread(self, wanted: Parts, as_is: Parts, own_as_is: Parts) -> Tensor:
        """Return where (1, 1, S, S), from 0 to 1, of brows and eyes, a difference would take away what is not
        there: much, drawn for AUs that landmarks read and the network does not see.
        """
        upper = 1 - _between(self._down(), *EYES)
        unseen = torch.minimum(_alone(wanted, as_is), _alone(as_is, own_as_is))
        return unseen * upper.view(1, 1, -1, 1)

    def _down(self) -> Tensor:
        """Return how far down the square (S,) its rows are, from 0 to 1."""
        side = self._small.shape[-1]
        return (torch.arange(side, device=self._small.device) + 0.5) / side

    def _seen(self, target_aus: Tensor) -> Tensor:
        """Return where an edit is seen (1, 1, S, 1), from 0 to 1: where AUs that change reach."""
        change = (target_aus - self._source_aus).abs()[0]
        share = change / change.amax().clamp(min=torch.finfo(change.dtype).tiny)
        down = self._down()
        seen = torch.ones_like(down)
        for aus, end, full in REACH:
            reaching = share[[number in aus for number in AU_NUMBERS]].amax()
            kept = 1 - _between(reaching, 0, LITTLE_CHANGE)
            seen = seen * (1 - kept * (1 - _between(down, end, full)))
        return seen.view(1, 1, -1, 1)

    @staticmethod
    def _redrawn(edited: Tensor) -> Tensor:
        """Return what is composed of an edit (1, 3, S, S) that shows the whole square anew."""
        nothing = torch.zeros_like(edited)
        return torch.cat([nothing, (edited + 1) * HALF, nothing[:, :1]], 1).float().cpu()

    @cached_property
    def _known(self) -> "AsRendered | None":
        """The photograph as a network that learnt from renders knows it, where a difference is composed."""
        if not (self._differs and isinstance(self._model.method, EditsLarge)):
            return None
        from eggan.edit.as_rendered import as_rendered  # framed faces do without

        return as_rendered(self._small)

    @cached_property
    def _as_is(self) -> tuple[Parts, Parts] | None:
        """What the network would do to show what the photograph shows already, and what it sees itself."""
        return None if self._known is None else self._twice(self._known, self._source_aus, self._known.aus)

    def _twice(self, known: "AsRendered", *aus: Tensor) -> tuple[Parts, Parts]:
        """Return the parts of the edits to two vectors of AUs, both (1, 17), in one pass."""
        from eggan.edit.as_rendered import parts_both_ways, split  # framed faces do without

        assert isinstance(self._model.method, EditsLarge)
        squares = known.square.expand(2, -1, -1, -1)
        if self._both_ways:
            return split(parts_both_ways(self._model.method, squares, torch.cat(aus)))
        return split(self._model.method.parts(squares, torch.cat(aus)))

    # --- at the photograph's size

    def _compose(self, fields: Tensor) -> np.ndarray:
        left, top, right, bottom = self.box
        fields = self._enlarged(fields)
        rows = max(1, BAND // (right - left))
        patch = np.empty((bottom - top, right - left, 3), np.uint8)
        for start in range(top, bottom, rows):
            stop = min(start + rows, bottom)
            patch[start - top : stop - top] = self._compose_band(fields, (left, start, right, stop))
        return patch

    def _enlarged(self, fields: Tensor) -> Tensor:
        scale = min(SMOOTH, max(1, round(self.side / fields.shape[-1])))
        return F.interpolate(fields, scale_factor=scale, mode="bicubic", align_corners=False)

    def _compose_band(self, fields: Tensor, box: Box) -> np.ndarray:
        left, top, right, bottom = box
        grid, window = self._grid(box)
        fields = F.grid_sample(fields, grid, padding_mode="border", align_corners=False)
        flow, kept, painted, grain = fields.split((2, 1, 3, 1), 1)
        source = _levels(self._photograph[top:bottom, left:right])
        edited = kept * self._moved(grid, flow * window) + painted
        rows = grain[0, 0].any(dim=1).nonzero()
        if len(rows):  # what is not painted takes no time
            part = slice(int(rows[0]), int(rows[-1]) + 1)
            edited[:, :, part] += grain[:, :, part].clamp(0, 1) * self._detail(grid[:, part])
        change = edited - source
        if self._grey:  # networks paint in the colours of skin
            change = (change * change.new_tensor(GREY).view(1, 3, 1, 1)).sum(1, keepdim=True)
        faded = source + window * change
        return faded[0].permute(1, 2, 0).round_().clamp_(0, 255).to(torch.uint8).numpy()

    def _grid(self, box: Box) -> tuple[Tensor, Tensor]:
        """Return the places of a box's pixels in the square (1, h, w, 2), from -1 to 1, and how much of an
        edit is seen there (1, 1, h, w).
        """
        left, top, right, bottom = box
        (a, b, c), (d, e, f) = self._to_square
        x, y = np.arange(left, right) + 0.5, np.arange(top, bottom)[:, None] + 0.5
        places = [torch.from_numpy(row.astype(np.float32)) for row in (a * x + b * y + c, d * x + e * y + f)]
        inside = [1 - place.abs() for place in places]
        if self._feather:
            window = _between(inside[0], 0, self._feather) * _between(inside[1], 0, self._feather)
        else:
            window = ((inside[0] > 0) & (inside[1] > 0)).float()
        return torch.stack(places, 2)[None], window[None, None]

    def _moved(self, grid: Tensor, flow: Tensor) -> Tensor:
        """Return the photograph's pixels (1, 3, h, w), 0 to 255, from where `flow` takes them."""
        inverse = torch.from_numpy(self._to_pixels).float()
        shift = torch.from_numpy(self._to_square[:, 2]).float()
        places = (grid + flow.permute(0, 2, 3, 1) - shift) @ inverse.T
        left, top, right, bottom = self._box_around(places.amin((0, 1, 2)), places.amax((0, 1, 2)))
        corner, size = torch.tensor([left, top]), torch.tensor([right - left, bottom - top])
        read = _levels(self._photograph[top:bottom, left:right])
        places = (places - corner) / size * 2 - 1
        return F.grid_sample(read, places, mode="bicubic", padding_mode="border", align_corners=False)

    def _detail(self, grid: Tensor) -> Tensor:
        """Return (1, 3, h, w), of 255 levels, what the photograph holds that the network is too small to see,
        from skin below each place: what is painted has none of it.
        """
        below = grid.new_tensor(SKIN_BELOW)
        coarse = F.grid_sample(self._coarse, grid + below, padding_mode="border", align_corners=False)
        fine = self._moved(grid, below.view(1, 2, 1, 1)) - coarse
        return fine.clamp(-GRAIN, GRAIN)

    @cached_property
    def _coarse(self) -> Tensor:
        """What the network sees, enlarged: (1, 3, h, w) on the CPU, of 255 levels."""
        return self._enlarged((self._small.float().cpu() + 1) * HALF)

    def _box_around(self, low: Tensor, high: Tensor) -> Box:
        """Return the part of the photograph that is read for places from `low` to `high`, both (x, y)."""
        most = np.array(self._photograph.shape[1::-1])
        first = np.clip(np.floor(low.numpy()) - KERNEL, 0, most - 1).astype(int)
        last = np.clip(np.ceil(high.numpy()) + KERNEL, first + 1, most).astype(int)
        return int(first[0]), int(first[1]), int(last[0]), int(last[1])

    def _bounds(self) -> Box:
        """Return the box around the square, as far as the photograph goes."""
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]])
        pixels = (corners - self._to_square[:, 2]) @ self._to_pixels.T
        height, width = self._photograph.shape[:2]
        low = np.floor(pixels.min(axis=0) + ROUNDING).clip(0, (width - 1, height - 1)).astype(int)
        high = np.ceil(pixels.max(axis=0) - ROUNDING).clip(low + 1, (width, height)).astype(int)
        return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def _to_square(photograph: np.ndarray, face: "Face | None") -> np.ndarray:
    """Return (2, 3): from pixels of the photograph to the square around the face, from -1 to 1."""
    if face is not None:
        from eggan.faces.framing import framing  # a framed face does without what finds one

        return framing(face, 2) - np.array([[0, 0, 1], [0, 0, 1]])
    left, top, side = _centre_square(photograph)
    step = 2 / side
    return np.array([[step, 0, -1 - left * step], [0, step, -1 - top * step]])


def framed(photograph: np.ndarray, face: "Face | None", size: int) -> np.ndarray:
    """Return the square, uint8 (size, size, 3), as the network sees it."""
    if face is not None:
        from eggan.faces.framing import aligned

        return aligned(photograph, face, size)
    left, top, side = _centre_square(photograph)
    square = photograph[top : top + side, left : left + side]
    if side == size:
        return square
    return np.array(Image.fromarray(square).resize((size, size), Image.Resampling.LANCZOS))


def _centre_square(photograph: np.ndarray) -> tuple[int, int, int]:
    """Return left, top and side."""
    height, width = photograph.shape[:2]
    side = min(height, width)
    return (width - side) // 2, (height - side) // 2, side


def _added(parts: Parts) -> Tensor:
    """Return what painting adds to the moved picture."""
    return parts.paint * (parts.colour - parts.moved)


def _lost(parts: Parts) -> Tensor:
    """Return how much of the moved picture, from 0 to 1, gives way to what is painted."""
    return _between(parts.paint, LITTLE_PAINT, MUCH_PAINT)


def _alone(wanted: Parts, as_is: Parts) -> Tensor:
    """Return where (B, 1, H, W), from 0 to 1, an edit stands alone and is no difference to `as_is`."""
    change = (compose(wanted) - compose(as_is)).abs().mean(1, keepdim=True)
    spread = round(SPREAD * change.shape[-1])
    much = F.max_pool2d(_between(change, SMALL_CHANGE, LARGE_CHANGE), 2 * spread + 1, 1, spread)
    return F.avg_pool2d(much, 3, 1, 1, count_include_pad=False)


def _between(values: Tensor, low: float, high: float) -> Tensor:
    """Return 0 up to `low`, 1 from `high` on, and a smooth step between them."""
    part = ((values - low) / (high - low)).clamp(0, 1)
    return part * part * (3 - 2 * part)


def _levels(pixels: np.ndarray) -> Tensor:
    """Return uint8 (H, W, 3) as float32 (1, 3, H, W), 0 to 255."""
    return torch.from_numpy(np.ascontiguousarray(pixels).transpose(2, 0, 1)[None].astype(np.float32))


def _in_range(picture: np.ndarray, device: torch.device | str) -> Tensor:
    """Return uint8 (H, W, 3) as networks see it: (1, 3, H, W) in [-1, 1]."""
    return _levels(picture).div(HALF).sub(1).to(device)


def _row(aus: np.ndarray, device: torch.device | str) -> Tensor:
    return torch.from_numpy(np.asarray(aus, dtype=np.float32))[None].to(device)
