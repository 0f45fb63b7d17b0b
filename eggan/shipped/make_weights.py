"""`eggan weights train`: a recipe run anew in a folder; what is finished there is kept, the rest goes on."""

import os
import subprocess
from pathlib import Path
from typing import Any

import torch

from eggan.checkpoint import STATE_FILE, Checkpoint, load_checkpoint
from eggan.child_process import child_environment, python_command
from eggan.data.dataset import Dataset, load_dataset
from eggan.errors import UserError
from eggan.method import MethodEntry
from eggan.outputs import refuse_existing
from eggan.progress import working
from eggan.shipped.held_out import Pairs, editing, held_out_figures, validation_pairs
from eggan.shipped.recipes import DATA, FIGURES, Recipe, written
from eggan.shipped.weights import load_shipped, read_card, save_shipped, stored, unpacked
from eggan.tracking import read_record


def make_weights(name: str, recipe: Recipe, entry: MethodEntry, folder: Path, device: str) -> dict[str, Any]:
    """Run a recipe's commands, keep the best of its trainings as `name` in `folder`; return the card.

    A command that fails is a `UserError`, one that is stopped a KeyboardInterrupt: the next call goes on.
    """
    for made, words in recipe.commands(folder, device):
        if made == DATA or not is_finished(folder / made):
            resumes = made != DATA and (folder / made / STATE_FILE).is_file()
            run_command([*words, *(["--resume"] if resumes else [])])
    dataset = load_dataset(folder / DATA)
    pairs = validation_pairs(dataset)
    found: dict[str, tuple[Checkpoint, dict[str, Any]]] = {}
    for part in recipe.parts:
        with working(f"reading edits of {part.folder}"):
            checkpoint = load_checkpoint(folder / part.folder)
            found[part.folder] = checkpoint, figures_of(checkpoint, entry, recipe, pairs)
    errors = {made: error_of(figures, recipe) for made, (_, figures) in found.items()}
    best = min(errors, key=lambda made: errors[made])
    (_, data_words), *trainings = recipe.commands(Path("FOLDER"), device)
    card = {
        "anew_with": f"eggan weights train {name}",
        "recipe": [
            {"part": number, "command": written(words)} for number, (_, words) in enumerate(trainings, 1)
        ],
        "data": {"command": written(data_words), **data_record(dataset)},
        "selection": {
            "on": f"the validation people below; {FIGURES[recipe.chosen_by]}",
            "between": errors,
        },
        "held_out": found[best][1],
    }
    save_shipped(found[best][0], name, card, folder, recipe.storage)
    return read_card(name, folder)


def check_earlier(name: str, folder: Path) -> None:
    """Raise a `UserError` where `folder` is a file, or has files of the result's names of no earlier call."""
    if folder.is_file():
        raise UserError(f"{folder} is a file: move it away or choose another place")
    card, weights = f"{name}.json", f"{name}.safetensors"
    there = [file for file in (card, weights) if (folder / file).exists() or (folder / file).is_symlink()]
    if not there:
        return
    try:
        if there == [card]:  # a call was killed before it wrote the weights
            read_card(name, folder)
        else:
            load_shipped(name, folder)
    except UserError:
        refuse_existing(folder, there, "earlier call")


def is_finished(folder: Path) -> bool:
    """Return whether a training in `folder` has reached its end."""
    record = read_record(folder)
    return record is not None and record.state == "finished"


def run_command(words: list[str]) -> None:
    """Run `eggan` with these words in a process of its own."""
    status = subprocess.run(
        [*python_command("eggan"), *words], env=os.environ | child_environment(), check=False
    ).returncode
    if status == 130:
        raise KeyboardInterrupt
    if status:
        raise UserError(f"`eggan {' '.join(words[:2])}` ended with status {status}: see above")


def figures_of(checkpoint: Checkpoint, entry: MethodEntry, recipe: Recipe, pairs: Pairs) -> dict[str, Any]:
    """Return the held-out figures of a checkpoint as the file will hold it, rounding included."""
    rounded = Checkpoint(checkpoint.card, unpacked(stored(checkpoint.weights, recipe.storage)))
    method = entry.restored(rounded, torch.device("cpu"), where="config.json")
    return {"of": "the weights as stored", **held_out_figures(editing(method), pairs)}


def error_of(figures: dict[str, Any], recipe: Recipe) -> float:
    """Return that of the held-out figures which chooses among a recipe's trainings; less is better."""
    if recipe.chosen_by == "au_mse":
        return float(figures["estimator_a"]["edit"]["mse"])
    return float(figures["changed_l1"])


def data_record(dataset: Dataset) -> dict[str, Any]:
    """Return what a card says of the pictures behind weights."""
    rows = dataset.rows("train")
    return {
        "name": dataset.name,
        "content_hash": dataset.content_hash,
        "renderer_version": dataset.info["version"],
        "seed": dataset.info["seed"],
        "split": "train",
        "people": int(dataset.manifest["identity"].iloc[rows].nunique()),
        "pictures": len(rows),
    }
