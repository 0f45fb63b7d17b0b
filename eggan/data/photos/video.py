"""Frames of video files, by PyAV (FFmpeg's decoders and encoders)."""

from collections.abc import Callable, Collection, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from eggan.errors import UserError
from eggan.files import write_atomically

UNKNOWN_RATE = Fraction(25)  # frames per second where a file tells none


def read_frames(path: Path, wanted: Collection[int]) -> dict[int, np.ndarray]:
    """Return the wanted frames, counted from 0, as uint8 (H, W, 3).

    Frames are decoded from the start: seeking in AVI files is not exact. A broken or empty video, or one that
    ends before a wanted frame, is a `UserError`.
    """
    found: dict[int, np.ndarray] = {}
    number = -1
    for number, frame in enumerate(_frames(path)):
        if number in wanted:
            found[number] = frame.to_ndarray(format="rgb24")
        if len(found) == len(set(wanted)):
            return found
    if number < 0:
        raise UserError(f"{path} holds no frame")
    raise UserError(f"{path} has {number + 1} frames: there is no frame {max(wanted)}")


def write_changed(source: Path, change: Callable[[np.ndarray], np.ndarray], target: Path) -> Path:
    """Write `source` with each frame changed, without loss, and return `target`.

    `change` maps uint8 (H, W, 3) to the same. The codec is FFV1 in AVI, which every FFmpeg reads. The file
    appears whole or not at all.
    """
    write_atomically(target, lambda staging: _write_changed(source, change, staging))
    return target


def _write_changed(source: Path, change: Callable[[np.ndarray], np.ndarray], target: Path) -> None:
    av = _library()
    with av.open(str(target), "w", format="avi") as container:
        stream = None
        for frame in _frames(source):
            image = np.ascontiguousarray(change(frame.to_ndarray(format="rgb24")))
            stream = stream or _lossless(container, image, _rate(source))
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, "rgb24").reformat(format="bgr0")))
        if stream is None:
            raise UserError(f"{source} holds no frame")
        container.mux(stream.encode(None))


def _lossless(container: Any, image: np.ndarray, rate: Fraction) -> Any:
    stream = container.add_stream("ffv1", rate=rate)
    stream.height, stream.width = image.shape[:2]
    stream.pix_fmt = "bgr0"
    return stream


def _rate(path: Path) -> Fraction:
    with _library().open(str(path)) as container:
        return container.streams.video[0].average_rate or UNKNOWN_RATE


def _frames(path: Path) -> Iterator[Any]:
    av = _library()
    if not path.is_file():
        raise UserError(f"no such video: {path}")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UserError(f"{path} holds no video stream")
            yield from container.decode(video=0)
    except av.error.FFmpegError as error:
        raise UserError(f"{path} cannot be read as a video: {error.strerror or error}") from None


def _library() -> Any:
    try:
        import av
    except ImportError:
        raise UserError("reading videos needs PyAV: pip install 'eggan[video]'") from None
    return av
