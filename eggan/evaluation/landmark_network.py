"""From 468 landmarks to 17 AU intensities: the pose is taken out, both halves of the face are averaged, and a
regression on random Fourier features (Rahimi and Recht 2007) reads what is left.

It sees where points are and no pixel. Shift, scale and turn of the landmarks change nothing.
"""

import torch
from torch import Tensor, nn

LANDMARKS = 468
# Points that an expression moves little: corners of the eyes, bridge of the nose, temples, upper forehead.
STABLE = (33, 133, 362, 263, 168, 6, 197, 195, 127, 356, 234, 454, 21, 251, 10)
EYES = ((33, 133), (263, 362))  # corners of the eye on the picture's left, and of the other one
COORDINATES = 3 * LANDMARKS


class LandmarkRegression(nn.Module):
    """`template` (468 * 3,) a mean face that is its own mirror image, `mirror` (468,) the partner of each
    point; `mean` and `basis` take a face to K components, on which `linear` and, through D random Fourier
    features, `weights` read.
    """

    def __init__(self, components: int = 250, features: int = 1500) -> None:
        super().__init__()
        shapes = {
            "template": (COORDINATES,),
            "mirror": (LANDMARKS,),
            "mean": (COORDINATES,),
            "basis": (COORDINATES, components),
            "frequencies": (components, features),
            "phases": (features,),
            "linear": (components, 17),
            "weights": (features, 17),
            "bias": (17,),
        }
        for name, shape in shapes.items():
            self.register_buffer(name, torch.zeros(shape))
        self.template: Tensor
        self.mirror: Tensor
        self.mean: Tensor
        self.basis: Tensor
        self.frequencies: Tensor
        self.phases: Tensor
        self.linear: Tensor
        self.weights: Tensor
        self.bias: Tensor

    def forward(self, landmarks: Tensor) -> Tensor:
        """(B, 468, 3) of any unit -> (B, 17) intensities, not clamped."""
        template = self.template.view(LANDMARKS, 3)
        shape = symmetric(without_pose(landmarks, template), self.mirror.long())
        components = self.components(shape)
        return self.bias + components @ self.linear + self.lifted(components) @ self.weights

    def components(self, shape: Tensor) -> Tensor:
        """(B, 468, 3) without pose -> (B, K)."""
        return (shape.flatten(1) - self.mean) @ self.basis

    def lifted(self, components: Tensor) -> Tensor:
        """(B, K) -> random Fourier features (B, D)."""
        scale = (2 / len(self.phases)) ** 0.5  # their products then are the Gaussian kernel
        return scale * torch.cos(components @ self.frequencies + self.phases)


def without_pose(landmarks: Tensor, template: Tensor) -> Tensor:
    """Return landmarks (B, 468, 3) turned as the template (468, 3) is, with its eyes' distance as the unit
    and the middle between the eyes as the origin.
    """
    return eye_aligned(turned_to(landmarks, template, list(STABLE)))


def eye_aligned(landmarks: Tensor) -> Tensor:
    """Return landmarks (B, 468, 3) with level eyes, their distance as the unit, their middle the origin."""
    left, right = (landmarks[:, list(eye)].mean(dim=1) for eye in EYES)
    moved = landmarks - ((left + right) / 2)[:, None]
    across = right - left
    distance = across[:, :2].norm(dim=1)[:, None]
    cos, sin = across[:, :1] / distance, across[:, 1:2] / distance
    x, y, z = (part / distance for part in moved.unbind(dim=2))
    return torch.stack([cos * x + sin * y, cos * y - sin * x, z], dim=2)


def turned_to(landmarks: Tensor, template: Tensor, points: list[int]) -> Tensor:
    """Return landmarks (B, 468, 3) turned so that some points fit the template's best (Kabsch 1976)."""
    source, target = landmarks[:, points], template[points]
    centre = source.mean(dim=1, keepdim=True)
    covariance = torch.einsum("bni,nj->bij", source - centre, target - target.mean(dim=0))
    u, _, v = torch.linalg.svd(covariance)
    sign = torch.ones_like(u[:, :, 0])
    sign[:, 2] = torch.linalg.det(u @ v).sign()  # a turn, never a reflection
    return (landmarks - centre) @ ((u * sign[:, None]) @ v)


def symmetric(shape: Tensor, mirror: Tensor) -> Tensor:
    """Return the mean of faces without pose (B, 468, 3) and their mirror images; AUs are means of both sides.

    `mirror` (468,): the point on the other side.
    """
    flipped = shape[:, mirror] * shape.new_tensor([-1.0, 1.0, 1.0])
    return (shape + flipped) / 2


def mirror_of(template: Tensor) -> Tensor:
    """Return the partner (468,) of each point of a mean face (468, 3): the nearest one after mirroring."""
    from scipy.optimize import linear_sum_assignment

    mirrored = template * template.new_tensor([-1.0, 1.0, 1.0])
    partner = linear_sum_assignment(torch.cdist(mirrored, template).numpy())[1]
    return torch.from_numpy(partner)
