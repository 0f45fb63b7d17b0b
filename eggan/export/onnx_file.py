"""Writing a method as one ONNX file, which onnxruntime has to answer as torch does before it gets its name.

The file ends in a metadata entry with the sha256 of all bytes before it: so a later export knows its own
file, and whoever has one knows that it is whole.
"""

import hashlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from eggan.errors import UserError, one_line
from eggan.files import write_atomically
from eggan.progress import working

if TYPE_CHECKING:  # the packages of the extra `export` are imported once they are known to be there
    import onnx

    from eggan.export.edit_network import EditNetwork

OPSET = 20
PACKAGES = ("onnx", "onnxscript", "onnxruntime")
TOLERANCE = 1e-4
CHECKED_BATCHES = (1, 3)
TRACED_BATCH = 2  # 0 and 1 are special to torch.export
SEAL = "eggan-sha256"


def check_packages() -> None:
    """Raise a `UserError` where the extra `export` is not installed."""
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise UserError(f"{missing[0]} is not installed: pip install 'eggan[export]'")


def write_onnx(network: "EditNetwork", card: Mapping[str, str], title: str, path: Path) -> float:
    """Write the file and return the largest difference to torch; one above `TOLERANCE` is a `UserError`.

    `card` goes into the file's metadata. `path` gets a file that has been checked, or is left as it was.
    """
    with working(f"writing {title} as ONNX"):
        model = _model_of(network, title)
    for key, value in card.items():
        model.metadata_props.add(key=key, value=value)
    body = model.SerializeToString(deterministic=True)
    differences = []

    def write_and_check(staged: Path) -> None:
        staged.write_bytes(_sealed(body))
        with working("comparing the file with torch in onnxruntime"):
            differences.append(largest_difference(network, staged, title))

    write_atomically(path, write_and_check)
    return differences[0]


def is_own_file(path: Path) -> bool:
    """Return whether a file is one that `write_onnx` wrote, unchanged."""
    try:
        content = path.read_bytes()
    except OSError:
        return False
    return content == _sealed(content[: -len(_seal_of(b""))])


def _sealed(body: bytes) -> bytes:
    return body + _seal_of(body)


def _seal_of(body: bytes) -> bytes:
    """Return a model of nothing but a hash: behind `body` it reads as one more entry of the metadata."""
    import onnx

    seal = onnx.ModelProto()
    seal.metadata_props.add(key=SEAL, value=hashlib.sha256(body).hexdigest())
    return seal.SerializeToString()


def _model_of(network: "EditNetwork", title: str) -> "onnx.ModelProto":
    batch = torch.export.Dim("batch", min=1)
    given = network.sample(TRACED_BATCH)
    shapes = (tuple({0: batch} for _ in given),)
    try:
        with _quiet(), _without_stack_traces():
            program = torch.export.export(network, given, dynamic_shapes=shapes, strict=False)
            written = torch.onnx.export(
                program,
                dynamo=True,
                dynamic_shapes=shapes,
                opset_version=OPSET,
                input_names=[field.name for field in network.inputs],
                output_names=[field.name for field in network.outputs],
                verbose=False,
            )
            assert written is not None
            model = written.model_proto
    except Exception as error:  # torch raises anything where it cannot follow a method
        raise UserError(f"{title} cannot be written as ONNX: {one_line(error)}") from None
    return _without_traces(model)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what torch's exporter says of its own steps to itself."""
    with warnings.catch_warnings(), redirect_stdout(io.StringIO()), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


@contextmanager
def _without_stack_traces() -> Iterator[None]:
    """Spare noting the line of every step, a tenth of the time: the notes are removed in any case."""
    before = torch.fx.config.do_not_emit_stack_traces
    torch.fx.config.do_not_emit_stack_traces = True
    try:
        yield
    finally:
        torch.fx.config.do_not_emit_stack_traces = before


def _without_traces(model: "onnx.ModelProto") -> "onnx.ModelProto":
    """Remove the exporter's notes: they hold the paths of this machine."""
    graphs: list[Any] = [model.graph, *model.functions]
    del model.metadata_props[:]
    for graph in graphs:
        for part in (graph, *graph.node, *graph.value_info):
            del part.metadata_props[:]
            part.doc_string = ""
    for part in (*model.graph.input, *model.graph.output, *model.graph.initializer):
        del part.metadata_props[:]
        part.doc_string = ""
    return model


def largest_difference(network: "EditNetwork", path: Path, title: str) -> float:
    """Return how far onnxruntime's answers are from torch's, at each of `CHECKED_BATCHES`.

    A file that is not valid, does not run at these batches, or is further away than `TOLERANCE` is a
    `UserError`.
    """
    import onnx
    import onnxruntime

    largest = 0.0
    try:
        onnx.checker.check_model(str(path), full_check=True)
        session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
        for count in CHECKED_BATCHES:
            given = network.sample(count)
            names = [field.name for field in network.inputs]
            answers = session.run(
                None, {name: tensor.numpy() for name, tensor in zip(names, given, strict=True)}
            )
            wanted = [tensor.numpy() for tensor in network(*given)]
            # numpy's maximum keeps NaN, Python's may lose it
            largest = float(np.max([largest, *map(_difference, answers, wanted)]))
    except Exception as error:  # onnxruntime has a class of its own for each kind of failure
        raise UserError(f"{title} cannot be written as ONNX: {one_line(error)}") from None
    if not largest <= TOLERANCE:
        raise UserError(f"{title} cannot be written as ONNX: the file differs from torch by {largest:.2g}")
    return largest


def _difference(answer: np.ndarray, wanted: np.ndarray) -> float:
    if answer.shape != wanted.shape:
        raise ValueError(f"a result has shape {answer.shape}, not {wanted.shape}")
    return float(np.abs(answer - wanted).max())
