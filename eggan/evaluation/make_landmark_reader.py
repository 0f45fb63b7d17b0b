"""From rendered people to the shipped landmark reader: landmarks, fit, held-out figures, card."""

import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from eggan.config import from_dict, to_dict
from eggan.data.dataset import Dataset
from eggan.errors import UserError
from eggan.evaluation.held_out import outputs, reading_figures
from eggan.evaluation.instrument_data import benchmark_split, dataset_hashes
from eggan.evaluation.instrument_weights import from_storage, to_storage
from eggan.evaluation.instruments import save_instrument
from eggan.evaluation.landmark_data import PICTURES, VIEWS, LandmarkData, LandmarkTable, landmark_table
from eggan.evaluation.landmark_network import LandmarkRegression
from eggan.evaluation.landmark_reader import NAME, LandmarkReader, load_landmark_reader
from eggan.evaluation.make_instruments import BENCHMARK_SEED, differing
from eggan.evaluation.train_landmark_reader import LandmarkRecipe, fit

TITLE = "landmark reader, ridge regression on 468 landmarks"


def make_landmark_reader(
    recipe: LandmarkRecipe, data: LandmarkData, seed: int, folder: Path, workers: int, out: Path | None
) -> dict[str, Any]:
    """Render, fit, measure and save the landmark reader; return its card.

    Fewer pictures to learn from than components are a `UserError`.
    """
    if recipe.components >= data.people * PICTURES:
        raise UserError(
            f"{data.people} people are {data.people * PICTURES} pictures, too few for {recipe.components} "
            "components: draw more --identities, or --set components=N"
        )
    tables = {purpose: landmark_table(purpose, data, folder, workers) for purpose in data.populations}
    network, card = make_card(tables, recipe, data, seed, benchmark_sets(folder, workers))
    return save_instrument(NAME, network, card, out)


def check_landmark_reader(folder: Path, workers: int, renew: bool = False) -> list[str]:
    """Measure the shipped reader again; return one line per figure that is not the card's.

    `renew` writes the new figures into the card: for weights that stay while reading or data change.
    """
    reader = load_landmark_reader()
    data = from_dict(LandmarkData, reader.card["data_recipe"], where=f"{NAME}.json")
    table, sets = landmark_table("held_out", data, folder, workers), benchmark_sets(folder, workers)
    again = measure(reader, table, sets)
    if renew:
        hashes = reader.card["data"] | data_hashes({"held_out": table}, sets)
        save_instrument(NAME, reader.network, {**reader.card, "held_out": again, "data": hashes})
    written, found = reader.card["data"]["held_out"], data_hashes({"held_out": table}, sets)["held_out"]
    lines = [
        f"{NAME}: {name} is another dataset than the card's"
        for name in found
        if written[name]["content_hash"] != found[name]["content_hash"]
    ]
    return lines + differing(NAME, reader.card["held_out"], again)


def data_hashes(
    tables: dict[str, LandmarkTable], sets: dict[str, tuple[Dataset, np.ndarray]]
) -> dict[str, dict[str, Any]]:
    """Return what a card says of its data: purpose -> name -> content hash and size."""
    of_tables = {purpose: {"landmarks": table.described} for purpose, table in tables.items()}
    datasets = dataset_hashes({name: dataset for name, (dataset, _) in sets.items()})
    return of_tables | {"held_out": of_tables["held_out"] | datasets}


def benchmark_sets(folder: Path, workers: int) -> dict[str, tuple[Dataset, np.ndarray]]:
    """Return datasets that are read as scores read edits, from the pictures, with the rows of unseen people:
    the twin's test people at 64 px, on which a and b are measured too.
    """
    twin = benchmark_split("twin", 64, BENCHMARK_SEED, folder, workers)
    return {"twin-test-64": (twin, twin.rows("test"))}


def make_card(
    tables: dict[str, LandmarkTable],
    recipe: LandmarkRecipe,
    data: LandmarkData,
    seed: int,
    sets: dict[str, tuple[Dataset, np.ndarray]],
) -> tuple[LandmarkRegression, dict[str, Any]]:
    """Fit and measure; return the network as it is stored, and its card.

    `tables` by purpose, `sets` further datasets with the rows to measure on, by name.
    """
    started = time.process_time()
    network, record = fit(tables["training"], tables["validation"], recipe, seed)
    seconds = round(time.process_time() - started, 1)
    network = stored(network, recipe)
    card = {
        "title": TITLE,
        "network": type(network).__name__,
        "sizes": {"components": recipe.components, "features": recipe.features},
        "parameters": sum(value.numel() for value in network.buffers()),
        "seed": seed,
        "recipe": to_dict(recipe),
        "data_recipe": to_dict(data),
        "data": data_hashes(tables, sets),
        "training": {**record, "seconds": seconds, "torch": torch.__version__},
        "unreadable": record["unreadable"],
    }
    reader = LandmarkReader(NAME, "", card, network)
    return network, {**card, "held_out": measure(reader, tables["held_out"], sets)}


def measure(
    reader: LandmarkReader, table: LandmarkTable, sets: dict[str, tuple[Dataset, np.ndarray]]
) -> dict[str, Any]:
    """Return the reader's figures on each view of a table and on datasets."""
    figures = {}
    for position, view in enumerate(VIEWS):
        seen = table.rows(table.view == position)
        size = int(view.rpartition("-")[2])
        figures[view] = reading_figures(reader.read(seen.landmarks), seen.aus, seen.person, size)
    for name, (dataset, rows) in sets.items():
        reading, people = outputs(reader.predict, dataset, rows), dataset.manifest["identity"].iloc[rows]
        found = ~np.isnan(reading).all(axis=1)
        truth = dataset.aus(rows)[found]
        figures[name] = reading_figures(reading[found], truth, people.to_numpy()[found], dataset.size)
    return figures


def stored(network: LandmarkRegression, recipe: LandmarkRecipe) -> LandmarkRegression:
    """Return the network as it will be after a round trip through the file, rounding included."""
    again = LandmarkRegression(recipe.components, recipe.features)
    from_storage(again, to_storage(network))
    return again
