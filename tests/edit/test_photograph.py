"""Editing a photograph at its own size: what may change, what may not, and where things go."""

import time
from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image

from benchmarks.suites.methods import installed_method
from eggan.aus import AU_COUNT, AU_NUMBERS
from eggan.data.images import to_network_range, to_uint8
from eggan.data.synfacs.nuisance import draw_nuisance
from eggan.data.synfacs.picture import render
from eggan.data.synfacs.plan import person
from eggan.edit import as_rendered, photograph
from eggan.edit.as_rendered import FACE, RENDERED_MEAN, RENDERED_SPREAD, AsRendered
from eggan.edit.editing import Model, load_shipped_model
from eggan.edit.photograph import BROWS, EYES, GRAIN, MOUTH, PhotographEditor
from eggan.errors import UserError
from eggan.faces.face import Face
from eggan.faces.framing import EYE_DISTANCE, EYE_LINE
from eggan.faces.landmarks import LEFT_EYE, RIGHT_EYE
from eggan.method import EditRequest
from eggan.warp import Parts

SIDE = 64
SMILE = np.zeros(AU_COUNT, np.float32)
SMILE[[5, 8, 14]] = 4


def face_at(left: tuple[float, float], right: tuple[float, float]) -> Face:
    """A face of which only the eyes' places matter here."""
    landmarks = np.zeros((468, 3), np.float32)
    landmarks[list(LEFT_EYE), :2] = left
    landmarks[list(RIGHT_EYE), :2] = right
    return Face(landmarks, 1.0, 1.0)


def face_of_square(x: float, y: float, side: float) -> Face:
    """The face whose square has this corner and side."""
    half = EYE_DISTANCE * side / 2
    line = y + EYE_LINE * side
    return face_at((x + side / 2 - half, line), (x + side / 2 + half, line))


def texture(height: int, width: int, seed: int = 0) -> np.ndarray:
    coarse = np.random.default_rng(seed).integers(0, 256, (height // 8, width // 8, 3), dtype=np.uint8)
    return np.array(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC))


def rendered(size: int) -> np.ndarray:
    return render(person(3, "twin", 1), np.zeros(AU_COUNT), draw_nuisance("single", 0), "frontal", size)


class Drawn:
    """A method of known parts: `draw(source)` returns flow (x, y), colour and paint, numbers or fields."""

    def __init__(self, draw: Callable) -> None:
        self.draw = draw

    def parts(self, source: torch.Tensor, target_aus: torch.Tensor) -> Parts:
        field = torch.zeros(1, 1, SIDE, SIDE)
        drawn = []
        for picture, aus in zip(source.split(1), target_aus, strict=True):
            x, y, colour, paint = (torch.as_tensor(value, dtype=torch.float32) for value in self.draw(aus))
            flow = torch.cat([field + x, field + y], 1)
            moved = photograph.warp(picture, flow)
            drawn.append((flow, moved, (field + colour).expand(-1, 3, -1, -1), field + paint))
        return Parts(*map(torch.cat, zip(*drawn, strict=True)))


def drawing(*parts: float) -> Model:
    return Model("drawn", Drawn(lambda aus: parts), SIDE, ("source", "target_aus"))


@pytest.fixture(scope="module")
def shipped() -> Model:
    return load_shipped_model(installed_method, "cpu")


def test_nothing_outside_of_the_box_changes_and_much_inside_does(shipped):
    picture = texture(300, 400)
    before = picture.copy()
    picture[40:240, 90:290] = np.array(Image.fromarray(rendered(256)).resize((200, 200)))
    before = picture.copy()
    editor = PhotographEditor(shipped, picture, face_of_square(90, 40, 200))
    left, top, right, bottom = editor.box
    assert editor.box == (90, 40, 290, 240)
    edited = editor.edit(SMILE)
    assert np.array_equal(picture, before)
    assert np.abs(edited.astype(int) - picture)[150:200].max() > 40
    edited[top:bottom, left:right] = picture[top:bottom, left:right]
    assert np.array_equal(edited, picture)


def test_the_aus_that_a_photograph_shows_give_it_back_bit_for_bit(shipped):
    picture = texture(300, 400)
    shown = np.linspace(0, 5, AU_COUNT).astype(np.float32)
    editor = PhotographEditor(shipped, picture, face_at((150, 130), (230, 150)), shown)
    assert np.array_equal(editor.edit(shown), picture)
    assert not np.array_equal(editor.edit(SMILE), picture)


def test_an_au_that_nobody_could_read_counts_as_absent(shipped):
    picture = texture(200, 200)
    face = face_of_square(20, 20, 150)
    unknown = np.where(SMILE > 0, np.nan, 1.0)
    edits = [
        PhotographEditor(shipped, picture, face, aus).edit(SMILE) for aus in (unknown, np.nan_to_num(unknown))
    ]
    assert np.array_equal(*edits)


def test_a_flow_moves_pixels_by_what_it_says_and_fades_to_the_border():
    picture = texture(300, 300)
    editor = PhotographEditor(drawing(1 / 16, -1 / 32, 0, 0), picture, face_of_square(50, 60, 192))
    edited = editor.edit(SMILE).astype(int)
    # half a square is 96 pixels: 6 to the right, 3 up
    inner = (slice(90, 220), slice(80, 210))
    moved = np.roll(picture, (3, -6), (0, 1)).astype(int)
    assert np.abs(edited[inner] - moved[inner]).max() <= 1
    assert np.abs(edited - picture)[60:252, 50:52].max() <= 3
    assert np.abs(edited - picture)[60:62, 50:242].max() <= 3


def test_a_flow_turns_with_the_face():
    """A face that lies on its side is moved along its own axes."""
    picture = texture(300, 300)
    upright = face_of_square(50, 60, 192)
    turned = np.ascontiguousarray(np.rot90(picture))  # anticlockwise: (x, y) -> (y, 300 - x)
    lying = Face(
        np.stack([upright.landmarks[:, 1], 300 - upright.landmarks[:, 0], upright.landmarks[:, 2]], 1), 1, 1
    )
    model = drawing(1 / 16, -1 / 32, 0.3, 0.4)
    edits = [
        PhotographEditor(model, picture, upright).edit(SMILE),
        PhotographEditor(model, turned, lying).edit(SMILE),
    ]
    assert np.abs(np.rot90(edits[0]).astype(int) - edits[1]).max() <= 1


def test_full_paint_hides_what_was_there_and_a_little_keeps_its_detail():
    picture = texture(300, 300)
    face = face_of_square(50, 60, 192)
    hidden = PhotographEditor(drawing(0, 0, 0.5, 1), picture, face).edit(SMILE)
    assert (hidden[100:200, 90:200] == round(1.5 * 127.5)).all()
    tinted = PhotographEditor(drawing(0, 0, 0.5, 0.08), picture, face).edit(SMILE).astype(float)
    fine = np.abs(np.diff(tinted, axis=1)).mean() / np.abs(np.diff(picture.astype(float), axis=1)).mean()
    assert 0.97 < fine < 1.03
    assert tinted[100:200, 90:200].mean() > picture[100:200, 90:200].mean() + 2


def known(aus: np.ndarray, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let photographs have the tones of renders already, and the network see these AUs (17,) in them."""
    seen = torch.from_numpy(np.asarray(aus, np.float32))[None]
    monkeypatch.setattr(
        as_rendered, "as_rendered", lambda square: AsRendered(square, torch.ones(1, 3, 1, 1), seen)
    )


def test_a_small_change_is_a_difference_and_a_large_one_stands_alone(monkeypatch):
    """Of what the network would do at the AUs that are shown, where it changes little; but for the grain."""
    known(np.zeros(AU_COUNT), monkeypatch)
    monkeypatch.setattr(photograph, "GRAIN", 0)
    picture = texture(300, 300)
    face = face_of_square(50, 60, 192)
    shown = np.zeros(AU_COUNT)

    def flow(aus: torch.Tensor) -> tuple:
        return (0, 1 / 16, 0.9, 0.9 if aus.sum() > 20 else 0)

    model = Model("drawn", Drawn(flow), SIDE, ("source", "target_aus"))
    editor = PhotographEditor(model, picture, face, shown)
    assert np.array_equal(editor.edit(SMILE), picture)  # both move alike
    own = PhotographEditor(model, picture, face).edit(SMILE + 1)
    inner = (slice(100, 210), slice(90, 200))
    difference = np.abs(editor.edit(SMILE + 1)[inner].astype(int) - own[inner])
    assert np.median(difference) == 0


def test_a_frown_that_only_landmarks_see_is_not_taken_from_brows_and_eyes(monkeypatch):
    """Heavy brows read as lowered ones: without the frown that the network would draw, skin would glow."""
    known(np.zeros(AU_COUNT), monkeypatch)
    shown, wanted = np.zeros(AU_COUNT, np.float32), np.zeros(AU_COUNT, np.float32)
    wanted[8] = 0.5  # at the mouth differences stay
    shown[2] = 4

    def frown(aus: torch.Tensor) -> tuple:
        return (0, 0, -0.9, 0.9 * float(aus[2] > 2))

    model = Model("drawn", Drawn(frown), SIDE, ("source", "target_aus"))
    picture = np.full((256, 256, 3), (200, 170, 150), np.uint8)
    editor = PhotographEditor(model, picture, face_of_square(0, 0, 256), shown)
    upper = slice(256 * 2 // 5)
    assert np.array_equal(editor.edit(wanted)[upper], picture[upper])
    below = slice(256 * 7 // 10, 256 * 9 // 10)
    assert np.abs(editor.edit(wanted)[below, 60:200].astype(int) - picture[below, 60:200]).min() > 20


def test_what_stands_alone_is_drawn_with_the_aus_that_the_network_sees(monkeypatch):
    """But for those that change: they are asked for, on the scale on which what is shown is what is seen."""
    shown, seen, wanted = (np.full(AU_COUNT, value, np.float32) for value in (4, 1, 4))
    wanted[[0, 3]] = 2, 4.5
    known(seen, monkeypatch)
    asked = []

    def draw(aus: torch.Tensor) -> tuple:
        asked.append(aus.numpy().copy())
        return (0, 0, 0.9, float(aus[3] > 2))

    model = Model("drawn", Drawn(draw), SIDE, ("source", "target_aus"))
    picture = np.full((300, 300, 3), 90, np.uint8)
    face = face_of_square(50, 60, 192)
    edited = PhotographEditor(model, picture, face, shown).edit(wanted)
    own = np.where(wanted == 4, 1, wanted / 4)
    own[3] = 3
    both_ways = (shown, seen) * 2 + (wanted, own) * 2  # the face, and its mirror image
    for expected, drawn in zip(both_ways, asked, strict=True):
        assert drawn == pytest.approx(expected)
    assert (edited[100:150, 100:200] == round(1.9 * 127.5)).all()
    asked.clear()
    one_way = PhotographEditor(model, picture, face, shown, both_ways=False).edit(wanted)
    for expected, drawn in zip((shown, seen, wanted, own), asked, strict=True):
        assert drawn == pytest.approx(expected)
    assert np.array_equal(one_way, edited)  # this network draws the same of both


def test_brows_eyes_and_mouth_stay_where_no_au_that_reaches_them_changes(shipped):
    picture = rendered(256)
    editor = PhotographEditor(shipped, picture, face_of_square(0, 0, 256), np.zeros(AU_COUNT))
    rows = {"brows": (0, BROWS[0]), "eyes": (BROWS[1], EYES[0]), "mouth": (MOUTH[0], 1)}
    for aus, reached in (
        ((2,), {"brows"}),
        ((45,), {"eyes"}),
        ((26,), {"mouth"}),
        ((26, 45), {"eyes", "mouth"}),
        ((1, 2, 26, 45), set(rows)),
    ):
        wanted = np.zeros(AU_COUNT, np.float32)
        wanted[[AU_NUMBERS.index(au) for au in aus]] = 5
        difference = np.abs(editor.edit(wanted).astype(int) - picture)
        for name, (top, bottom) in rows.items():
            part = difference[round(256 * top) + 7 : round(256 * bottom) - 7]
            assert (part.max() > 40) if name in reached else (part.max() == 0 or name == "eyes"), (aus, name)
        assert difference[round(256 * EYES[0]) - 20 : round(256 * EYES[0]) - 7].max() == 0 or aus != (26,)


@pytest.mark.parametrize("largest", [5, 1e-3])
def test_what_is_seen_of_an_edit_depends_on_shares_of_its_largest_change(shipped, largest):
    """A nose takes everything along; a change of a fifth counts in full, and the least one hardly."""
    editor = PhotographEditor(shipped, rendered(128), face_of_square(0, 0, 128), np.zeros(AU_COUNT))
    rows = {}
    for name, changes in {"all": {9: 1}, "also": {4: 1, 26: 0.21}, "hardly": {4: 1, 26: 1e-4}}.items():
        aus = torch.zeros(1, AU_COUNT)
        for au, share in changes.items():
            aus[0, AU_NUMBERS.index(au)] = share * largest
        rows[name] = editor._seen(aus).flatten()
    assert (rows["all"] == 1).all()
    assert (rows["also"] == 1).all()
    assert (rows["hardly"][: round(128 * MOUTH[1])] == 1).all()
    assert (rows["hardly"][round(128 * MOUTH[0]) :] < 1e-5).all()


def test_a_photograph_in_other_light_is_edited_as_that_one(shipped):
    """Less light and less contrast: what is painted has less of both, too."""
    bright = rendered(256)
    dark = np.rint(bright * [0.5, 0.55, 0.6] + [40, 20, 10]).astype(np.uint8)
    face, shown = face_of_square(0, 0, 256), np.zeros(AU_COUNT)
    of_bright, of_dark = (PhotographEditor(shipped, one, face, shown).edit(SMILE) for one in (bright, dark))
    expected = of_bright * [0.5, 0.55, 0.6] + [40, 20, 10]
    inner = slice(40, 216)
    assert np.abs(of_dark - expected)[inner, inner].mean() < 1
    assert np.abs(of_dark.astype(int) - dark)[inner, inner].max() > 40


class Blue:
    """A method without parts: a flat blue picture."""

    def edit(self, request: EditRequest) -> torch.Tensor:
        return torch.tensor([-0.5, 0.0, 0.9]).view(1, 3, 1, 1).expand_as(request.source)


@pytest.mark.parametrize("noise", [0, 2])
@pytest.mark.parametrize("method", ["composed", "redrawn"])
def test_a_black_and_white_face_is_edited_in_black_and_white(shipped, noise, method):
    """Stored in colours, as most files are, with what JPEG and scanners make of grey."""
    grey = np.repeat(np.asarray(Image.fromarray(rendered(256)).convert("L"), int)[..., None], 3, 2)
    tint = np.random.default_rng(0).integers(-noise, noise + 1, grey.shape)
    picture = (grey + tint).clip(0, 255).astype(np.uint8)
    model = shipped if method == "composed" else Model("blue", Blue(), SIDE, ("source",))
    edited = PhotographEditor(model, picture, face_of_square(0, 0, 256), np.zeros(AU_COUNT)).edit(SMILE)
    assert np.abs(edited.astype(int) - picture).max() > 40
    assert np.ptp(edited[60:200, 60:200].astype(int), axis=2).max() <= 2 * noise + (noise > 0)


def test_what_is_painted_is_as_far_from_the_face_as_it_is_in_renders():
    """In spreads of each colour: three and a half below the mean of the photograph's own face, here."""
    picture = rendered(256)
    colour = (torch.tensor(RENDERED_MEAN) - 3.5 * torch.tensor(RENDERED_SPREAD)).view(1, 3, 1, 1)
    model = Model("drawn", Drawn(lambda aus: (0, 0, colour, float(aus.sum() > 20))), SIDE, ("target_aus",))
    face = face_of_square(0, 0, 256)
    edited = PhotographEditor(model, picture, face, np.zeros(AU_COUNT)).edit(SMILE + 1)
    top, bottom, left, right = (round(SIDE * part) for part in FACE)
    seen = photograph.framed(picture, face, SIDE)[top:bottom, left:right]
    expected = (seen.mean((0, 1)) - 3.5 * seen.std((0, 1))).clip(0, 255)
    painted = edited[90:210, 80:180]
    assert np.abs(painted - expected).max() < GRAIN + 2
    assert np.abs(painted.mean((0, 1)) - expected).max() < 1


def test_what_is_painted_has_the_grain_of_the_skin_below(monkeypatch):
    known(np.zeros(AU_COUNT), monkeypatch)
    model = Model("drawn", Drawn(lambda aus: (0, 0, 0.9, float(aus.sum() > 20))), SIDE, ("target_aus",))
    noise = np.random.default_rng(0).normal(0, 4, (400, 400, 1))
    noise[:200] = 0
    painted = {}
    for name, grain in {"smooth": 0, "rough": noise}.items():
        picture = np.rint(np.full((400, 400, 3), 90) + grain).astype(np.uint8)
        editor = PhotographEditor(model, picture, face_of_square(8, 8, 384), np.zeros(AU_COUNT))
        painted[name] = editor.edit(SMILE + 1)[100:300, 100:300].astype(float)
    assert (painted["smooth"] == round(1.9 * 127.5)).all()
    assert painted["rough"][:40].std() == 0  # 50 pixels further down there is none either
    assert painted["rough"][60:, :, 0].std() == pytest.approx(4, rel=0.15)
    assert painted["rough"].mean() == pytest.approx(round(1.9 * 127.5), abs=0.5)


def test_a_framed_face_of_the_networks_size_is_edited_as_the_network_edits_it(shipped):
    picture = rendered(shipped.image_size)
    source = to_network_range(torch.from_numpy(picture).permute(2, 0, 1)[None])
    request = EditRequest(source, source, torch.from_numpy(SMILE)[None], source, source)
    direct = to_uint8(shipped.method.edit(request))[0].permute(1, 2, 0).numpy()
    assert np.array_equal(PhotographEditor(shipped, picture, None).edit(SMILE), direct)
    assert np.abs(direct.astype(int) - picture).max() > 60


def test_a_framed_face_may_be_the_middle_of_a_picture():
    picture = texture(96, 128)
    editor = PhotographEditor(drawing(0, 0, 1, 1), picture, None)
    assert editor.box == (16, 0, 112, 96)
    edited = editor.edit(SMILE)
    assert (edited[:, 16:112] == 255).all()
    assert np.array_equal(edited[:, :16], picture[:, :16])


class Redraws:
    """A method without parts: a flat picture of the reference's mean."""

    def edit(self, request: EditRequest) -> torch.Tensor:
        return request.reference.mean((2, 3), keepdim=True).expand_as(request.source)


def test_a_method_that_redraws_is_enlarged_and_pasted_back():
    picture, reference = texture(300, 300), np.full((SIDE, SIDE, 3), 200, np.uint8)
    model = Model("redraws", Redraws(), SIDE, ("source", "reference"))
    editor = PhotographEditor(model, picture, face_of_square(50, 60, 192), SMILE)
    edited = editor.edit(SMILE, reference=reference)
    assert (edited[100:200, 90:200] == 200).all()
    assert np.array_equal(edited[:60], picture[:60])


def test_a_face_at_the_edge_of_a_photograph_is_edited_as_far_as_it_goes(shipped):
    picture = texture(200, 160)
    editor = PhotographEditor(shipped, picture, face_of_square(-40, 90, 150))
    assert editor.box == (0, 90, 110, 200)
    assert editor.edit(SMILE).shape == picture.shape


def test_a_photograph_is_composed_in_bands_of_any_height(shipped, monkeypatch):
    picture, face = texture(300, 300), face_at((110, 120), (180, 140))
    whole = PhotographEditor(shipped, picture, face, SMILE / 2).edit(SMILE)
    monkeypatch.setattr(photograph, "BAND", 3000)
    bands = PhotographEditor(shipped, picture, face, SMILE / 2).edit(SMILE)
    assert np.abs(bands.astype(int) - whole).max() <= 1  # places are rounded within each
    assert (bands != whole).mean() < 0.001


class Grey:
    """A method whose edits are one grey: the mean of the target's AUs / 5."""

    def edit(self, request: EditRequest) -> torch.Tensor:
        return (request.target_aus.mean(1) / 5).view(-1, 1, 1, 1).expand_as(request.source)


def test_an_interpolation_is_linear_in_the_aus_for_a_method_without_its_own():
    model = Model("grey", Grey(), SIDE, ("source", "target_aus"))
    picture = texture(SIDE, SIDE)
    editor = PhotographEditor(model, picture, None, np.zeros(AU_COUNT))
    frames = list(editor.interpolation(np.full(AU_COUNT, 5.0), 5))
    wanted = (np.linspace(0, 1, 5) + 1) * 127.5
    assert [frame.shape for frame in frames] == [picture.shape] * 5
    assert np.abs([frame[32, 32, 0] for frame in frames] - wanted).max() <= 1


def test_an_interpolation_begins_with_the_photograph_and_ends_with_the_edit(shipped):
    picture = texture(300, 300)
    shown = np.where(SMILE > 0, 1.0, 0.5)
    editor = PhotographEditor(shipped, picture, face_of_square(50, 60, 192), shown)
    left, top, right, bottom = editor.box
    frames = list(editor.interpolation(SMILE, 3))
    assert np.array_equal(frames[0], picture[top:bottom, left:right])
    assert np.array_equal(frames[-1], editor.edit(SMILE)[top:bottom, left:right])


def test_a_method_without_aus_or_frames_of_its_own_is_not_interpolated():
    model = Model("redraws", Redraws(), SIDE, ("source", "reference"))
    editor = PhotographEditor(model, texture(SIDE, SIDE), None)
    with pytest.raises(UserError, match="no frames in between"):
        list(editor.interpolation(SMILE, 3))


def test_a_further_edit_costs_little_beside_the_network(shipped):
    """CPU seconds, the least of several, of a face that fills a photograph of 512 pixels."""
    picture = rendered(512)
    editor = PhotographEditor(shipped, picture, face_of_square(0, 0, 512), SMILE / 4)
    small = torch.zeros(1, 3, shipped.image_size, shipped.image_size)
    target = torch.from_numpy(SMILE)[None]

    def least(call: Callable) -> float:
        seconds = []
        for _ in range(6):
            start = time.process_time()
            call()
            seconds.append(time.process_time() - start)
        return min(seconds[1:])

    assert least(lambda: editor.edit(SMILE)) < 12 * least(lambda: shipped.method.parts(small, target))
