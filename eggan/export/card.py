"""What a file of a method says about itself, as texts by key, to be used without this software."""

import json
from pathlib import Path

from eggan import __version__
from eggan.aus import AU_NUMBERS, EXPRESSIONS
from eggan.edit.editing import RENDERED, Model
from eggan.export.edit_network import AUS, EditNetwork, Named
from eggan.faces.framing import EYE_DISTANCE, EYE_LINE
from eggan.files import hash_files

SHIPPED_LICENCE = "MIT, as the package eggan"
UNKNOWN_LICENCE = "not recorded: whoever trained these weights decides"


def card_of(model: Model, network: EditNetwork, weights: Path, licence: str, command: str) -> dict[str, str]:
    """Return the metadata; values other than texts are JSON. `weights` is the safetensors file."""
    read = {field.name for field in network.inputs}
    card = {
        "method": model.name,
        "software": f"eggan {__version__}",
        "command": command,
        "licence": licence,
        "weights_sha256": hash_files([weights]),
        "inputs": json.dumps({field.name: _described(field) for field in network.inputs}),
        "outputs": json.dumps({field.name: _described(field) for field in network.outputs}),
    }
    if model.trained_on:
        card["trained_on"] = model.trained_on
    if model.trained_on.startswith(RENDERED):
        card["framing"] = json.dumps(
            {
                "eye_line": EYE_LINE,
                "eye_distance": EYE_DISTANCE,
                "meaning": "where faces have their eyes: from the top, and from each other, level and "
                "centred, in parts of the side",
            }
        )
    if read & set(AUS):
        card["au_order"] = json.dumps([f"AU{number}" for number in AU_NUMBERS])
    if "target_expression" in read:
        card["expressions"] = json.dumps(EXPRESSIONS)
    return card


def _described(field: Named) -> dict[str, object]:
    return {
        "shape": ["batch", *field.shape],
        "type": field.kind,
        "range": field.range,
        "meaning": field.meaning,
    }
