"""Reading the checkpoints of the official implementations: key maps, and what is missing in a file.

Each `read_*` returns (config, weights) that the method's own `restore` takes. Official files are state
dictionaries of torch, some of them wrapped in a dictionary with the key `state_dict`; `module.` in front of
every key is what data-parallel training leaves.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from torch import Tensor, nn

from baselines.ganimation import ENTRY as GANIMATION
from baselines.ganimation import GANimationConfig, GANimationGenerator
from baselines.homointerpgan import ENTRY as HOMOINTERPGAN
from baselines.homointerpgan import Decoder, HomoInterpGANConfig, Interpolator
from baselines.lightcnn import build_network
from baselines.stargan import ENTRY as STARGAN
from baselines.stargan import StarGANConfig, StarGANGenerator
from baselines.vgg import VGGTrunk
from eggan.aus import AU_COUNT, EXPRESSIONS
from eggan.checkpoint import load_tensors
from eggan.errors import UserError

State = dict[str, Tensor]
NAMED = 3  # missing keys that a message spells out

# The official loader numbers RaFD's folders alphabetically; entry k is the official index of our domain k.
OFFICIAL_DOMAIN = tuple(sorted(EXPRESSIONS).index(name) for name in EXPRESSIONS)
RUNNING_STATISTICS = ("running_mean", "running_var", "num_batches_tracked")
VGG_PARTS = (
    ("1_1", "1_2", "2_1", "2_2", "3_1"),
    ("3_2", "3_3", "3_4", "4_1"),
    ("4_2", "4_3", "4_4", "5_1"),
)
# Groups and v by number of branches: expressions as one group, one by one, the released CelebA model.
BRANCHES: dict[int, tuple[tuple[int, ...], tuple[float, ...]]] = {
    2: ((8,), (1.0, 0.0)),
    9: ((1,) * 8, (1.0,) * 8 + (0.0,)),
    6: ((2, 5, 4, 3, 1), (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)),
}


def read_state(path: Path) -> State:
    """Return the tensors in an official file by their plain names; a defect is a `UserError`."""
    try:
        loaded = load_tensors(path, "cpu")
    except FileNotFoundError:
        raise UserError(f"no such file: {path}") from None
    except Exception:  # a damaged pickle raises anything; what torch advises then is unsafe
        raise UserError(
            f"{path} is not a torch checkpoint that loads safely: it is damaged, another kind of file, or "
            "holds more than tensors and plain values"
        ) from None
    if isinstance(loaded, Mapping) and isinstance(loaded.get("state_dict"), Mapping):
        loaded = loaded["state_dict"]
    tensors = isinstance(loaded, Mapping) and all(isinstance(value, Tensor) for value in loaded.values())
    if not tensors or not all(isinstance(key, str) for key in loaded):
        raise UserError(f"{path} is not a state dictionary: it holds other things than tensors")
    wrapped = bool(loaded) and all(key.startswith("module.") for key in loaded)
    return {key.removeprefix("module.") if wrapped else key: value for key, value in loaded.items()}


def take(
    state: State, network: nn.Module, official: Callable[[str], str], where: str, ignored: Sequence[str] = ()
) -> State:
    """Return the tensors of `network` by our names; `official` maps our key to theirs.

    Missing keys, unknown keys (but for those that end in `ignored`) and other shapes are a `UserError`.
    """
    wanted = {ours: official(ours) for ours in network.state_dict()}
    missing = [theirs for theirs in wanted.values() if theirs not in state]
    if missing:
        raise UserError(f"{where} lacks {_listed(missing)}")
    known = set(wanted.values())
    unknown = [key for key in state if key not in known and not key.endswith(tuple(ignored) or ("\0",))]
    if unknown:
        raise UserError(f"{where} holds unknown keys: {_listed(unknown)}")
    for ours, tensor in network.state_dict().items():
        found = state[wanted[ours]]
        if found.shape != tensor.shape:
            raise UserError(
                f"{where}: {wanted[ours]} has shape {tuple(found.shape)}, expected {tuple(tensor.shape)}"
            )
    return {ours: state[theirs] for ours, theirs in wanted.items()}


def read_stargan(paths: Sequence[Path]) -> tuple[StarGANConfig, State]:
    """Read an official generator (`<iteration>-G.ckpt`) trained on the eight expressions."""
    (path,) = _exactly(paths, 1, "stargan takes one file, <iteration>-G.ckpt")
    state, stem = read_state(path), "main.0.weight"
    domains = state[stem].shape[1] - 3 if stem in state and state[stem].dim() == 4 else len(EXPRESSIONS)
    if domains != len(EXPRESSIONS):
        raise UserError(
            f"{path} edits {domains} other attributes; StarGAN here needs the {len(EXPRESSIONS)} expressions"
        )
    network = StarGANGenerator(domains, 64, 6)
    weights = take(state, network, stargan_key, f"{path} (StarGAN generator)", RUNNING_STATISTICS)
    first = weights["trunk.0.weight"]
    order = [0, 1, 2, *(3 + index for index in OFFICIAL_DOMAIN)]
    weights["trunk.0.weight"] = first[:, order].contiguous()
    return STARGAN.presets["faithful"], _prefixed("generator", weights)


def read_ganimation(paths: Sequence[Path]) -> tuple[GANimationConfig, State]:
    """Read an official generator (`net_epoch_<n>_id_G.pth`)."""
    (path,) = _exactly(paths, 1, "ganimation takes one file, net_epoch_<n>_id_G.pth")
    network = GANimationGenerator(64, 6)
    state = read_state(path)
    weights = take(state, network, ganimation_key, f"{path} (GANimation generator)", RUNNING_STATISTICS)
    assert weights["trunk.0.weight"].shape[1] == 3 + AU_COUNT
    return GANIMATION.presets["faithful"], _prefixed("generator", weights)


def read_homointerpgan(paths: Sequence[Path]) -> tuple[HomoInterpGANConfig, State]:
    """Read encoder, interp_net and decoder (three files in any order, or a folder of them)."""
    files = [file for path in paths for file in (sorted(path.glob("*.pth")) if path.is_dir() else [path])]
    states = {path: read_state(path) for path in files}
    encoder = _find(states, "model.features_1.conv1_1.weight", "encoder")
    branches = _find(states, "branch.0.model.0.weight", "interp_net")
    decoder = _find(states, "model.40.weight", "decoder")
    count = len({key.split(".")[1] for key in states[branches] if key.startswith("branch.")})
    if count not in BRANCHES:
        raise UserError(f"{branches} has {count} branches; known are {', '.join(map(str, sorted(BRANCHES)))}")
    groups, strength = BRANCHES[count]
    config = replace(HOMOINTERPGAN.presets["paper"], groups=groups, strength=strength)
    parts = {
        "encoder": take(states[encoder], VGGTrunk(5, 1.0), vgg_key, f"{encoder} (encoder)"),
        "interpolator": take(
            states[branches], Interpolator(512, count), interpolator_key, f"{branches} (interp_net)"
        ),
        "decoder": take(states[decoder], Decoder(config), decoder_key, f"{decoder} (decoder)"),
    }
    return config, {f"{part}.{key}": value for part, state in parts.items() for key, value in state.items()}


def read_lightcnn(paths: Sequence[Path]) -> tuple[dict[str, str], State]:
    """Read a released LightCNN; its variant shows in its keys, its identity classifier `fc2` is dropped."""
    (path,) = _exactly(paths, 1, "lightcnn takes one file, LightCNN_<variant>_checkpoint.pth.tar")
    state = {key: value for key, value in read_state(path).items() if not key.startswith("fc2.")}
    sign = {"fc1.filter.weight": "9", "fc.weight": "29v2"}
    variant = next((name for key, name in sign.items() if key in state), "29")
    return {"variant": variant}, take(
        state, build_network(variant), lightcnn_key, f"{path} (LightCNN-{variant})"
    )


def stargan_key(ours: str) -> str:
    """Return the official name of a key of StarGAN's generator."""
    if ours.startswith("image."):
        return ours.replace("image.", "main.21.")
    return ours.replace(".body.", ".main.").replace("trunk.", "main.", 1)


def ganimation_key(ours: str) -> str:
    """Return the official name of a key of GANimation's generator; its `attetion_reg` is spelt so."""
    heads = {"colour.": "img_reg.0.", "mask.": "attetion_reg.0."}
    for head, theirs in heads.items():
        if ours.startswith(head):
            return theirs + ours.removeprefix(head)
    return stargan_key(ours)


def vgg_key(ours: str) -> str:
    """Return the official name of a key of HomoInterpGAN's encoder: convolutions by part and block."""
    _, index, leaf = ours.split(".")
    names = [(part, name) for part, part_names in enumerate(VGG_PARTS, 1) for name in part_names]
    part, name = names[int(index)]
    return f"model.features_{part}.conv{name}.{leaf}"


def interpolator_key(ours: str) -> str:
    """Return the official name of a key of HomoInterpGAN's interpolator."""
    _, branch, rest = ours.split(".", 2)
    return f"branch.{branch}.model.{rest}"


def decoder_key(ours: str) -> str:
    """Return the official name of a key of HomoInterpGAN's decoder."""
    return ours.replace("layers.", "model.", 1)


def lightcnn_key(ours: str) -> str:
    """Return the official name of a key of LightCNN: stages are counted from 1 in the attribute's name."""
    for mine, theirs in (("blocks.", "block"), ("groups.", "group")):
        if ours.startswith(mine):
            stage, rest = ours.removeprefix(mine).split(".", 1)
            return f"{theirs}{int(stage) + 1}.{rest}"
    return ours


def _exactly(paths: Sequence[Path], count: int, message: str) -> Sequence[Path]:
    if len(paths) != count:
        raise UserError(f"{message}; {len(paths)} were given")
    return paths


def _find(states: Mapping[Path, State], key: str, name: str) -> Path:
    """Return the file that holds `key`; none is a `UserError`."""
    for path, state in states.items():
        if key in state:
            return path
    looked = ", ".join(map(str, states)) or "no file"
    raise UserError(f"no {name} (a file with {key}) among {looked}: give encoder, interp_net and decoder")


def _listed(keys: Iterable[str]) -> str:
    names = list(keys)
    more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
    return ", ".join(names[:NAMED]) + more


def _prefixed(prefix: str, state: State) -> State:
    return {f"{prefix}.{key}": value for key, value in state.items()}
