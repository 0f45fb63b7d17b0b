"""EGGAN-W: edits a face by moving the source's own pixels. EGGAN's descendant, taught by true edits.

A U-Net reads the picture, its pixels folded to a grid of 32 x 32, and the target AUs in every block. It says
from where each pixel comes (`flow`), what to paint (`colour`) and where (`paint`):

    edit = (1 - paint) * warp(source, flow) + paint * colour

The source's AUs are not asked for: the network sees them. At the start the edit is the source. Flow, paint
and colour can be enlarged and composed at a photograph's own resolution (`eggan.edit.photograph`).

Training compares the edit with the true one (a dataset with groups, such as SynFACS' `crowd`): L1, gradient
L1, SSIM, weighted towards what changes, and features of a reader of AUs that learns beside, from the training
pictures and their labels alone. No adversary; nothing scores how an edit reads (docs/decisions/eggan-w.md).
"""

import itertools
import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eggan.aus import AU_COUNT, MAX_INTENSITY
from eggan.config import setting
from eggan.method import ON_A_GPU, Batch, BuildContext, EditRequest, MethodEntry, ReconstructionRequest
from eggan.networks import channels_last, parameter_count
from eggan.randomness import derive_seed
from eggan.trained_networks import (
    TrainedNetworks,
    adam,
    check_dataset,
    check_true_edits,
    muon,
    no_true_edits,
    restore_for_editing,
    weighted_total,
)

VERSION = 1
FLOW_UNIT = 1 / 32  # of half a picture: one pixel at 64 px
SLOPE = 0.1  # of the leaky rectifier

TERMS = ("pixels", "changed", "gradient", "ssim", "rough", "paint", "mixed", "features")
STATES = {"editor": "optimizer", "inner": "muon"}  # of the optimisers, in a training's state
Layer = TypeVar("Layer", bound=nn.Module)


@dataclass(frozen=True)
class DisturbConfig:
    """How far photographs may differ from renders; each is the largest value, most draws are smaller."""

    turn: float = setting(10.0, "ours: degrees of roll")
    scale: float = setting(0.12, "ours: relative size of the face")
    shift: float = setting(0.06, "ours: in picture widths")
    gain: float = setting(0.25, "ours: exposure and white balance, relative")
    offset: float = setting(0.15, "ours: black level, images in [-1, 1]")
    grey_share: float = setting(0.05, "ours: pictures without colour")
    blur: float = setting(0.8, "ours: share of the 3 x 3 mean")
    noise: float = setting(0.06, "ours: standard deviation, images in [-1, 1]")
    jpeg_share: float = setting(0.25, "ours: pictures with coarse 8 x 8 blocks")
    jpeg_step: float = setting(0.25, "ours: quantisation step of the block transform, images in [-1, 1]")
    occluder_share: float = setting(0.25, "ours: pictures with something in front of the face")
    bend: float = setting(0.0, "ours: smooth displacement, in picture widths: other proportions", later=True)
    stain: float = setting(0.0, "ours: colour of a source where the truth differs, of [-1, 1]", later=True)
    shade: float = setting(0.0, "ours: logarithm of a smooth change of the light", later=True)


@dataclass(frozen=True)
class WarpConfig:
    """EGGAN-W; the defaults are the preset `paper` without Muon, at the paper's image size."""

    image_size: int = setting(128, "paper, Sec. 4.1", least=1)
    # Network
    reduction: int = setting(4, "ours: pixels of a side in channels; 32 x 32 are left, for speed", least=1)
    channels: tuple[int, ...] = setting((40, 64, 96, 128), "ours: at 32, 16, 8 and 4 pixels", least=1)
    blocks: int = setting(2, "ours: residual blocks of each resolution, on the way down and up")
    detail_channels: int = setting(16, "ours: of the two layers at full resolution, for lids and lips")
    embedding: int = setting(128, "ours: width of the code of the target AUs", least=1)
    flow: bool = setting(True, "ours: False is the ablation that only paints")
    colour: bool = setting(True, "ours: False is the ablation that only moves")
    paint_start: float = setting(-1.5, "ours: logit of `paint` at the start, towards the warp")
    colour_on_moved: bool = setting(True, "ours: else its own, so nothing shines through", later=True)
    both_ways: bool = setting(False, "ours: an edit is the mean with that of the mirror image", later=True)
    # Losses
    weight_pixels: float = setting(1.0, "ours: L1 over the whole picture")
    weight_changed: float = setting(1.0, "ours: L1 where the truth differs from the source")
    weight_gradient: float = setting(1.0, "ours: gradient L1 there: edges of lids, lips and wrinkles")
    weight_ssim: float = setting(0.5, "ours")
    weight_rough: float = setting(0.01, "ours: neighbouring flow vectors differ little")
    weight_paint: float = setting(0.01, "ours: paint little, so that photographs keep their detail")
    weight_mixed: float = setting(0.0, "ours: against half-transparent paint", later=True)
    weight_features: float = setting(0.5, "ours: features of a reader of AUs, learnt beside; 0 does without")
    reader_channels: tuple[int, ...] = setting((32, 64, 96, 128, 128), "ours", least=1)
    change_full: float = setting(0.3, "ours: difference from which a pixel counts in full, of 2", least=1e-3)
    change_floor: float = setting(0.003, "ours: share of pixels below which a change counts less", least=1e-6)
    ssim_window: int = setting(7, "ours", least=1)
    # Disturbance of the pairs
    disturb_share: float = setting(0.5, "ours: of the steps; 0 is the ablation without it")
    disturb_after: int = setting(1000, "ours: steps on clean renders first")
    disturbance: DisturbConfig = field(default=DisturbConfig(), metadata={"source": "ours: its fields"})
    # Optimisation
    muon: bool = setting(False, "Jordan et al. 2024; of inner convolutions; the presets have it", later=True)
    learning_rate: float = setting(1e-3, "ours")
    warm_up_steps: int = setting(300, "ours: the learning rate rises linearly")
    beta1: float = setting(0.9, "Kingma and Ba 2015", below=1)
    beta2: float = setting(0.99, "ours", below=1)
    clip_norm: float = setting(1.0, "ours: of the gradient")
    ema_decay: float = setting(0.999, "ours: the average of the weights edits")

    def __post_init__(self) -> None:
        multiple = math.lcm(self.reduction * 2 ** (len(self.channels) - 1), 8)  # 8: the blocks of JPEG
        if self.image_size % multiple:
            raise ValueError(f"image_size is {self.image_size}; these channels need a multiple of {multiple}")
        if not (self.flow or self.colour):
            raise ValueError("flow and colour are both off: nothing would change")
        if self.detail_channels < 4:
            raise ValueError(
                f"detail_channels is {self.detail_channels}; three of them hold the warped picture"
            )
        if not 0 <= self.disturb_share <= 1:
            raise ValueError(f"disturb_share is {self.disturb_share}; it must be in [0, 1]")
        if not 0 <= self.ema_decay < 1:
            raise ValueError(f"ema_decay is {self.ema_decay}; it must be in [0, 1)")
        if self.ssim_window % 2 == 0:
            raise ValueError(f"ssim_window is {self.ssim_window}; it must be odd")
        if any(width % 8 for width in self.reader_channels):  # the groups of its norms
            raise ValueError(f"reader_channels is {self.reader_channels}; it needs multiples of 8")


@dataclass(frozen=True)
class Parts:
    """What a network says about an edit, at its own resolution; it can be composed at a larger one.

    `flow` (B, 2, H, W): from where a pixel comes, relative to its place, in half pictures (x, y); `moved`
    (B, 3, H, W) the source after it; `colour` (B, 3, H, W) in [-1, 1]; `paint` (B, 1, H, W) in [0, 1].
    """

    flow: Tensor
    moved: Tensor
    colour: Tensor
    paint: Tensor


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """Return images (B, 3, H, W) sampled at each pixel's place plus `flow` (B, 2, H, W), in half pictures.

    Bilinear; beyond the border its pixels are repeated. Always float32: bf16 has too few digits for places.
    """
    with torch.autocast(images.device.type, enabled=False):
        height, width = flow.shape[-2:]
        x = (torch.arange(width, device=flow.device, dtype=torch.float32) * 2 + 1) / width - 1
        y = (torch.arange(height, device=flow.device, dtype=torch.float32) * 2 + 1) / height - 1
        still = torch.stack([x.expand(height, width), y[:, None].expand(height, width)], dim=2)
        grid = still + flow.float().permute(0, 2, 3, 1)
        return F.grid_sample(images.float(), grid, padding_mode="border", align_corners=False)


def compose(parts: Parts) -> Tensor:
    """Return the edit (B, 3, H, W), about [-1, 1]."""
    return torch.lerp(parts.moved, parts.colour, parts.paint)


def zero(layer: Layer) -> Layer:
    """Set weights and biases of a layer to 0 and return it."""
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)
    return layer


class Block(nn.Module):
    """Two convolutions beside an identity; a code (B, E) scales and shifts what is between them (FiLM)."""

    def __init__(self, channels: int, embedding: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, channels, 3, 1, 1)
        self.film = nn.Linear(embedding, 2 * channels)
        self.second = zero(nn.Conv2d(channels, channels, 3, 1, 1))

    def forward(self, x: Tensor, code: Tensor) -> Tensor:
        """Return (B, C, H, W) for (B, C, H, W)."""
        gain, offset = self.film(code)[:, :, None, None].chunk(2, dim=1)
        inner = self.first(F.leaky_relu(x, SLOPE)) * (1 + gain) + offset
        return x + self.second(F.leaky_relu(inner, SLOPE))


class Finish(nn.Module):
    """Two layers at full resolution: features (B, C, H/r, W/r), moved (B, 3, H, W) -> colour and paint."""

    def __init__(self, config: WarpConfig) -> None:
        super().__init__()
        width, self.reduction = config.detail_channels, config.reduction
        self.on_moved = config.colour_on_moved
        self.features = nn.Conv2d(config.channels[0], self.reduction**2 * (width - 3), 3, 1, 1)
        self.detail = nn.Conv2d(width, width, 3, 1, 1)
        self.heads = zero(nn.Conv2d(width, 4, 3, 1, 1))
        assert self.heads.bias is not None
        nn.init.constant_(self.heads.bias[3:], config.paint_start)

    def forward(self, x: Tensor, moved: Tensor) -> tuple[Tensor, Tensor]:
        """Return colour, which starts as `moved` or as grey, and paint (B, 1, H, W).

        Colours are real ones, so that a change of much needs paint of much: a little paint of a colour beyond
        white would do at this resolution and leave the old detail of a larger photograph in sight.
        """
        fine = torch.cat([moved.to(x.dtype), F.pixel_shuffle(self.features(x), self.reduction)], dim=1)
        fine = fine.contiguous(memory_format=torch.channels_last)  # as the weights of `detail` lie
        fine = self.detail(F.leaky_relu(fine, SLOPE))
        heads = self.heads(F.leaky_relu(fine, SLOPE)).float()
        colour = moved + heads[:, :3] if self.on_moved else heads[:, :3]
        return colour.clamp(-1, 1), heads[:, 3:].sigmoid()


class Editor(nn.Module):
    """The network: pictures (B, 3, H, W) in [-1, 1] and target AUs (B, 17) in [0, 5] -> `Parts`."""

    def __init__(self, config: WarpConfig) -> None:
        super().__init__()
        self.config = config
        channels, width = config.channels, config.embedding
        self.targets = nn.Sequential(
            nn.Linear(AU_COUNT, width), nn.LeakyReLU(SLOPE), nn.Linear(width, width), nn.LeakyReLU(SLOPE)
        )
        self.stem = nn.Conv2d(3 * config.reduction**2, channels[0], 3, 1, 1)
        self.down = nn.ModuleList(self._blocks(c) for c in channels)
        self.shrink = nn.ModuleList(nn.Conv2d(a, b, 3, 2, 1) for a, b in itertools.pairwise(channels))
        self.seen = nn.Linear(channels[-1], width)
        self.widen = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in itertools.pairwise(channels))
        self.up = nn.ModuleList(self._blocks(c) for c in channels[:-1])
        self.flow = nn.Conv2d(channels[0], config.reduction**2 * 2, 3, 1, 1) if config.flow else None
        self.finish = Finish(config) if config.colour else None
        if self.flow is not None:
            zero(self.flow)

    def _blocks(self, channels: int) -> nn.ModuleList:
        return nn.ModuleList(Block(channels, self.config.embedding) for _ in range(self.config.blocks))

    def inner_weights(self) -> list[nn.Parameter]:
        """Return the weights of the convolutions that neither read nor write pictures."""
        parts = nn.ModuleList([self.down, self.shrink, self.widen, self.up])
        return [weight for weight in parts.parameters() if weight.ndim == 4]

    def forward(self, source: Tensor, aus: Tensor) -> Parts:
        """Return the parts of the edit."""
        code = self.targets(aus / MAX_INTENSITY)
        x = self.stem(F.pixel_unshuffle(source, self.config.reduction))
        skips = []
        for level, blocks in enumerate(self.down):
            for block in blocks:  # type: ignore[attr-defined]
                x = block(x, code)
            if level < len(self.shrink):
                skips.append(x)
                x = self.shrink[level](x)
        code = code + self.seen(x.mean((2, 3)))  # the way up knows what the whole face shows
        for level in reversed(range(len(self.up))):
            x = F.interpolate(self.widen[level](x), scale_factor=2.0) + skips[level]
            for block in self.up[level]:  # type: ignore[attr-defined]
                x = block(x, code)
        return self._parts(source, F.leaky_relu(x, SLOPE))

    def _parts(self, source: Tensor, x: Tensor) -> Parts:
        """Return the parts from features (B, C, H/r, W/r); what is painted depends on what was moved."""
        source = source.float()
        flow, moved = source.new_zeros(source[:, :2].shape), source
        if self.flow is not None:
            flow = FLOW_UNIT * F.pixel_shuffle(self.flow(x).float(), self.config.reduction)
            moved = warp(source, flow)
        if self.finish is None:
            return Parts(flow, moved, moved, source.new_zeros(source[:, :1].shape))
        return Parts(flow, moved, *self.finish(x, moved))


class Reader(nn.Module):
    """Reads AUs from pictures (B, 3, H, W) in [-1, 1]: the features of each layer, and (B, 17) AUs / 5.

    It learns on the training pictures and their own labels alone; no instrument shares anything with it.
    """

    def __init__(self, channels: tuple[int, ...]) -> None:
        super().__init__()
        pairs = itertools.pairwise((3, *channels))
        self.layers = nn.ModuleList(
            nn.Sequential(nn.Conv2d(a, b, 3, 2, 1), nn.GroupNorm(8, b), nn.LeakyReLU(SLOPE)) for a, b in pairs
        )
        self.aus = nn.Linear(channels[-1], AU_COUNT)

    def forward(self, images: Tensor) -> tuple[list[Tensor], Tensor]:
        """Return the features, finest first, and the reading."""
        features = []
        for layer in self.layers:
            convolution, norm, rectifier = layer.children()
            # float32 as autocast has it on a GPU: in bf16 a CPU takes three times as long
            images = rectifier(norm(convolution(images).float()))
            features.append(images)
        return features, self.aus(images.mean((2, 3)))


class Warps(TrainedNetworks):
    """A method that edits with the average of an `Editor`; `both_ways` as in its config."""

    both_ways = False

    @torch.no_grad()
    def edit(self, request: EditRequest) -> Tensor:
        """Return the edits (B, 3, H, W) in [-1, 1]."""
        return self.parts_and_edit(request.source, request.target_aus)[1]

    @torch.no_grad()
    def parts(self, source: Tensor, target_aus: Tensor) -> Parts:
        """Return what the edits of pictures (B, 3, H, W) of the network's own size move and paint."""
        return self.average["editor"](source, target_aus)

    @torch.no_grad()
    def reconstruct(self, request: ReconstructionRequest) -> Tensor:
        """Return the edit to the source's own AUs: (B, 3, H, W) in [-1, 1]."""
        return self.parts_and_edit(request.source, request.source_aus)[1]

    def parts_and_edit(self, source: Tensor, aus: Tensor) -> tuple[Parts, Tensor]:
        """Return the parts, and what is composed of them (and of the mirror images'), in [-1, 1]."""
        made = self.parts(source, aus)
        edit = compose(made)
        if self.both_ways:
            edit = (edit + compose(self.parts(source.flip(-1), aus)).flip(-1)) / 2
        return made, edit.clamp(-1, 1)


class EGGANW(Warps):
    """The method: one network that edits with an average of its weights, and a reader that learns beside."""

    def __init__(self, config: WarpConfig, seed: int, device: torch.device) -> None:
        self.config, self.both_ways = config, config.both_ways
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(derive_seed("eggan-w", "init", seed))
            self.editor = channels_last(Editor(config)).to(device)
            networks: dict[str, nn.Module] = {"editor": self.editor}
            if config.weight_features:
                Editor(config)  # version 1 draws two: without this draw the reader would start elsewhere
                networks["reader"] = channels_last(Reader(config.reader_channels)).to(device)
        self.reader = networks.get("reader")

        def optimizers() -> dict[str, torch.optim.Optimizer]:
            rate, betas = config.learning_rate, (config.beta1, config.beta2)
            inner = self.editor.inner_weights() if config.muon else []
            outer = [weight for weight in self.editor.parameters() if weight not in set(inner)]
            main = adam(nn.ModuleList(networks.values()), rate, betas, without=inner)
            # after the gradients of all processes came together
            main.register_step_pre_hook(lambda *_: self._clip_gradient(outer))
            return {"editor": main, "inner": muon(inner, rate)} if inner else {"editor": main}

        super().__init__("EGGAN-W", networks, optimizers, ("editor",), "shared", averaged=("editor",))

    def prepare(self, step: int) -> None:
        """Set the learning rate, which rises at first, and the decay of the average."""
        config = self.config
        warm = min(1.0, (step + 1) / max(1, config.warm_up_steps))
        for name in self.optimizers:
            self.set_rate(name, config.learning_rate * self.rate_factor * warm)
        self.set_decay(config.ema_decay, step)

    def kind_of_step(self, step: int) -> str:
        """Return `disturbed` or `clean`: evenly spread over the steps, by their number alone."""
        config = self.config
        if step < config.disturb_after:
            return "clean"
        disturbed = int((step + 1) * config.disturb_share) > int(step * config.disturb_share)
        return "disturbed" if disturbed else "clean"

    def take_step(self, batch: Batch, kind: str) -> dict[str, Tensor]:
        """One step on true edits; returns `loss/<term>` (raw), `weighted/<term>` and `loss/total`.

        A batch of a dataset without groups is a `UserError`.
        """
        if batch.true_edit is None or batch.true_edit_aus is None:
            raise no_true_edits("EGGAN-W")
        source, truth = batch.image, batch.true_edit
        if kind == "disturbed":
            from eggan.disturb import disturb  # an edit does without it

            source, truth = disturb(source, truth, batch.generator, self.config.disturbance)
        source = source.contiguous(memory_format=torch.channels_last)
        parts = self.editor(source, batch.true_edit_aus)
        terms = self.terms(source, truth, parts)
        if self.reader is not None:
            aus = torch.cat([batch.aus, batch.true_edit_aus])
            terms |= self._reader_terms(self.reader, torch.cat([source, truth]), aus, compose(parts))
        total, logged = weighted_total(terms, self.weights())
        self._descend(total)
        return {name: term.detach() for name, term in logged.items()}

    def terms(self, source: Tensor, truth: Tensor, parts: Parts) -> dict[str, Tensor]:
        """Return the unweighted losses of an edit of `source` whose true edit is `truth`."""
        from eggan import losses  # an edit does without them, and without the library of MS-SSIM

        config, edit = self.config, compose(parts)
        weight = losses.change_weight(source, truth, config.change_full)
        terms = {
            "pixels": losses.eq6_l1(edit, truth),
            "changed": losses.weighted_l1(edit, truth, weight, config.change_floor),
            "gradient": losses.weighted_gradient_l1(edit, truth, weight, config.change_floor),
            "ssim": losses.dissimilarity(edit, truth, config.ssim_window),
            "rough": losses.flow_roughness(parts.flow / FLOW_UNIT),
            "paint": parts.paint.mean(),
        }
        if config.weight_mixed:
            terms["mixed"] = losses.half_painted(parts.moved, parts.colour, parts.paint)
        return terms

    def weights(self) -> dict[str, float]:
        """Return the weight of each of `terms`."""
        own = {name: getattr(self.config, f"weight_{name}") for name in TERMS}
        return own | {"reader": 1.0}  # the reader's own loss reaches no other network

    def state(self) -> dict[str, Any]:
        """Return plain state, with Adam under `optimizer` and Muon, if any, under `muon`."""
        state = super().state()
        return state | {STATES[name]: value for name, value in state.pop("optimizers").items()}

    def load_state(self, state: Mapping[str, Any]) -> None:
        """Restore `state()`; a state of another version or shape is a `UserError`."""
        super().load_state({**state, "optimizers": {name: state.get(key) for name, key in STATES.items()}})

    def inference_weights(self) -> dict[str, Tensor]:
        """Return the averaged weights, which `edit` uses; there is one network, so its name is left out."""
        return {key.removeprefix("editor."): value for key, value in super().inference_weights().items()}

    def load_inference_weights(self, weights: Mapping[str, Tensor]) -> None:
        """Restore `inference_weights()`; other names or shapes are a `UserError`."""
        super().load_inference_weights({f"editor.{key}": value for key, value in weights.items()})

    def parameter_counts(self) -> dict[str, int]:
        """Return the number of trainable parameters of the U-Net and of the layers at full resolution."""
        fine = 0 if self.editor.finish is None else parameter_count(self.editor.finish)
        counts = {"u_net": parameter_count(self.editor) - fine, "finish": fine}
        return counts if self.reader is None else counts | {"reader": parameter_count(self.reader)}

    def _reader_terms(self, reader: nn.Module, real: Tensor, aus: Tensor, edit: Tensor) -> dict[str, Tensor]:
        """Return the reader's loss on real pictures, and how an edit misses the features of a truth."""
        from eggan import losses
        from eggan.distributed import mean_of_processes

        features, reading = reader(real)
        truth = [feature.detach().chunk(2)[1] for feature in features]
        reader.requires_grad_(False)  # the edit learns from the reader, not the reader from the edit
        seen, _ = reader(edit)
        reader.requires_grad_(True)
        own = F.mse_loss(reading.float(), aus / MAX_INTENSITY)
        magnitudes = mean_of_processes(losses.mean_magnitudes(truth))  # of the whole batch
        return {"features": losses.feature_l1(seen, truth, magnitudes), "reader": own}

    def _clip_gradient(self, weights: list[nn.Parameter]) -> None:
        nn.utils.clip_grad_norm_(weights, self.config.clip_norm)

    def _descend(self, loss: Tensor) -> None:
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        loss.backward()
        for optimizer in self.optimizers.values():
            optimizer.step()
        self.move_average()


def build(config: WarpConfig, context: BuildContext) -> EGGANW:
    """Return an EGGAN-W ready to train; a dataset of another size or without groups is a `UserError`."""
    dataset = context.dataset
    check_dataset("EGGAN-W", config.image_size, dataset, context.splits, labels=False)
    check_true_edits("EGGAN-W", dataset, context.splits)
    return EGGANW(config, context.seed, context.device)


def grow(weights: Mapping[str, Tensor], config: WarpConfig, larger: WarpConfig) -> Mapping[str, Tensor]:
    """Return the inference weights of `config` for `larger`: of twice the size, of more channels or both."""
    from eggan.growth import fitted  # an edit does without

    return fitted(weights, config, larger)


PAPER = WarpConfig(muon=True)
CPU = replace(PAPER, image_size=64, reduction=2)
ENTRY = MethodEntry(
    name="eggan-w",
    title="EGGAN-W",
    config=WarpConfig,
    presets={
        "paper": PAPER,
        "cpu": CPU,
        "wide": replace(CPU, channels=(64, 96, 128, 160)),
        "quick": replace(CPU, weight_features=0.0, disturb_share=0.0, ema_decay=0.995, warm_up_steps=100),
    },
    build=build,
    restore=partial(restore_for_editing, EGGANW),
    reads=("source", "target_aus"),
    version=VERSION,
    needs={"paper": ON_A_GPU},
    learns_from_true_edits=True,
    grow=grow,
)
