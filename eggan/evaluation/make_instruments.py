"""From renders to a shipped instrument: data, training, held-out figures, card."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from eggan.config import from_dict, to_dict
from eggan.data.dataset import Dataset
from eggan.evaluation import held_out
from eggan.evaluation.instrument_cards import read_card
from eggan.evaluation.instrument_data import (
    DataRecipe,
    benchmark_split,
    dataset_hashes,
    in_memory,
    render,
)
from eggan.evaluation.instrument_weights import from_storage, to_storage
from eggan.evaluation.instruments import NETWORKS, load_au_estimator, load_verifier, save_instrument
from eggan.evaluation.train_instruments import Kind, Recipe, train_instrument
from eggan.progress import progress_bar

TITLES: dict[Kind, str] = {
    "au_a": "AU estimator a, residual CNN on standardised images",
    "au_b": "AU estimator b, MLP-mixer on a convolutional stem",
    "verifier": "face verifier, residual CNN with a large-margin cosine loss",
}
TOLERANCE = 2e-3  # figures of one instrument on one dataset differ by this much between machines at most
BENCHMARK_SEED = 0


def make_instrument(
    kind: Kind, recipe: Recipe, data: DataRecipe, seed: int, folder: Path, workers: int, out: Path | None
) -> dict[str, Any]:
    """Render, train, measure and save one instrument; return its card."""
    training = {plan.folder_name: render(plan, data.seed, folder, workers) for plan in data.training()}
    watch = watcher(kind, render(data.validation(), data.seed, folder, workers))
    network, record = train_instrument(kind, recipe, in_memory(list(training.values())), seed, watch)
    network = stored(kind, network)
    tests = held_out_data(kind, data, folder, workers)
    card = {
        "title": TITLES[kind],
        "network": type(network).__name__,
        "parameters": sum(parameter.numel() for parameter in network.parameters()),
        "seed": seed,
        "recipe": to_dict(recipe),
        "data_recipe": to_dict(data),
        "data": {"training": dataset_hashes(training), "held_out": dataset_hashes(tests)},
        "training": {**record, "torch": torch.__version__, "threads": torch.get_num_threads()},
        **measure(kind, network, tests),
    }
    return save_instrument(kind, network, card, out)


def watcher(kind: Kind, validation: Dataset) -> Callable[[int, float, nn.Module], None]:
    """Return a function that prints one line per epoch: loss, and a figure on validation identities."""
    rows = validation.rows("dense")

    def watch(epoch: int, loss: float, network: nn.Module) -> None:
        if kind == "verifier":
            figures = held_out.verifier_figures(network, validation, rows, 0.5)
            figure = f"equal-error rate {figures['equal_error_percent']:.2f} %"
        else:
            figure = f"PCC {held_out.au_figures(network, validation, rows)['mean_pcc']:.4f}"
        print(f"{kind} epoch {epoch + 1}: loss {loss:.4f}, validation {figure}", file=sys.stderr, flush=True)

    return watch


def held_out_data(kind: Kind, data: DataRecipe, folder: Path, workers: int) -> dict[str, Dataset]:
    """Return the datasets behind a card's figures, by the figure's name."""
    sets = {
        f"dense-{p.size}": render(p, data.seed, folder, workers) for p in data.held_out("instruments-test")
    }
    for size in (64, 128):
        sets[f"twin-test-{size}"] = benchmark_split("twin", size, BENCHMARK_SEED, folder, workers)
    if kind == "verifier":
        sets["threshold"] = render(data.threshold(), data.seed, folder, workers)
        sets["wide-64"] = benchmark_split("wide", 64, BENCHMARK_SEED, folder, workers)
    return sets


def measure(kind: Kind, network: nn.Module, sets: dict[str, Dataset]) -> dict[str, Any]:
    """Return the measured part of a card: `held_out` and, for the verifier, `threshold`."""
    result: dict[str, Any] = {}
    if kind == "verifier":
        fixing = sets["threshold"]
        result["threshold"] = held_out.fix_threshold(network, fixing, np.arange(len(fixing.manifest)))
    figures = {}
    for name, dataset in progress_bar(sets.items(), len(sets), f"measure {kind}", "dataset"):
        if name == "threshold":
            continue
        rows = dataset.rows(
            "test" if name.startswith("twin") else "wide" if name.startswith("wide") else "dense"
        )
        if kind == "verifier":
            figures[name] = held_out.verifier_figures(network, dataset, rows, result["threshold"]["cosine"])
        else:
            figures[name] = held_out.au_figures(network, dataset, rows)
    return {**result, "held_out": figures}


def stored(kind: Kind, network: nn.Module) -> nn.Module:
    """Return the network as it will be after a round trip through the file, rounding included."""
    return from_storage(NETWORKS[kind](), to_storage(network)).to(memory_format=torch.channels_last)


def check_instrument(kind: Kind, folder: Path, workers: int, renew: bool = False) -> list[str]:
    """Measure a shipped instrument again; return one line per figure that is not the card's.

    `renew` writes the new figures into the card: for weights that stay while reading or data change.
    """
    card = read_card(kind)
    data = from_dict(DataRecipe, card["data_recipe"], where=f"{kind}.json")
    sets = held_out_data(kind, data, folder, workers)
    lines = [
        f"{kind}: {name} is another dataset than the card's (renderer {sets[name].info['version']})"
        for name, facts in card["data"]["held_out"].items()
        if sets[name].content_hash != facts["content_hash"]
    ]
    loaded = load_verifier() if kind == "verifier" else load_au_estimator("a" if kind == "au_a" else "b")
    again = measure(kind, loaded.network, sets)
    if renew:
        data_hashes = {"training": card["data"]["training"], "held_out": dataset_hashes(sets)}
        save_instrument(kind, loaded.network, {**card, **again, "data": data_hashes})
    return lines + differing(kind, card["held_out"], again["held_out"])


def differing(where: str, written: Any, measured: Any) -> list[str]:
    """Return one line per number in `measured` that differs from `written` by more than the tolerance."""
    if isinstance(measured, dict):
        return [
            line
            for key, value in measured.items()
            for line in differing(f"{where}.{key}", written.get(key), value)
        ]
    if isinstance(measured, float) and isinstance(written, float | int):
        return (
            []
            if abs(measured - written) <= TOLERANCE
            else [f"{where}: card {written:g}, measured {measured:g}"]
        )
    return [] if measured == written else [f"{where}: card {written}, measured {measured}"]
