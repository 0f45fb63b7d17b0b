"""What the campaign damages, and which of the program's own calls read it.

A subject writes one damaged input into an empty folder and reads it as the commands do: through
`eggan.cli.main` where a call is quick, else one layer below. Its docstring says which call that is.
"""

import copy
import io
import json
import os
import shutil
from collections.abc import Callable
from contextlib import redirect_stdout, suppress
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pillow_heif
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from safetensors.torch import load_file, save_file

from baselines.official import read_state
from benchmarks.suites.methods import installed_method
from benchmarks.suites.presets import resolve, trainable
from eggan.checkpoint import load_training_state, model_card
from eggan.cli import main
from eggan.config import from_dict
from eggan.data.dataset import load_dataset
from eggan.data.decoding import SUFFIXES
from eggan.data.labels.pyfeat import read_probabilities
from eggan.data.labels.read import read_labels
from eggan.data.photos.records import read_photo
from eggan.data.photos.split import read_split
from eggan.edit.editing import load_model
from eggan.edit.photo_file import load_photo_file
from eggan.method import BuildContext
from eggan.pictures import STILL, save_result
from eggan.training import Interrupted, TrainingConfig, TrainingFailed, train
from reports.suite.frame import read_frame
from reports.suite.merge import merge_frames
from studies.study_export import read_frame as read_study_frame
from tests.campaigns.mutations import JUNK, Random, damage_bytes, damage_json, damage_text
from tests.data.published import image_text, sequence_text, write_table

REFUSED = 2


class Refused(Exception):
    """The command line ended with status 2."""


def command(*words: object) -> None:
    """Run `eggan WORDS` in this process; status 2 is `Refused`, any other but 0 is an error."""
    with redirect_stdout(io.StringIO()):
        try:
            status = main([str(word) for word in words])
        except SystemExit as ended:
            status = int(ended.code or 0)
    if status == REFUSED:
        raise Refused
    if status:
        raise RuntimeError(f"status {status}")


def pick(options: Any, random: Random) -> Any:
    """Return one of `options`."""
    return options[int(random.integers(len(options)))]


class Subject:
    """One kind of input; `home` holds what `home.prepare` made once for all attempts."""

    share: float = 0  # of 100

    def __init__(self, home: Path) -> None:
        self.home = home

    def attempt(self, random: Random, place: Path) -> None:
        """Write a damaged input into `place` and read it."""
        raise NotImplementedError


class Images(Subject):
    """Pictures of every form that Pillow writes: `load_photo_file` and `save_result` (`eggan edit`),
    `read_photo` (`data build`), and in one of 200 `eggan edit` itself.
    """

    share = 50

    @cached_property
    def seeds(self) -> list[bytes]:
        """Small pictures in all forms and modes, with and without Exif, moving and still."""
        pillow_heif.register_heif_opener()
        Image.init()
        small = np.random.default_rng(0).integers(0, 256, (24, 20, 3), dtype=np.uint8)
        base, exif = Image.fromarray(small), Image.Exif()
        exif[0x0112], exif[0x010F] = 6, "camera"
        images = [
            base.convert(mode) for mode in ("RGB", "L", "P", "RGBA", "LA", "1", "CMYK", "YCbCr", "I", "F")
        ]
        images += [Image.fromarray(small[..., 0].astype(np.uint16) * 16)]
        options: list[dict[str, Any]] = [
            {}, {"exif": exif}, {"save_all": True, "append_images": [base.rotate(90), base]},
            {"compression": "tiff_lzw"}, {"compression": "jpeg"}, {"progressive": True}, {"lossless": True},
        ]  # fmt: skip
        found = []
        for kind in sorted(set(Image.SAVE) & set(Image.OPEN) - {"EPS"}):
            for image in images:
                for option in options if image.mode in ("RGB", "RGBA") else options[:2]:
                    stream = io.BytesIO()
                    with suppress(Exception):  # not every form has every mode
                        image.save(stream, format=kind, **option)
                        found.append(stream.getvalue())
        return list(dict.fromkeys(found))

    def attempt(self, random: Random, place: Path) -> None:
        """Damage one picture, or join two."""
        content = pick(self.seeds, random)
        if random.integers(12) == 0:
            other = pick(self.seeds, random)
            content = content[: random.integers(len(content))] + other[random.integers(len(other)) :]
        if random.integers(20):
            content = damage_bytes(content, random)
        path = place / f"x{pick(SUFFIXES, random)}"
        path.write_bytes(content)
        if random.integers(200) == 0:
            command("edit", path, "--checkpoint", self.home / "m", "--au", "12=4", "--neutral",
                    "-o", place / "out.png")  # fmt: skip
        elif random.integers(2):
            photo = load_photo_file(path)
            result = place / f"result{pick(list(STILL), random)}"
            save_result(photo.image, photo.pixels, result, photo.exif, photo.icc)
        else:
            read_photo(path)


class Tables(Subject):
    """Label tables, OpenFace's and py-feat's files, splits: `read_labels`, `read_probabilities`,
    `read_split`, and in one of 10 `eggan data compare-labels`.
    """

    share = 27

    @cached_property
    def seeds(self) -> list[str]:
        """One small file of every kind."""
        aus = np.random.default_rng(1).uniform(0, 5, (5, 17))
        files = [f"p{k}/{k}.jpg" for k in range(5)]
        told = {"identity": list("aabbc"), "split": ["train"] * 3 + ["val", "test"], "confidence": ["1"] * 5}
        path = write_table(self.home / "seed.csv", files, aus, told)
        plain = path.read_text().replace("\r\n", "\n")
        feat = "FaceScore,AU01,AU12,input,frame\n" + "".join(
            f"0.9,0.{k},0.5,{f},0\n" for k, f in enumerate(files)
        )
        split = "identity,split\na,train\nb,val\nc,test\n"
        return [plain, image_text(aus[0]), sequence_text([aus[0], None, aus[1]]), feat, split]

    def attempt(self, random: Random, place: Path) -> None:
        """Damage lines and words, or bytes."""
        seed = pick(self.seeds, random)
        path = place / pick(("a.csv", "a.CSV", "a.txt", "a.csv.gz"), random)
        damage = damage_text(seed, random) if random.integers(4) else damage_bytes(seed.encode(), random)
        path.write_bytes(damage)
        if random.integers(10) == 0:
            command("data", "compare-labels", self.home / "seed.csv", path)
        else:
            pick((read_labels, read_labels, read_probabilities, read_split), random)(path)


class Configs(Subject):
    """TOML of `eggan train --config`: `resolve`, which the command calls before anything else."""

    share = 8
    text = (
        "# settings\n[method]\nweight_au = 50.0\nlatent_dim = 16\nencoder_channels = [4, 4, 8, 8, 16]\n"
        'perceptual_on = "c_id"\n[training]\nbatch_size = 2\nimages = 4\nhorizontal_flip = true\n'
        'splits = ["train"]\nautocast = "off"\n'
    )

    def attempt(self, random: Random, place: Path) -> None:
        """Damage lines and words, or bytes."""
        path = place / pick(("c.toml", "c.json", "c"), random)
        damage = (
            damage_text(self.text, random) if random.integers(4) else damage_bytes(self.text.encode(), random)
        )
        path.write_bytes(damage)
        resolve(trainable("eggan"), "quick", path, ())


class Datasets(Subject):
    """Dataset folders: `eggan data info`, whose first call every command that takes a dataset makes."""

    share = 5

    def attempt(self, random: Random, place: Path) -> None:
        """Damage bytes of a file, values of the manifest or the head, or the images' type and shape."""
        folder = place / "tiny"
        shutil.copytree(self.home / "tiny", folder)
        pick((self._bytes, self._head, self._images, damage_manifest, damage_manifest), random)(
            folder, random
        )
        command("data", "info", folder)

    def _bytes(self, folder: Path, random: Random) -> None:
        path = folder / pick(("manifest.parquet", "images.npy", "dataset.json"), random)
        content = path.read_bytes()
        path.unlink()
        if random.integers(10):
            path.write_bytes(damage_bytes(content, random))

    def _head(self, folder: Path, random: Random) -> None:
        path = folder / "dataset.json"
        path.write_bytes(damage_json(path.read_text(), random))

    def _images(self, folder: Path, random: Random) -> None:
        images = np.load(folder / "images.npy")
        kinds: list[Callable[[], Any]] = [
            lambda: images.astype(pick(("float32", "uint16", "bool", "complex64", "U3", ">f8"), random)),
            lambda: images[: random.integers(9)],
            lambda: images[:, : random.integers(65)],
            lambda: images[..., pick(([0], [0, 1, 2, 0], 0, slice(0)), random)],
            lambda: images.reshape(-1), lambda: np.asfortranarray(images), lambda: np.float64(3),
            lambda: np.zeros(3, dtype=[("a", "u1")]),
        ]  # fmt: skip
        np.save(folder / "images.npy", pick(kinds, random)())


def damage_manifest(folder: Path, random: Random) -> None:
    """Change columns and rows of a manifest; what Parquet cannot hold stays as it was."""
    path = folder / "manifest.parquet"
    with suppress(pa.ArrowException, pa.ArrowNotImplementedError):
        damaged = damage_table(pq.read_table(path), random)
        pq.write_table(damaged, path.with_suffix(".new"))
        path.with_suffix(".new").replace(path)
    path.with_suffix(".new").unlink(missing_ok=True)


def damage_table(table: pa.Table, random: Random) -> pa.Table:
    """Return a table with other kinds of values, missing ones, doubles, nested ones, another head."""
    frame = table.to_pandas()
    if frame.empty:
        return table
    column = pick(list(frame.columns), random)
    row = int(random.integers(len(frame)))
    kind = random.integers(9)
    if kind == 0:
        table = table.append_column(column, table.column(pick(table.column_names, random)))
    elif kind == 1:
        table = table.drop_columns([column])
    elif kind == 2:
        order = random.integers(0, len(frame), int(random.integers(0, 12)))
        table = pa.Table.from_pandas(frame.iloc[order], preserve_index=bool(random.integers(2)))
    elif kind == 3:
        values = [pick(JUNK, random)] * len(frame)
        with suppress(pa.ArrowException, OverflowError, TypeError, UnicodeError):
            table = table.set_column(table.column_names.index(column), column, pa.array(values))
    elif kind == 4:
        values = frame[column].tolist()
        values[row] = pick((None, values[0], float("nan"), 7, -1, "x", "test"), random)
        with suppress(pa.ArrowException):
            table = table.set_column(table.column_names.index(column), column, pa.array(values))
    elif kind == 5:
        with suppress(ValueError, TypeError):
            frame[column] = frame[column].astype(
                pick(("category", "float16", "string", "Int64", "bool"), random)
            )
        with suppress(pa.ArrowException):
            table = pa.Table.from_pandas(frame)
    elif kind == 6:
        cells = [pa.array([[value]] * len(frame)) for value in ("x", 1.5)]
        table = table.set_column(table.column_names.index(column), column, pick(cells, random))
    elif kind == 7:
        table = table.rename_columns([pick((name, "", column), random) for name in table.column_names])
    else:
        junk = pick(
            (b"{", b"[]", b'{"columns": 3}', b'{"index_columns": ["nowhere"], "columns": []}'), random
        )
        table = table.replace_schema_metadata({b"pandas": junk})
    return table


class Folders(Subject):
    """Folders of photographs with a table: `eggan data build folder`."""

    share = 2
    names = ("a/1.png", "a/2.png", "b/1.png", "c/1.png", "d/1.png")

    def attempt(self, random: Random, place: Path) -> None:
        """Add, remove, link and damage entries; names and the table too."""
        root = place / "photos"
        aus = np.random.default_rng(2).uniform(0, 5, (5, 17))
        for name in self.names:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(self.home / "face.png", root / name)
        table = write_table(place / "au.csv", self.names, aus)
        for _ in range(random.integers(1, 5)):
            self._damage(root, random)
        if random.integers(3) == 0:
            table.write_bytes(damage_text(table.read_text(), random))
        more = [word for word in ("--allow-incomplete", "--dry-run") if random.integers(2)]
        command("data", "build", "folder", "--root", root, "--labels", table, "--size", "64",
                "--align", pick(("none", "centre"), random), "--out", place / "out", *more)  # fmt: skip

    def _damage(self, root: Path, random: Random) -> None:
        names = (b"\xff.png", "é.png".encode(), "e\u0301.png".encode(), b".hidden.png", b"@eaDir", b"A",
                 b"new\nline.png", b"a#1.png", b"x.heic", b"con", b"1.PNG", b"1.jpg", b"'",
                 b"b" * 200 + b".png")  # fmt: skip
        target = str(root / pick(("", "a", "b"), random) / os.fsdecode(pick(names, random)))
        with suppress(OSError, shutil.Error):
            kind = random.integers(7)
            if kind == 0:
                os.symlink(
                    pick((root, root / "a", root / "a" / "1.png", "nowhere", "/etc", "."), random), target
                )
            elif kind == 1:
                shutil.copy(self.home / "face.png", target)
            elif kind == 2:
                shutil.copytree(root / "a", target, symlinks=True)
            elif kind == 3:
                (root / pick(self.names, random)).unlink()
            elif kind == 4:
                os.rename(root / pick(self.names, random), target)
            elif kind == 5:
                path = root / pick(self.names, random)
                path.write_bytes(damage_bytes(path.read_bytes(), random))
            else:
                os.mkfifo(target) if random.integers(2) else os.mkdir(target)


class Checkpoints(Subject):
    """Weights and `config.json`: `load_model`, and in one of 20 `eggan edit`, which calls it."""

    share = 3

    def attempt(self, random: Random, place: Path) -> None:
        """Damage bytes, the head's values, or tensors: names, types, shapes."""
        folder = place / "m"
        folder.mkdir()
        for name in ("config.json", "weights.safetensors"):
            shutil.copy(self.home / "m" / name, folder / name)
        kind = random.integers(3)
        if kind == 0:
            path = folder / pick(("config.json", "weights.safetensors"), random)
            path.write_bytes(damage_bytes(path.read_bytes(), random))
        elif kind == 1:
            path = folder / "config.json"
            path.write_bytes(damage_json(path.read_text(), random))
        else:
            self._tensors(folder / "weights.safetensors", random)
        if random.integers(20) == 0:
            command("edit", self.home / "face.png", "--checkpoint", folder, "--au", "12=4", "--neutral",
                    "-o", place / "out.png")  # fmt: skip
        else:
            load_model(folder, installed_method, "cpu")

    def _tensors(self, path: Path, random: Random) -> None:
        tensors = load_file(path)
        for _ in range(random.integers(1, 4)):
            name = pick(list(tensors), random)
            tensor = tensors.pop(name)
            changes = (None, tensor.half(), tensor.int(), tensor.reshape(-1)[:1], tensor.reshape(-1),
                       tensor * torch.nan, tensor.double(), torch.zeros(0), tensor[None])  # fmt: skip
            changed = pick(changes, random)
            if changed is not None:
                tensors[pick((name, name, name + "x", ""), random)] = changed.contiguous()
            if not tensors:
                break
        save_file(tensors, path)


class States(Subject):
    """`training_state.pt`: `load_training_state`, and in one of 6 `train`, which goes on from it."""

    share = 1.5

    @cached_property
    def state(self) -> dict[str, Any]:
        """The state as it was saved."""
        return torch.load(self.home / "m" / "training_state.pt", weights_only=True)

    def attempt(self, random: Random, place: Path) -> None:
        """Damage bytes, or the saved values."""
        folder = place / "m"
        folder.mkdir()
        path = folder / "training_state.pt"
        if random.integers(2):
            path.write_bytes(damage_bytes((self.home / "m" / "training_state.pt").read_bytes(), random))
            load_training_state(folder, "cpu")
            return
        torch.save(damage_state(self.state, random), path)
        if random.integers(3):
            load_training_state(folder, "cpu")
        else:
            self._go_on(folder)

    def _go_on(self, folder: Path) -> None:
        from eggan.errors import UserError

        config = json.loads((self.home / "config.json").read_text())
        entry, data = trainable("eggan"), load_dataset(self.home / "tiny")
        method, training = (
            from_dict(entry.config, config["method"]),
            from_dict(TrainingConfig, config["training"]),
        )
        context = BuildContext(
            data, 0, torch.device("cpu"), self.home / "cache", lambda i, *_, **__: i, training.splits
        )
        card = model_card(entry.name, entry.version, method, data.size)
        try:
            train(entry.build(method, context), data, training, card, run_folder=folder, seed=0,
                  device=torch.device("cpu"), progress=lambda steps, **_: steps)  # fmt: skip
        except (Interrupted, TrainingFailed) as ended:  # the command turns both into one line
            raise UserError(str(ended)) from None


def damage_state(state: Any, random: Random) -> Any:
    """Return a state with a value changed at some depth; the marks that identify it mostly stay."""
    changed = copy.copy(state)
    if isinstance(changed, dict) and changed and random.integers(8):
        keys = [
            key for key in changed if key not in ("identity", "format_version") or random.integers(20) == 0
        ]
        if keys:
            key = pick(keys, random)
            if random.integers(12) == 0:
                changed.pop(key)
            else:
                changed[key] = damage_state(changed[key], random)
            return changed
    if isinstance(changed, list) and changed and random.integers(8):
        place = int(random.integers(len(changed)))
        changed[place] = damage_state(changed[place], random)
        return changed
    if isinstance(changed, torch.Tensor):
        return pick((changed.half(), changed.reshape(-1)[:1], changed.double(), changed[None], torch.zeros(0),
                     "tensor", None, changed.to(torch.int64)), random)  # fmt: skip
    return pick((None, 0, -1, 10**9, "x", [], {}, float("nan"), torch.zeros(2)), random)


class OfficialFiles(Subject):
    """Checkpoints in torch's formats of today and of 2019: `read_state` (`eggan import`)."""

    share = 2

    @cached_property
    def seeds(self) -> list[bytes]:
        """One state dictionary in both formats, bare and wrapped."""
        state = {"main.0.weight": torch.zeros(3, 4), "main.1.bias": torch.ones(5).half()}
        found = []
        for value in (state, {"state_dict": {f"module.{key}": v for key, v in state.items()}, "epoch": 3}):
            for new in (True, False):
                stream = io.BytesIO()
                torch.save(value, stream, _use_new_zipfile_serialization=new)
                found.append(stream.getvalue())
        return found

    def attempt(self, random: Random, place: Path) -> None:
        """Damage bytes."""
        path = place / pick(("200000-G.ckpt", "x.pth", "x.pth.tar", "x.safetensors"), random)
        path.write_bytes(damage_bytes(pick(self.seeds, random), random))
        read_state(path)


class Frames(Subject):
    """Exported frames of suites and studies: `reports.suite.frame.read_frame` and `merge_frames` (`report
    merge`, `report build --frame`), and `studies.study_export.read_frame` (`study report`).
    """

    share = 1.5

    def attempt(self, random: Random, place: Path) -> None:
        """Damage bytes, JSON, or a table's columns."""
        folder = place / "frame"
        study = bool(random.integers(2))
        shutil.copytree(self.home / ("study" if study else "frame"), folder)
        path = pick(sorted(p for p in folder.rglob("*") if p.is_file()), random)
        if path.suffix == ".json" and random.integers(3):
            path.write_bytes(damage_json(path.read_text(), random))
        elif path.suffix == ".parquet" and random.integers(2):
            path.replace(folder / "manifest.parquet")
            damage_manifest(folder, random)
            (folder / "manifest.parquet").replace(path)
        else:
            path.write_bytes(damage_bytes(path.read_bytes(), random))
        if study:
            read_study_frame(folder)
        else:
            merge_frames([read_frame(folder), read_frame(folder)])


SUBJECTS: tuple[type[Subject], ...] = (
    *(Images, Tables, Configs, Datasets, Folders, Checkpoints, States, OfficialFiles, Frames),
)
