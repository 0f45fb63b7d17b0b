"""The exploitation alarm: a method's own AU classifier may be fooled while nothing is to be seen.

On validation identities the method's own reading of its edits is compared with the instrument's.
"""

from collections.abc import Callable

import numpy as np
import torch

from benchmarks.protocol import Request, source_rows
from benchmarks.scores import AUEstimator, edit_batch
from eggan.data.dataset import Dataset, to_network_range, to_uint8
from eggan.method import Method
from eggan.randomness import numpy_generator

EDITS = 48
EXPLOITATION = "alarm/exploitation"  # 1 while the method reads its edits better than they are
ALARM_GAP = 0.5  # squared intensity units by which the instrument's error may exceed the method's own


def validation_request(dataset: Dataset, seed: int = 0) -> Request | None:
    """Return up to 48 edits of neutral validation images to training images' AUs; None without validation
    images.
    """
    training = dataset.rows("train")
    if not len(dataset.rows("val")) or not len(training):
        return None
    rows = source_rows(dataset, "val")
    generator = numpy_generator("alarm", seed)
    targets = generator.choice(training, EDITS)
    sources = np.resize(generator.permutation(rows), EDITS)
    return Request(dataset, sources, dataset.aus(targets), dataset.expressions(targets), dataset, targets)


def exploitation_probe(
    dataset: Dataset, estimator: AUEstimator, device: str, log: Callable[[int, dict[str, float]], None]
) -> Callable[[int, Method], None] | None:
    """Return an `on_probe` that logs mean squared AU errors on validation identities, or None without such
    images.

    `val/au_mse` is the instrument's reading; for a method that offers `read_aus(images)`, `val/au_mse_own`
    is the method's own, and `alarm/exploitation` is 1 when it is better by more than 0.5.
    """
    request = validation_request(dataset)
    if request is None:
        return None
    batch = edit_batch(request, slice(None), device)

    def probe(step: int, method: Method) -> None:
        with torch.no_grad():
            edits = to_network_range(to_uint8(method.edit(batch)))
            reading = estimator.predict(edits)
            read = ~reading.isnan().any(dim=1)  # OpenFace finds not every face
            if not read.any():
                return
            error = float((reading - batch.target_aus)[read].square().mean())
            values = {"val/au_mse": error}
            own_reader = getattr(method, "read_aus", None)
            if own_reader is not None:
                own = float((own_reader(edits).float() - batch.target_aus)[read].square().mean())
                values |= {"val/au_mse_own": own, EXPLOITATION: float(error - own > ALARM_GAP)}
        log(step, values)

    return probe
