"""Frames of video files, by PyAV (FFmpeg's decoders)."""

from collections.abc import Collection, Iterator
from pathlib import Path

import numpy as np

from eggan.errors import UserError


def read_frames(path: Path, wanted: Collection[int]) -> dict[int, np.ndarray]:
    """Return the wanted frames, counted from 0, as uint8 (H, W, 3).

    Frames are decoded from the start: seeking in AVI files is not exact. A broken or empty video, or one that
    ends before a wanted frame, is a `UserError`.
    """
    found: dict[int, np.ndarray] = {}
    number = -1
    for number, frame in enumerate(_frames(path)):
        if number in wanted:
            found[number] = frame
        if len(found) == len(set(wanted)):
            return found
    if number < 0:
        raise UserError(f"{path} holds no frame")
    raise UserError(f"{path} has {number + 1} frames: there is no frame {max(wanted)}")


def _frames(path: Path) -> Iterator[np.ndarray]:
    try:
        import av
    except ImportError:
        raise UserError("reading videos needs PyAV: pip install 'eggan[video]'") from None
    if not path.is_file():
        raise UserError(f"no such video: {path}")
    try:
        with av.open(str(path)) as container:
            if not container.streams.video:
                raise UserError(f"{path} holds no video stream")
            for frame in container.decode(video=0):
                yield frame.to_ndarray(format="rgb24")
    except av.error.FFmpegError as error:
        raise UserError(f"{path} cannot be read as a video: {error.strerror or error}") from None
