"""An edit as one network: the tensors that a method reads in, its edit and what that is composed of out."""

from dataclasses import dataclass, fields

import torch
from torch import Tensor, nn

from eggan.aus import AU_COUNT, EXPRESSIONS, MAX_INTENSITY
from eggan.edit.editing import Model
from eggan.method import EditRequest, EditsLarge
from eggan.randomness import torch_generator
from eggan.warp import Parts, Warps

EDIT = "edit"
PICTURES = ("source", "reference")
AUS = ("source_aus", "target_aus")
BOTH_WAYS = "; `edit` is the mean of that and of the mirror image's, mirrored back"
FIELDS = tuple(field.name for field in fields(EditRequest))


@dataclass(frozen=True)
class Named:
    """A tensor of a file, for those who fill or read it; `shape` is without the batch."""

    name: str
    shape: tuple[int, ...]
    kind: str  # as NumPy names it
    range: tuple[float, float] | None
    meaning: str


class EditNetwork(nn.Module):
    """`forward` takes the fields that the method reads, in the order of `inputs`; returns those of `outputs`.

    A network cannot refuse a label: where `target_expression` is no index of EXPRESSIONS the edit is NaN.
    """

    def __init__(self, model: Model) -> None:
        super().__init__()
        self.method = model.method
        self.inputs = [_input(name, model.image_size) for name in FIELDS if name in model.reads]
        self.outputs = _outputs(model)

    def forward(self, *given: Tensor) -> tuple[Tensor, ...]:
        """Return the edits (B, 3, S, S) in [-1, 1], then what they are composed of."""
        named = {field.name: tensor for field, tensor in zip(self.inputs, given, strict=True)}
        request = EditRequest(**{name: named.get(name, given[0]) for name in FIELDS})  # it reads no other
        if isinstance(self.method, Warps):  # in one pass, which the file then holds once
            made, edit = self.method.parts_and_edit(request.source, request.target_aus)
            parts = {EDIT: edit} | _fields_of(made)
        elif isinstance(self.method, EditsLarge):
            made = self.method.parts(request.source, request.target_aus)
            parts = {EDIT: self.method.edit(request)} | _fields_of(made)
        else:
            parts = {EDIT: self.method.edit(request)}
        if "target_expression" in named:
            known = _is_expression(named["target_expression"])[:, None, None, None]
            parts = parts | {EDIT: torch.where(known, parts[EDIT], torch.nan)}
        return tuple(parts[field.name] for field in self.outputs)

    def sample(self, count: int) -> tuple[Tensor, ...]:
        """Return inputs of `count` faces that fill the ranges; equal for equal counts."""
        generator = torch_generator("export", count)

        def drawn(field: Named) -> Tensor:
            assert field.range is not None
            low, high = field.range
            if field.name == "target_expression":
                return torch.arange(count) % len(EXPRESSIONS)
            return torch.rand((count, *field.shape), generator=generator) * (high - low) + low

        return tuple(drawn(field) for field in self.inputs)


def _fields_of(made: Parts) -> dict[str, Tensor]:
    return {"flow": made.flow, "colour": made.colour, "paint": made.paint}


def _is_expression(labels: Tensor) -> Tensor:
    return (labels >= 0) & (labels < len(EXPRESSIONS))


def _input(name: str, side: int) -> Named:
    if name in PICTURES:
        meaning = {"source": "the face to edit, RGB", "reference": "a face with the wanted expression, RGB"}
        return Named(name, (3, side, side), "float32", (-1.0, 1.0), meaning[name])
    if name in AUS:
        whose = "of the source" if name == "source_aus" else "wanted"
        return Named(name, (AU_COUNT,), "float32", (0.0, float(MAX_INTENSITY)), f"AU intensities {whose}")
    label = "index of the wanted expression; any other number gives an edit of NaN"
    return Named(name, (), "int64", (0.0, float(len(EXPRESSIONS) - 1)), label)


def _outputs(model: Model) -> list[Named]:
    side = model.image_size
    both_ways = isinstance(model.method, Warps) and model.method.both_ways
    edit = Named(EDIT, (3, side, side), "float32", (-1.0, 1.0), "the edited face, RGB")
    if not isinstance(model.method, EditsLarge):
        return [edit]
    return [
        edit,
        Named(
            "flow",
            (2, side, side),
            "float32",
            None,
            "from where each pixel comes, relative to its place: x, y in half sides of the picture",
        ),
        Named("colour", (3, side, side), "float32", (-1.0, 1.0), "what is painted, RGB"),
        Named(
            "paint",
            (1, side, side),
            "float32",
            (0.0, 1.0),
            "how much: edit = (1 - paint) * source moved by flow + paint * colour, at any size after "
            "bilinear enlarging of the three" + (BOTH_WAYS if both_ways else ""),
        ),
    ]
