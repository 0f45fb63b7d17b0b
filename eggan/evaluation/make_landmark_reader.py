"""From rendered people to the shipped landmark reader: landmarks, fit, held-out figures, card."""

import time
from typing import Any

import numpy as np
import torch

from eggan.config import to_dict
from eggan.data.dataset import Dataset
from eggan.evaluation.held_out import outputs, reading_figures
from eggan.evaluation.instruments import from_storage, to_storage
from eggan.evaluation.landmark_data import VIEWS, LandmarkData, LandmarkTable
from eggan.evaluation.landmark_network import LandmarkRegression
from eggan.evaluation.landmark_reader import NAME, LandmarkReader
from eggan.evaluation.train_landmark_reader import LandmarkRecipe, fit

TITLE = "landmark reader, ridge regression on 468 landmarks"


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
        "parameters": sum(value.numel() for value in network.buffers()),
        "seed": seed,
        "recipe": to_dict(recipe),
        "data_recipe": to_dict(data),
        "data": {purpose: table.described for purpose, table in tables.items()},
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
