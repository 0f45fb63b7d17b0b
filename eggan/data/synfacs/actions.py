"""From an AU vector to the facial actions of the head model.

Intensity 0..5 maps linearly to an action weight 0..gain. Gains come from looking at every AU alone at 0..5:
above 1 where the plain action is hard to see on a small picture, below 1 where it leaves the AU's meaning.
"""

import numpy as np

from eggan.aus import AU_NUMBERS, MAX_INTENSITY

# AU -> (action, gain); `*` stands for the Left and the Right action, which asymmetry weighs apart.
ACTION_TABLE: dict[int, tuple[tuple[str, float], ...]] = {
    1: (("browInnerUp", 2.0),),
    2: (("browOuterUp*", 2.1),),
    4: (("browDown*", 1.5),),
    5: (("eyeWide*", 1.9),),
    6: (("cheekSquint*", 1.35),),
    7: (("eyeSquint*", 1.35),),
    9: (("noseSneer*", 1.5),),
    10: (("mouthUpperUp*", 1.1),),
    12: (("mouthSmile*", 1.0),),
    14: (("mouthDimple*", 1.9),),
    15: (("mouthFrown*", 1.5),),
    17: (("mouthShrugLower", 1.75),),
    20: (("mouthStretch*", 1.9),),
    23: (("mouthRollLower", 0.8), ("mouthRollUpper", 0.8), ("mouthPucker", 0.12)),
    25: (("mouthLowerDown*", 0.95), ("mouthUpperUp*", 0.45), ("jawOpen", 0.12)),
    26: (("jawOpen", 0.55),),
    45: (("eyeBlink*", 1.0),),
}
BILATERAL = tuple(
    number for number, actions in ACTION_TABLE.items() if any("*" in name for name, _ in actions)
)


def left_right(aus: np.ndarray, asymmetry: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the AUs of the left and the right half of the face (17,), whose mean is `aus`.

    `asymmetry` (17,) in [-1, 1] belongs to the person: left = u (1 + a), right = u (1 - a).
    """
    return aus * (1.0 + asymmetry), aus * (1.0 - asymmetry)


def action_weights(aus: np.ndarray, asymmetry: np.ndarray, resting_lids: float) -> dict[str, float]:
    """Return the weight of each facial action for an AU vector (17,) in [0, 5]."""
    left, right = left_right(aus / MAX_INTENSITY, asymmetry)
    weights: dict[str, float] = {}
    for position, number in enumerate(AU_NUMBERS):
        for action, gain in ACTION_TABLE[number]:
            if action.endswith("*"):
                parts = [(action[:-1] + "Left", left[position]), (action[:-1] + "Right", right[position])]
            else:
                parts = [(action, (left[position] + right[position]) / 2)]
            for name, value in parts:
                weights[name] = weights.get(name, 0.0) + gain * float(value)
    couple(weights, aus / MAX_INTENSITY, resting_lids)
    return weights


def couple(weights: dict[str, float], u: np.ndarray, resting_lids: float) -> None:
    """Add what AUs do to each other: lips over a dropped jaw, lids at rest."""
    level = dict(zip(AU_NUMBERS, (float(value) for value in u), strict=True))
    # A jaw that drops (26) parts the lips half-way, and further only as AU25 says: the two can be told apart.
    weights["mouthClose"] = 0.5 * ACTION_TABLE[26][0][1] * level[26] * (1.0 - level[25])
    for side in ("Left", "Right"):
        # Resting lids give way to both raising (5) and closing (45): closed is closed for everyone.
        closed = weights[f"eyeBlink{side}"]
        open_lids = resting_lids * max(0.0, 1.0 - level[5])
        weights[f"eyeBlink{side}"] = open_lids + (1.0 - open_lids) * closed


def action_row(weights: dict[str, float], labels: tuple[str, ...]) -> np.ndarray:
    """Return the weights as a vector in the order of `labels`, float32."""
    row = np.zeros(len(labels), np.float32)
    for name, value in weights.items():
        row[labels.index(name)] = value
    return row
