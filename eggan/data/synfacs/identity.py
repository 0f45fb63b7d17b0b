"""Who is in the picture: a person is a pure function of (seed, population, index).

Populations ("twin", "wide", "dense", ...) are disjoint by construction, because their names enter the key of
every random draw. An `Identity` holds everything that stays the same over the pictures of one person: shape,
skin, hair, clothes, and the personal style of showing expressions.
"""

from dataclasses import dataclass

import numpy as np

from eggan.aus import AU_COUNT, AU_NUMBERS
from eggan.data.synfacs.actions import BILATERAL
from eggan.randomness import numpy_generator

Colour = tuple[float, float, float]  # linear RGB in [0, 1]

SHAPE_SPREAD = 0.24  # standard deviation of local changes; 0.4 gives monsters
PAIR_SPREAD = 0.04  # how far a left change may leave its right twin
STILL = (
    "neck-double",
    "neck-trans",
    "neck-scale",
    "measure-neck",
    "neck-back",
    "head-age",
    "head-trans",
    "head-angle",
)
GENTLE = (
    "mouth-scale",
    "mouth-trans",
    "eye-trans",
    "eye-scale",
    "nose-trans",
    "head-",
    "eye-push",
    "eye-corner",
    "eyebrows",
)
HAIR_COLOURS: dict[str, Colour] = {
    "black": (0.018, 0.014, 0.012),
    "dark brown": (0.035, 0.020, 0.012),
    "brown": (0.085, 0.045, 0.022),
    "light brown": (0.17, 0.10, 0.05),
    "blond": (0.38, 0.26, 0.12),
    "red": (0.24, 0.07, 0.02),
}
IRIS_COLOURS: dict[str, Colour] = {
    "dark": (0.05, 0.024, 0.012),
    "brown": (0.13, 0.058, 0.022),
    "hazel": (0.19, 0.12, 0.045),
    "green": (0.13, 0.20, 0.10),
    "blue": (0.13, 0.24, 0.38),
    "grey": (0.22, 0.27, 0.30),
}
# the template looks sullen, thick-lipped and stern for an average person
TEMPLATE_REPAIR = {
    "mouth-angles-up": 0.25,
    "mouth-lowerlip-volume-incr": -0.15,
    "mouth-scale-horiz-incr": 0.12,
}
SKIN_LIGHT = np.array([0.78, 0.54, 0.44])
SKIN_DARK = np.array([0.105, 0.052, 0.032])
MALE_HAIR = ("buzz", "short", "side part", "textured", "curly", "receding", "bald", "swept", "fringe", "afro")
FEMALE_HAIR = ("long", "bob", "bun", "fringe bob", "wavy", "curly long", "short", "afro", "side long")


@dataclass(frozen=True)
class Hair:
    """Head hair: `style` names the cut, `colour` is linear RGB, the rest scales it (1 is usual)."""

    style: str
    colour: Colour
    volume: float
    length: float
    hairline: float
    part: float


@dataclass(frozen=True)
class Paint:
    """What the skin looks like: melanin 0..1, redness, freckles, wrinkles, stubble, beard, ... all 0..1."""

    melanin: float
    skin: Colour
    redness: float
    freckles: float
    wrinkles: float
    roughness: float
    gloss: float
    stubble: float
    beard: str
    beard_colour: Colour
    lips: Colour
    brow_thickness: float
    brow_angle: float
    brow_density: float
    brow_colour: Colour
    brow_height: float
    eye_shadow: float
    under_eye: float
    texture_seed: int


@dataclass(frozen=True)
class Clothes:
    """Garment: `neckline` names the cut, `colour` linear RGB, `pattern` in plain, stripes, knit."""

    neckline: str
    colour: Colour
    pattern: str


@dataclass(frozen=True)
class Identity:
    """One person. `strength` and `asymmetry` (17,) are the personal style; see `actions.left_right`."""

    seed: int
    population: str
    index: int
    female: bool
    age: float
    phenotypes: tuple[tuple[str, float], ...]
    local_changes: tuple[tuple[str, float], ...]
    hair: Hair
    paint: Paint
    clothes: Clothes
    iris: Colour
    iris_size: float
    resting_lids: float
    strength: tuple[float, ...]
    asymmetry: tuple[float, ...]

    @property
    def name(self) -> str:
        """The manifest's name of the person, such as `twin-0007`."""
        return f"{self.population}-{self.index:04d}"


def make_identity(seed: int, population: str, index: int, local_labels: tuple[str, ...]) -> Identity:
    """Return the person number `index` of a population; `local_labels` are those of the head model."""
    rng = numpy_generator("synfacs", "identity", seed, population, index)
    offset = numpy_generator("synfacs", "cuts", seed, population).random()
    # sexes and origins take turns, so that every population is balanced from the first people on
    female = bool((index + index // 6) % 2)
    origin = (index + index // 3) % 3
    age = float(np.clip(18 + 57 * rng.beta(1.1, 1.9), 18, 75))
    origins = rng.dirichlet(np.eye(3)[origin] * 6.0 + 0.35)
    melanin = draw_melanin(rng, origins)
    hair_colour = draw_hair_colour(rng, melanin, origins, age)
    return Identity(
        seed=seed,
        population=population,
        index=index,
        female=female,
        age=age,
        phenotypes=draw_phenotypes(rng, female, age, origins),
        local_changes=draw_local_changes(rng, local_labels, age),
        hair=draw_hair(rng, (offset + index * 0.6180339887) % 1.0, female, age, origins, hair_colour),
        paint=draw_paint(rng, female, age, melanin, hair_colour),
        clothes=draw_clothes(rng, female),
        iris=draw_iris(rng, melanin),
        iris_size=float(rng.uniform(0.95, 1.08)),
        resting_lids=float(np.clip(rng.normal(0.07, 0.05), 0.0, 0.2)),
        strength=tuple(float(x) for x in np.clip(rng.normal(1.0, 0.2, AU_COUNT), 0.55, 1.4)),
        asymmetry=draw_asymmetry(rng),
    )


def draw_melanin(rng: np.random.Generator, origins: np.ndarray) -> float:
    """Return how dark the skin is, 0..1, from the (african, asian, caucasian) weights."""
    return float(np.clip(origins @ np.array([0.76, 0.30, 0.13]) + rng.normal(0, 0.085), 0.09, 0.95))


def draw_phenotypes(
    rng: np.random.Generator, female: bool, age: float, origins: np.ndarray
) -> tuple[tuple[str, float], ...]:
    """Return the phenotype values of the head model; its age runs from 2/3 (25 years) to 1 (90)."""
    gender = rng.uniform(0.0, 0.16) if female else rng.uniform(0.82, 1.0)
    values = {
        "gender": gender,
        "age": float(np.interp(age, [18, 25, 90], [0.63, 0.667, 1.0])),
        "muscle": rng.uniform(0.3, 0.75),
        "weight": np.clip(rng.normal(0.52, 0.18), 0.15, 0.95),
        "african": origins[0],
        "asian": origins[1],
        "caucasian": origins[2],
    }
    return tuple((name, float(value)) for name, value in values.items())


def draw_local_changes(
    rng: np.random.Generator, labels: tuple[str, ...], age: float
) -> tuple[tuple[str, float], ...]:
    """Return (label, value) pairs; a right change follows its left twin closely."""
    values: dict[str, float] = {}
    for label in labels:
        if any(still in label for still in STILL):
            continue
        spread = SHAPE_SPREAD * (0.65 if any(part in label for part in GENTLE) else 1.0)
        if label.startswith("r-"):
            values[label] = values["l-" + label[2:]] + float(rng.normal(0, PAIR_SPREAD))
        else:
            values[label] = float(np.clip(rng.normal(0, spread), -0.6, 0.6))
    for label, shift in TEMPLATE_REPAIR.items():
        values[label] += shift
    values["head-age-incr"] = float(np.clip((age - 35) / 60, 0, 0.6))
    return tuple((label, float(np.clip(value, -0.65, 0.65))) for label, value in values.items())


def draw_hair_colour(rng: np.random.Generator, melanin: float, origins: np.ndarray, age: float) -> Colour:
    """Return the hair colour; dark where the skin is dark, greyer with age."""
    if origins[2] > 0.5 and melanin < 0.32:
        odds = {
            "black": 0.1,
            "dark brown": 0.24,
            "brown": 0.24,
            "light brown": 0.17,
            "blond": 0.17,
            "red": 0.08,
        }
    else:
        odds = {"black": 0.62, "dark brown": 0.32, "brown": 0.06}
    colour = np.array(HAIR_COLOURS[str(rng.choice(list(odds), p=list(odds.values())))])
    colour = colour * rng.uniform(0.8, 1.25)
    grey = np.clip((age - rng.uniform(38, 62)) / 18, 0, 1) * rng.uniform(0.6, 1.0)
    mixed = colour * (1 - grey) + np.array([0.42, 0.42, 0.43]) * rng.uniform(0.75, 1.2) * grey
    return to_colour(mixed)


def draw_hair(
    rng: np.random.Generator, quantile: float, female: bool, age: float, origins: np.ndarray, colour: Colour
) -> Hair:
    """Return the cut; curls and afros go with the origin, bald and receding heads with age.

    `quantile` in [0, 1) picks the style; it is spread evenly over a population, so that cuts vary at once.
    """
    styles = list(FEMALE_HAIR if female else MALE_HAIR)
    weights = np.ones(len(styles))
    for position, style in enumerate(styles):
        if style == "afro":
            weights[position] = 3.0 * origins[0]
        if style in ("curly", "curly long"):
            weights[position] = 0.4 + 1.6 * origins[0]
        if style in ("receding", "bald"):
            weights[position] = 0.25 + max(0.0, (age - 32) / 16)
        if style in ("long", "side long", "bob", "fringe bob", "wavy", "swept", "side part"):
            weights[position] = 1.3 - 1.1 * origins[0]
    style = styles[int(np.searchsorted(np.cumsum(weights / weights.sum()), quantile, side="right"))]
    return Hair(
        style=style,
        colour=colour,
        volume=float(rng.uniform(0.75, 1.3)),
        length=float(rng.uniform(0.75, 1.25)),
        hairline=float(rng.normal(0, 0.006)),
        part=float(rng.choice([-1.0, 1.0]) * rng.uniform(0.5, 1.0)),
    )


def draw_paint(rng: np.random.Generator, female: bool, age: float, melanin: float, hair: Colour) -> Paint:
    """Return the skin; colours are linear RGB."""
    tone = np.exp((1 - melanin) * np.log(SKIN_LIGHT) + melanin * np.log(SKIN_DARK))
    tone = tone * (1.0 + np.sin(np.pi * melanin) * np.array([0.14, 0.03, -0.10]))  # middle tones are golden
    tone = tone * np.exp(rng.normal(0, [0.04, 0.03, 0.06]))
    beard = "none"
    if not female:
        beard = str(
            rng.choice(["none", "full", "goatee", "moustache", "short"], p=[0.58, 0.12, 0.08, 0.07, 0.15])
        )
    lips = tone * np.array([0.84, 0.44, 0.50]) * rng.uniform(0.85, 1.05)
    if female and rng.random() < 0.4:  # lipstick
        lips = lips * 0.45 + np.array([0.42, 0.06, 0.09]) * rng.uniform(0.5, 1.0) * (1.0 - 0.5 * melanin)
    brow = np.minimum(np.array(hair) * 0.8, tone * 0.42)
    return Paint(
        melanin=melanin,
        skin=to_colour(tone),
        redness=float(rng.uniform(0.2, 1.0)),
        freckles=float(rng.uniform(0.4, 1.0)) if melanin < 0.3 and rng.random() < 0.28 else 0.0,
        wrinkles=float(np.clip((age - 32) / 40, 0, 1) * rng.uniform(0.7, 1.2)),
        roughness=float(rng.uniform(0.4, 1.0)),
        gloss=float(rng.uniform(0.35, 1.0)),
        stubble=0.0 if female else float(rng.uniform(0.0, 0.9)),
        beard=beard,
        beard_colour=to_colour(np.array(hair) * rng.uniform(0.7, 1.1)),
        lips=to_colour(lips),
        brow_thickness=float(rng.uniform(0.55, 0.95) if female else rng.uniform(0.85, 1.45)),
        brow_angle=float(rng.normal(0.0, 0.5)),
        brow_density=float(rng.uniform(0.62, 0.95)),
        brow_colour=to_colour(brow),
        brow_height=float(rng.normal(0.0, 0.0012)),
        eye_shadow=float(rng.uniform(0.3, 1.0)) if female and rng.random() < 0.5 else 0.0,
        under_eye=float(rng.uniform(0.1, 0.7) + 0.3 * (age > 50)),
        texture_seed=int(rng.integers(2**31)),
    )


def draw_clothes(rng: np.random.Generator, female: bool) -> Clothes:
    """Return the garment: neckline, colour and pattern."""
    hue = rng.random()
    value = rng.uniform(0.02, 0.5)
    saturation = rng.uniform(0.0, 0.85)
    wheel = np.clip(np.abs((hue * 6 + np.array([0.0, 4.0, 2.0])) % 6 - 3) - 1, 0, 1)
    colour = value * (1 - saturation * (1 - wheel))
    necklines = ["crew", "scoop", "v"] if female else ["crew", "v", "collar"]
    return Clothes(
        str(rng.choice(necklines)), to_colour(colour), str(rng.choice(["plain", "plain", "stripes", "knit"]))
    )


def draw_iris(rng: np.random.Generator, melanin: float) -> Colour:
    """Return the iris colour; light irises only in light skin."""
    odds = [0.75, 0.22, 0.03, 0.0, 0.0, 0.0] if melanin > 0.32 else [0.08, 0.24, 0.16, 0.16, 0.24, 0.12]
    colour = np.array(IRIS_COLOURS[str(rng.choice(list(IRIS_COLOURS), p=odds))])
    return to_colour(colour * rng.uniform(0.8, 1.25))


def draw_asymmetry(rng: np.random.Generator) -> tuple[float, ...]:
    """Return the asymmetry per AU (17,): small, zero where the head model has no sides, large for AU14."""
    values = np.clip(rng.normal(0, 0.1, AU_COUNT), -0.22, 0.22)
    for position, number in enumerate(AU_NUMBERS):
        if number not in BILATERAL:
            values[position] = 0.0
        if number == 45:
            values[position] *= 0.25
        if number == 14:  # contempt is the one-sided expression
            values[position] = rng.choice([-1.0, 1.0]) * rng.uniform(0.2, 0.5)
    return tuple(float(value) for value in values)


def to_colour(values: np.ndarray) -> Colour:
    """Return three values clipped to a displayable colour."""
    red, green, blue = (float(x) for x in np.clip(values, 0.004, 0.9))
    return red, green, blue
