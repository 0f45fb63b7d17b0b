"""What differs between pictures of one person besides AUs and gaze: pose, framing, light, sensor noise."""

from dataclasses import dataclass

import numpy as np

from eggan.randomness import numpy_generator


@dataclass(frozen=True)
class Nuisance:
    """What differs between pictures of one person besides AUs and gaze.

    Head turn in degrees; shift in picture widths; `scale` about 1; light angles in degrees, strength and
    warmth about 1; `exposure` about 1; `background` in [0, 1]; `noise_seed` of the sensor noise.
    """

    yaw: float = 0.0
    pitch: float = 0.0
    roll: float = 0.0
    shift_x: float = 0.0
    shift_y: float = 0.0
    scale: float = 1.0
    light_azimuth: float = 25.0
    light_height: float = 38.0
    light: float = 1.0
    warmth: float = 0.0
    exposure: float = 1.0
    background: float = 0.75
    noise_seed: int = 0


def draw_nuisance(*key: str | int) -> Nuisance:
    """Return the nuisance of one picture; equal keys give equal nuisance."""
    rng = numpy_generator("synfacs", "nuisance", *key)
    bounded = np.clip(rng.standard_normal(10), -2, 2) / 2  # in [-1, 1]
    return Nuisance(
        yaw=float(4.0 * bounded[0]),
        pitch=float(3.0 * bounded[1]),
        roll=float(2.0 * bounded[2]),
        shift_x=float(0.012 * bounded[3]),
        shift_y=float(0.012 * bounded[4]),
        scale=float(1 + 0.025 * bounded[5]),
        light_azimuth=float(rng.choice([-1, 1]) * rng.uniform(10, 38)),
        light_height=float(36 + 10 * bounded[6]),
        light=float(1 + 0.10 * bounded[7]),
        warmth=float(0.05 * bounded[8]),
        exposure=float(1 + 0.10 * bounded[9]),
        background=float(rng.uniform(0.62, 0.82)),
        noise_seed=int(rng.integers(2**31)),
    )
