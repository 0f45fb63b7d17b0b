"""`eggan edit` and `eggan interpolate`: the command lines of `eggan.edit`, which knows no method by name."""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from eggan.aus import AU_NAMES, EXPRESSIONS
from eggan.errors import UserError, nearest
from eggan.options import add_command, add_device_argument, add_runs_argument, resolve_device
from eggan.outputs import add_force_argument
from eggan.progress import loading, working

if TYPE_CHECKING:  # torch takes more than a second to import; `eggan --help` must not
    import numpy as np

    from eggan.edit.edit_targets import Targets
    from eggan.edit.editing import Model
    from eggan.edit.photo_file import PhotoFile
    from eggan.edit.photograph import PhotographEditor
    from eggan.faces.face import Face

EDIT_EXAMPLE = """examples:
  eggan edit portrait.jpg --au 12=4 --au 6=3 -o smile.jpg      these two AUs, every other AU 0
  eggan edit portrait.jpg --au 12=4 --keep -o smile.jpg        the other AUs stay as the photograph shows them
  eggan edit portrait.jpg --expression happy --strength 0.6 --keep -o happy.jpg
  eggan edit portrait.jpg --like laughing.jpg -o laugh.jpg     the AUs that another face shows
  eggan edit group.jpg --all-faces --au 12=4 --keep -o group-smile.jpg
  eggan edit photos/ more/*.jpg --au 12=4 --keep -o edits      each under its name, in the folder edits
  eggan edit face.png --checkpoint weights/stargan --expression happy -o smile.png
  eggan edit face.png --checkpoint weights/homointerpgan --like laughing.png -o smile.png"""
INTERPOLATE_EXAMPLE = """examples:
  eggan interpolate portrait.jpg --au 12=5 --au 6=4 --steps 9 -o strip.png    a strip of frames
  eggan interpolate portrait.jpg --expression surprised -o surprise.gif      or .webp, .mp4"""
STEPS, MOVING_STEPS = 9, 25
EDITED, EDITS, STRIP = Path("edit.png"), Path("edits"), Path("strip.png")  # one, several, interpolated
DATASET_SIDES = (64, 128)


def register_edit(subparsers: Any) -> None:
    """Add `eggan edit`."""
    parser = add_command(subparsers, "edit", "edit a photograph by action units", EDIT_EXAMPLE)
    several = "several, or a folder of them, become a folder of edits"
    parser.add_argument(
        "images",
        type=Path,
        nargs="+",
        metavar="image",
        help=f"photograph, of any form that Pillow reads; {several}",
    )
    endings = f"file to write (default: {EDITED}); its ending says how: png, jpg, webp or tif"
    _add_edit_arguments(parser, None, f"{endings}; of several photographs a folder (default: {EDITS})")
    parser.add_argument(
        "--keep", action="store_true", help="leave AUs that are not named as the photograph shows them"
    )
    parser.set_defaults(run=run_edit)
    _list_targets(parser)


def register_interpolate(subparsers: Any) -> None:
    """Add `eggan interpolate`."""
    summary = "a strip or an animation of frames from the photograph to an edit"
    parser = add_command(subparsers, "interpolate", summary, INTERPOLATE_EXAMPLE)
    parser.add_argument("image", type=Path, help="photograph, of any form that Pillow reads")
    endings = "png, jpg or tif for a strip; gif, webp or mp4"
    help_text = f"file to write (default: {STRIP}); its ending says how: {endings}"
    _add_edit_arguments(parser, STRIP, help_text)
    parser.add_argument(
        "--steps",
        type=int,
        metavar="N",
        help=f"number of frames (default: {STEPS}, in animations {MOVING_STEPS})",
    )
    parser.set_defaults(run=run_interpolate, keep=False)
    _list_targets(parser)


def _add_edit_arguments(parser: argparse.ArgumentParser, output: Path | None, output_help: str) -> None:
    _add_target_arguments(parser)
    faces = parser.add_mutually_exclusive_group()
    faces.add_argument("--face", type=int, metavar="N", help="which face, 1 is the largest (default: 1)")
    faces.add_argument("--all-faces", action="store_true", help="edit every face")
    faces.add_argument(
        "--framed",
        action="store_true",
        help="look for no face: the picture's centre square is framed as training images are",
    )
    known = parser.add_mutually_exclusive_group()
    known.add_argument(
        "--source-au",
        action="append",
        default=[],
        metavar="N=INTENSITY",
        help="what the photograph shows, in place of what is read from it; all other AUs are 0 (repeatable)",
    )
    known.add_argument(
        "--neutral", action="store_true", help="the photograph shows a neutral face: all its AUs are 0"
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FOLDER|NAME",
        help="folder, name of a training in --runs, or of shipped weights: `eggan weights list` (default: "
        "the shipped EGGAN-W)",
    )
    add_runs_argument(parser)
    add_device_argument(parser)
    parser.add_argument("-o", "--output", type=Path, default=output, metavar="FILE", help=output_help)
    add_force_argument(parser)


def _list_targets(parser: argparse.ArgumentParser) -> None:
    """Add to the help what --au and --expression take."""
    aus = (f"  {number:<4}{name}" for number, name in AU_NAMES.items())
    names = ", ".join(EXPRESSIONS)
    parser.epilog = "\n".join([parser.epilog or "", "", "action units:", *aus, "", f"expressions: {names}"])


def _add_target_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--au",
        action="append",
        default=[],
        metavar="N=INTENSITY",
        help="target of an AU, 0 to 5 (repeatable); AUs are listed below",
    )
    parser.add_argument(
        "--expression", metavar="NAME", help="target: neutral, happy, angry, .., as listed below"
    )
    parser.add_argument(
        "--like",
        "--reference",
        type=Path,
        metavar="FILE",
        help="target: what another face shows",
    )
    parser.add_argument(
        "--strength", type=float, metavar="S", help="of --expression and --like, 0 to 1 (default: 1)"
    )


def run_edit(arguments: argparse.Namespace) -> int:
    """Write the edit of each photograph and return 0.

    Of several photographs all that can be edited are; the others are named, and then are a `UserError`.
    """
    targets, images = _checked_targets(arguments), arguments.images
    alone = len(images) == 1 and not images[0].is_dir()
    output = arguments.output or (EDITED if alone else EDITS)
    if not alone or output.is_dir():
        return _edit_several(arguments, targets, output)
    (path,) = images
    _check_result(arguments, targets, path, output)
    photo = _read(path)  # the file before the method: torch takes seconds to load
    _edit(arguments, _asked(arguments, targets), path, photo, output)
    return 0


def _edit_several(arguments: argparse.Namespace, targets: "Targets", output: Path) -> int:
    from eggan.edit.places import list_left_out, places_of  # one photograph does without

    found = places_of(arguments.images, output)
    for place in found.places:
        _check_result(arguments, targets, place.photograph, place.result)
    for note in found.given.notes:
        print(f"note: {note}")
    asked, failed = _asked(arguments, targets), list(found.given.unusable)
    for place in found.places:
        try:
            _edit(arguments, asked, place.photograph, _read(place.photograph), place.result)
        except UserError as error:
            failed.append(str(error))
    count = found.given.count
    if count > 1 or not failed:
        print(f"edited {count - len(failed)} of {count} photographs into {output}")
    list_left_out(failed, count, "edited")
    return 0


def _edit(
    arguments: argparse.Namespace, asked: "Asked", path: Path, photo: "PhotoFile", result: Path
) -> None:
    from eggan.pictures import save_result

    for face in _faces(arguments, path, photo, asked.model):
        editor, target = asked.editor(photo, face)
        with working("editing"):
            photo.put(editor.box, editor.patch(**target))
        _warn_of_detail(asked.model, editor)
    note = save_result(photo.image, photo.pixels, result, photo.exif, photo.icc)
    print(f"wrote {result}" + (f" {note}" if note else ""))


def run_interpolate(arguments: argparse.Namespace) -> int:
    """Write frames from the AUs that the photograph shows to the target's (Eq. 8), and return 0.

    A strip begins with the photograph itself; an animation goes to the target and back.
    """
    from PIL import Image

    from eggan.edit.frames import Frames, check_frames, fitting_profile, not_kept, strip, write_animation
    from eggan.pictures import MOVING, STILL, check_result, save_result, write_marked

    path, output, kind = arguments.image, arguments.output, MOVING.get(arguments.output.suffix.lower())
    steps = arguments.steps if arguments.steps is not None else MOVING_STEPS if kind else STEPS
    if steps < 2:
        raise UserError(f"--steps is {steps}: an interpolation has at least 2 frames")
    targets = _checked_targets(arguments)
    check_result(output, STILL | MOVING, [path, *targets.files], arguments.force)
    photo = _read(path)
    asked = _asked(arguments, targets, moving=True)
    faces = _faces(arguments, path, photo, asked.model)
    check_frames(output, steps, photo.pixels.shape)
    patches: list[list[Any]] = [[] for _ in range(steps)]
    for face in faces:
        editor, target = asked.editor(photo, face)
        with working("editing"):
            for frame, patch in zip(patches, editor.interpolation(steps=steps, **target), strict=True):
                frame.append((editor.box, patch))
        _warn_of_detail(asked.model, editor)
    frames = Frames(photo.pixels, patches)
    for note in not_kept(photo.image.mode, photo.icc, kind):
        print(f"note: the frames are {note}")
    icc = fitting_profile(photo.image.mode, photo.icc, kind)
    if kind:
        write_marked(output, kind, lambda staged: write_animation(frames, staged, kind, icc))
        print(f"wrote {output}: {steps} frames to the edit, and back")
        return 0
    picture = strip([photo.pixels, *frames])
    save_result(Image.fromarray(picture), picture, output, icc=icc)
    print(f"wrote {output}: the source, then {steps} frames")
    return 0


@dataclass
class Asked:
    """All that edits need beside the photographs: the method, and what faces are edited to.

    `like` (17,) are the AUs of the other face, `reference` (S, S, 3) is that face; None where not asked for.
    `moving`: whether edits start from what the photograph shows. `unread` are the AUs, as printed, that
    landmarks were noted not to show.
    """

    model: "Model"
    targets: "Targets"
    like: "np.ndarray | None"
    reference: "np.ndarray | None"
    moving: bool
    unread: str = ""

    def editor(self, photo: "PhotoFile", face: "Face | None") -> tuple["PhotographEditor", dict[str, Any]]:
        """Return the editor of a face of the photograph as it now is, and the arguments of its edit."""
        import numpy as np

        from eggan.edit.photograph import PhotographEditor

        source = self._source_aus(photo, face)
        target = self.targets.target_aus(source, self.like)
        editor = PhotographEditor(self.model, photo.pixels, face, source)
        return editor, {
            "target_aus": np.nan_to_num(target),
            "expression": self.targets.expression_index,
            "reference": self.reference,
        }

    def _source_aus(self, photo: "PhotoFile", face: "Face | None") -> "np.ndarray | None":
        """Return the AUs (17,) that a face shows; None where nothing asks for them."""
        from eggan.edit.edit_targets import AU_FIELDS

        reads, targets = self.model.reads, self.targets
        if not AU_FIELDS & set(reads):
            return None
        if targets.neutral or targets.source_aus:
            return targets.named_source
        needed = self.moving or targets.reads_source or "source_aus" in reads
        if not needed and (face is None or not self.model.edits_large):
            return None
        from eggan.edit.photo_faces import shown_by, unread_aus

        shown = shown_by(face, photo.pixels, self.model)
        unread = unread_aus(shown)
        if unread != self.unread and unread and (self.moving or targets.reads_source):
            print(f"note: landmarks do not show AU {unread}: they stay as they are unless --au names them")
            self.unread = unread
        return shown


def _checked_targets(arguments: argparse.Namespace) -> "Targets":
    """Return what is asked for, checked before anything slow."""
    targets = _targets(arguments)
    targets.check()
    for path in targets.files:
        if not path.is_file():
            raise UserError(f"no such image: {path}")
    return targets


def _check_result(arguments: argparse.Namespace, targets: "Targets", path: Path, result: Path) -> None:
    """Raise a `UserError` where a photograph is not there, or its result must not be written."""
    from eggan.pictures import STILL, check_result

    check_result(result, STILL, [path, *targets.files], arguments.force)
    if not path.exists():
        raise UserError(f"no such image: {path}")


def _read(path: Path) -> "PhotoFile":
    """Read a photograph and print what was done to it."""
    from eggan.edit.photo_file import load_photo_file

    photo = load_photo_file(path)
    for note in photo.notes:
        print(f"note: {path} was {note}")
    return photo


def _asked(arguments: argparse.Namespace, targets: "Targets", moving: bool = False) -> Asked:
    """Load the method and the face of --like."""
    folder = arguments.checkpoint and trained_folder(arguments.checkpoint, arguments.runs)
    model = _load(folder, arguments.device)
    targets.check_read(model.name, model.reads)
    print(f"{model.name} of {folder or 'the shipped weights'}, {model.description}")
    like, reference = _other_face(targets.like, model) if targets.like else (None, None)
    return Asked(model, targets, like, reference, moving)


def _targets(arguments: argparse.Namespace) -> "Targets":
    from eggan.edit.edit_targets import Targets

    fields = ("expression", "like", "strength", "keep", "neutral")
    given = {name: getattr(arguments, name) for name in fields}
    return Targets(aus=arguments.au, source_aus=arguments.source_au, **given)


def trained_folder(given: Path, runs: Path) -> Path:
    """Return the folder `given`; where there is none, that of a training of this name in `runs`.

    The name of shipped weights is returned as it is; any other that stands for nothing is a `UserError`.
    """
    from benchmarks.train_command import TRAININGS

    named = runs / TRAININGS / given
    if given.exists():
        return given
    if named.is_dir():
        return named
    from eggan.shipped.weights import NAMES

    if str(given) not in NAMES:
        there = sorted(path.name for path in named.parent.glob("*/"))
        raise UserError(
            f"{given} is not a checkpoint{nearest(str(given), [*there, *NAMES])} (no such folder, no "
            f"training of this name in {named.parent}; shipped weights: {', '.join(NAMES)})"
        )
    return given


def _load(folder: Path | None, device: str) -> "Model":
    with loading():
        from benchmarks.suites.methods import installed_method
        from eggan.edit.editing import load_model, load_shipped_model
        from eggan.shipped.weights import shipped_name

    name, device = shipped_name(folder), resolve_device(device)
    if name is not None:
        return load_shipped_model(installed_method, device, name)
    assert folder is not None
    return load_model(folder, installed_method, device)


def _faces(
    arguments: argparse.Namespace, path: Path, photo: "PhotoFile", model: "Model"
) -> "list[Face | None]":
    """Return the faces to edit; None stands for the centre square, as a face that is framed already."""
    pixels, number, every = photo.pixels, arguments.face, arguments.all_faces
    if arguments.framed:
        return [None]
    if number is None and not every and _is_framed(path, pixels, model):
        return [None]
    from eggan.edit.photo_faces import choose_faces

    chosen = choose_faces(path, pixels, number, every)
    for note in chosen.notes:
        print(f"note: {note}")
    for warning in chosen.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    return list(chosen.faces)


def _is_framed(path: Path, pixels: "np.ndarray", model: "Model") -> bool:
    """Whether a picture has just the size of a dataset's faces; that it is taken for one is printed."""
    height, width = pixels.shape[:2]
    framed = height == width and width in (*DATASET_SIDES, model.image_size)
    if framed:
        size = f"{width} x {height}"
        print(f"note: {path} was taken for a framed face, as datasets hold them: it has {size} pixels")
    return framed


def _other_face(path: Path, model: "Model") -> "tuple[np.ndarray | None, np.ndarray | None]":
    """Return what a method reads of the face of --like: its AUs, and the face itself; else None."""
    import numpy as np

    from eggan.data.decoding import decode_rgb
    from eggan.edit.photo_faces import choose_face_to_copy, shown_by
    from eggan.edit.photograph import framed

    decoded = decode_rgb(path)
    for note in decoded.notes:
        print(f"note: {path} was {note}")
    pixels = np.array(decoded.image)
    face = None
    if not _is_framed(path, pixels, model):
        chosen = choose_face_to_copy(path, pixels)
        for text in (*chosen.notes, *chosen.warnings):
            print(f"note: {text}")
        face = chosen.faces[0]
    reads = model.reads
    return (
        shown_by(face, pixels, model) if "target_aus" in reads else None,
        framed(pixels, face, model.image_size) if "reference" in reads else None,
    )


def _warn_of_detail(model: "Model", editor: "PhotographEditor") -> None:
    """Warn where an edit draws the face anew, with less detail than the photograph has."""
    side = round(editor.side)
    if model.edits_large or side <= model.image_size:
        return
    another = ": expect another person's face" if model.learnt_renders else ""
    print(
        f"warning: the face fills {side} x {side} pixels; {model.name}, {model.description}: it draws the "
        f"face anew, enlarged, with no more detail than these{another}",
        file=sys.stderr,
    )
