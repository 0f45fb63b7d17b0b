"""SynFACS: rendered faces with exactly known action units; see `render`, `build` and `render_edits`."""

from eggan.data.synfacs.build import build, render_edit, render_edits
from eggan.data.synfacs.identity import Identity
from eggan.data.synfacs.nuisance import Nuisance, draw_nuisance
from eggan.data.synfacs.picture import RENDERER_VERSION, render, render_group
from eggan.data.synfacs.plan import make_manifest, make_request, person

__all__ = [
    "RENDERER_VERSION",
    "Identity",
    "Nuisance",
    "build",
    "draw_nuisance",
    "make_manifest",
    "make_request",
    "person",
    "render",
    "render_edit",
    "render_edits",
    "render_group",
]
