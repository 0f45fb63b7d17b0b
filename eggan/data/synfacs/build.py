"""Render plans into datasets, and true edits of their rows, in parallel and the same for any worker count."""

import time
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from eggan.aus import AU_COLUMNS, check_au_vector
from eggan.data.dataset import Dataset, write_dataset
from eggan.data.synfacs.head import load_head
from eggan.data.synfacs.nuisance import draw_nuisance
from eggan.data.synfacs.picture import RENDERER_VERSION, render_group
from eggan.data.synfacs.plan import LABEL_TOOL, DatasetRequest, make_manifest, make_request, person
from eggan.data.synfacs.raster import rasterise
from eggan.data.workers import spread, worker_count
from eggan.errors import UserError
from eggan.files import check_writable, read_whole_json, restore_folder
from eggan.progress import Progress, progress_bar, working

CHUNK = 24  # pictures of one person per task: the person's shared parts are prepared once per task


@dataclass(frozen=True)
class Task:
    """Pictures of one person: `positions` in the output, `keys` of the nuisance, `gazes`, `aus` (n, 17)."""

    seed: int
    population: str
    index: int
    size: int
    positions: tuple[int, ...]
    keys: tuple[int, ...]
    gazes: tuple[str, ...]
    aus: np.ndarray


def build(
    split: str,
    size: int = 128,
    seed: int = 0,
    identities: int | None = None,
    images_per_identity: int | None = None,
    population: str | None = None,
    workers: int | None = None,
    out: Path | None = None,
    progress: bool = True,
) -> Path:
    """Build a split and return its folder; an equal one that is there already is kept."""
    request = make_request(split, size, seed, identities, images_per_identity, population)
    folder = Path(out) if out is not None else default_folder(request)
    parameters = request_parameters(request)
    if is_built(folder, parameters, seed):
        print(f"{folder} is already built")
        return folder
    check_writable(folder)
    with working("planning the pictures"):
        manifest = make_manifest(request)
        tasks = manifest_tasks(manifest, request.seed, size)
    compile_renderer(tasks)
    started = time.perf_counter()
    images = render_tasks(tasks, len(manifest), size, workers, progress)
    seconds = time.perf_counter() - started
    with working(f"writing {folder}"):
        write_dataset(
            folder, f"synfacs-{request.population}", manifest, images, seed, parameters, RENDERER_VERSION
        )
    rate = len(manifest) / seconds
    print(f"{folder}: {len(manifest)} images, {size} px, {seconds:.1f} s, {rate:.1f} images/s")
    return folder


def default_folder(request: DatasetRequest) -> Path:
    """Return where a build goes when the user names no place; every parameter that differs is in the name."""
    standard = make_request(request.split, request.size, request.seed)
    name = f"synfacs-{request.split}-{request.size}px-s{request.seed}"
    if request.population != standard.population:
        name += f"-{request.population}"
    if request.identities != standard.identities:
        name += f"-n{request.identities}"
    if request.images_per_identity != standard.images_per_identity:
        name += f"-m{request.images_per_identity}"
    return Path("data") / name


def request_parameters(request: DatasetRequest) -> dict[str, object]:
    """Return what goes into `dataset.json`: the request and what renders it."""
    return {
        **asdict(request),
        "renderer_version": RENDERER_VERSION,
        "geometry": load_head().source,
    }


def is_built(folder: Path, parameters: dict[str, object], seed: int) -> bool:
    """Tell whether `folder` holds exactly this dataset; one with other parameters is a `UserError`."""
    restore_folder(folder)
    if not folder.exists():
        return False
    info = read_whole_json(folder / "dataset.json")
    if not isinstance(info, dict):
        raise UserError(
            f"{folder} is there but is no dataset: move it away or choose another place with --out"
        )
    if info.get("parameters") == parameters and info.get("seed") == seed:
        return True
    raise UserError(
        f"{folder} holds a dataset with other parameters: remove it or choose another place with --out"
    )


def manifest_tasks(manifest: pd.DataFrame, seed: int, size: int) -> list[Task]:
    """Return the render tasks of a whole manifest."""
    return make_tasks(manifest, manifest[list(AU_COLUMNS)].to_numpy(np.float32), seed, size)


def make_tasks(manifest: pd.DataFrame, aus: np.ndarray, seed: int, size: int) -> list[Task]:
    """Return tasks for the rows of `manifest` with the given AUs (n, 17); position = order of the rows."""
    tasks = []
    numbered = manifest.reset_index(drop=True)
    for (population, _), group in numbered.groupby(["population", "identity_index"], sort=False):
        group = group.sort_values(["key", "gaze"], kind="stable")  # pictures that share a scene meet
        for start in range(0, len(group), CHUNK):
            part = group.iloc[start : start + CHUNK]
            positions = part.index.to_numpy()
            tasks.append(
                Task(
                    seed=seed,
                    population=str(population),
                    index=int(part["identity_index"].iloc[0]),
                    size=size,
                    positions=tuple(int(p) for p in positions),
                    keys=tuple(int(k) for k in part["key"]),
                    gazes=tuple(str(g) for g in part["gaze"]),
                    aus=aus[positions],
                )
            )
    return tasks


def render_task(task: Task) -> tuple[tuple[int, ...], np.ndarray]:
    """Render one task, pictures that differ in their AUs alone together; runs in a worker."""
    someone = person(task.seed, task.population, task.index)
    images = np.empty((len(task.positions), task.size, task.size, 3), np.uint8)
    groups: dict[tuple[int, str], list[int]] = {}
    for place, group in enumerate(zip(task.keys, task.gazes, strict=True)):
        groups.setdefault(group, []).append(place)
    for (key, gaze), places in groups.items():
        nuisance = draw_nuisance(task.seed, task.population, task.index, key)
        images[places] = render_group(someone, task.aus[places], nuisance, gaze, task.size)
    return task.positions, images


def render_tasks(tasks: list[Task], count: int, size: int, workers: int | None, progress: bool) -> np.ndarray:
    """Return the pictures uint8 (count, size, size, 3); `workers` changes nothing but the time."""
    images = np.zeros((count, size, size, 3), np.uint8)
    used = min(worker_count(workers), max(1, len(tasks)))
    results = spread(render_task, tasks, used)
    if not progress:
        collect(results, images, None)
        return images
    bar: Progress[None]
    with progress_bar(total=count, description="render", unit="image") as bar:
        collect(results, images, bar)
    return images


def compile_renderer(tasks: list[Task]) -> None:
    """Draw one small picture, so that workers find compiled code; seconds once per machine, then nothing."""
    if not tasks or rasterise.signatures:  # this process has it compiled
        return
    task = tasks[0]
    first = Task(
        task.seed,
        task.population,
        task.index,
        64,
        task.positions[:1],
        task.keys[:1],
        task.gazes[:1],
        task.aus[:1],
    )
    with working("compiling the renderer"):
        render_task(first)


def collect(
    results: Iterable[tuple[tuple[int, ...], np.ndarray]], images: np.ndarray, bar: Progress[None] | None
) -> None:
    """Put rendered pictures in their places."""
    for positions, pictures in results:
        images[list(positions)] = pictures
        if bar is not None:
            bar.update(len(positions))


def render_edit(dataset: Dataset, row: int, target_aus: np.ndarray) -> np.ndarray:
    """Return the true edit of a manifest row: same person, same nuisance, other AUs; uint8 (H, W, 3)."""
    return render_edits(dataset, np.array([row]), np.asarray(target_aus)[None], workers=1)[0]


def render_edits(
    dataset: Dataset,
    rows: np.ndarray,
    target_aus: np.ndarray,
    workers: int | None = 1,
    progress: bool = False,
) -> np.ndarray:
    """Return the true edits of many rows, uint8 (n, H, W, 3); `target_aus` (n, 17) in [0, 5].

    Equal AUs give the source pictures back, byte for byte, whatever the number of workers.
    """
    check_renderable(dataset)
    rows = np.asarray(rows)
    if rows.size and (rows.min() < 0 or rows.max() >= len(dataset.manifest)):
        raise UserError(f"{dataset.name} has rows 0..{len(dataset.manifest) - 1}")
    targets = (
        np.stack([check_au_vector(aus) for aus in target_aus])
        if len(rows)
        else np.zeros((0, len(AU_COLUMNS)))
    )
    if len(targets) != len(rows):
        raise ValueError(f"{len(rows)} rows but {len(targets)} target AU vectors")
    tasks = make_tasks(dataset.manifest.iloc[rows], targets, int(dataset.info["seed"]), dataset.size)
    compile_renderer(tasks)
    return render_tasks(tasks, len(rows), dataset.size, workers, progress)


def check_renderable(dataset: Dataset) -> None:
    """Refuse datasets that this renderer did not make: their edits would not match their pictures."""
    if (
        dataset.info.get("parameters", {}).get("renderer_version") != RENDERER_VERSION
        or not (dataset.manifest["label_tool"] == LABEL_TOOL).all()
    ):
        raise UserError(f"{dataset.folder} was not rendered by synfacs {RENDERER_VERSION}: build it again")
