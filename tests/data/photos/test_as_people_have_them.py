"""Folders of photographs as people have them: forms, links, spellings, and what systems put beside them."""

import os
import unicodedata
from pathlib import Path

import numpy as np
import pandas as pd
import pillow_heif
import pytest
from PIL import Image

from eggan.data import decoding
from eggan.data.dataset import load_dataset, write_dataset
from eggan.data.file_tree import read_tree
from eggan.data.photos.mmi import read_sessions
from eggan.data.photos.records import find_photographs, inside
from eggan.errors import UserError
from eggan.pictures import save_picture
from tests.data.published import FakeOpenFace, image_text, sequence_text, write_session, write_table

PEOPLE = ("anna", "bert", "carl")
FILES = [f"{person}/{number}.png" for person in PEOPLE for number in range(2)]
AUS = np.round(np.random.default_rng(5).uniform(0, 5, (6, 17)), 3)
IMAGES = np.random.default_rng(6).integers(0, 256, (6, 64, 64, 3), dtype=np.uint8)
ZOE = unicodedata.normalize("NFC", "Zoë")
ZOE_ON_MACOS = unicodedata.normalize("NFD", "Zoë")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for file, image in zip(FILES, IMAGES, strict=True):
        save(tmp_path / "photos" / file, image)
    return tmp_path / "photos"


@pytest.fixture
def table(tmp_path: Path) -> Path:
    return write_table(tmp_path / "au.csv", FILES, AUS)


def save(path: Path, image: np.ndarray = IMAGES[0], **options: object) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(image).save(path, **options)
    return path


def command(root: Path, labels: Path | None, *more: object) -> list[object]:
    labelled = [] if labels is None else ["--labels", labels]
    return ["data", "build", "folder", "--root", root, *labelled, "--size", 64, "--align", "centre",
            "--out", root.parent / "out", *more]  # fmt: skip


def build(eggan, root: Path, labels: Path | None, *more: object) -> tuple[pd.DataFrame, str]:
    status, out, err = eggan(*command(root, labels, *more))
    assert status == 0, err
    return load_dataset(root.parent / "out").manifest, out


def refused(eggan, root: Path, labels: Path | None, *more: object) -> str:
    status, _, err = eggan(*command(root, labels, *more))
    assert status == 2
    assert not (root.parent / "out").exists()
    lines = [line for line in err.splitlines() if "it/s]" not in line and line]
    assert len(lines) == 1, err
    return lines[0]


def problems(root: Path) -> dict[str, str]:
    return dict(pd.read_csv(root.parent / "out.problems.csv").to_numpy())


class TestForms:
    def test_what_pillow_reads_is_read_by_its_content(self, eggan, root: Path, tmp_path: Path) -> None:
        names = ["a.jfif", "b.avif", "c.gif", "d.heic", "e.jpg", "without-an-ending"]
        kinds = ["JPEG", "AVIF", "GIF", "HEIF", "PNG", "WEBP"]
        pillow_heif.register_heif_opener()
        for name, kind in zip(names, kinds, strict=True):
            Image.fromarray(np.full((64, 64, 3), 90, np.uint8)).save(root / "anna" / name, format=kind)
        (root / "notes.txt").write_text("not an image")
        files = [*FILES, *(f"anna/{name}" for name in names)]
        labels = write_table(tmp_path / "au.csv", files, np.tile(AUS, (2, 1)))
        manifest, _ = build(eggan, root, labels)
        assert list(manifest["source_file"]) == sorted(files)
        pictures = np.array(load_dataset(tmp_path / "out").images)[manifest["source_file"].isin(files[6:])]
        assert np.abs(pictures.astype(int) - 90).max() <= 2

    def test_the_rest_is_listed_by_name_with_the_reason(
        self, eggan, root: Path, tmp_path, monkeypatch
    ) -> None:
        monkeypatch.setattr(decoding, "heic_is_readable", lambda: False)
        (root / "anna" / "x.HEIC").write_bytes(b"\0\0\0\x18ftypheic" + bytes(50))
        (root / "anna" / "y.CR2").write_bytes(b"II*\0" + bytes(50))
        (root / "anna" / "z.jxl").write_bytes(b"\xff\x0a" + bytes(50))
        (root / "anna" / "renamed.jpg").write_bytes(b"\0\0\0\x18ftypmif1" + bytes(50))
        files = [*FILES, "anna/x.HEIC", "anna/y.CR2", "anna/z.jxl", "anna/renamed.jpg"]
        table = write_table(tmp_path / "au.csv", files, np.tile(AUS, (2, 1))[: len(files)])
        assert "4 photographs or videos cannot be used" in refused(eggan, root, table)
        reasons = problems(root)
        assert reasons["anna/x.HEIC"].startswith("HEIC needs pillow-heif")
        assert reasons["anna/renamed.jpg"].startswith("HEIC needs pillow-heif")
        assert "raw file" in reasons["anna/y.CR2"]
        assert "JPEG XL" in reasons["anna/z.jxl"]
        assert len(build(eggan, root, table, "--allow-incomplete")[0]) == 6

    def test_openface_gets_what_it_reads(self, eggan, tmp_path: Path) -> None:
        """OpenCV reads no AVIF or GIF, and 12-bit data as black: those are handed over as PNG."""
        fake = FakeOpenFace(tmp_path / "bin")
        root, grey = tmp_path / "photos", np.repeat(np.arange(64, dtype=np.uint16)[:, None], 64, axis=1)
        deep = save(root / "anna" / "1.tiff", grey * 65)
        gif = save(root / "bert" / "1.gif")
        plain = save(root / "carl" / "1.png")
        expected = [Image.fromarray(np.rint(grey * 65 * (255 / 4095)).astype(np.uint8)).convert("RGB"),
                    Image.open(gif).convert("RGB")]  # fmt: skip
        for number, image in enumerate(expected):
            save_picture(np.asarray(image), tmp_path / f"{number}.png")
        fake.answer_images([tmp_path / "0.png", tmp_path / "1.png", plain], AUS[:3])
        manifest, out = build(eggan, root, None, "--openface", fake.folder)
        assert (manifest[[*manifest.filter(like="au").columns[:17]]].to_numpy() == AUS[:3]).all()
        assert "1 x scaled: its 16-bit pixels hold 12-bit data" in out
        assert deep.exists()

    def test_one_damaged_photograph_does_not_stop_the_others(self, eggan, root: Path, table: Path) -> None:
        exif = b"Exif\0\0MM\0*\xff\xff\xff\xff" + bytes(4)
        save(root / "anna" / "0.avif", exif=exif)
        (root / "anna" / "0.png").unlink()
        content = (root / "bert" / "0.png").read_bytes()
        (root / "bert" / "0.png").write_bytes(content[: len(content) // 2])
        manifest, _ = build(eggan, root, table, "--allow-incomplete")
        assert manifest["source_file"].iloc[0] == "anna/0.avif"
        assert len(manifest) == 5
        assert list(problems(root)) == ["bert/0.png"]


class TestPassedOver:
    HIDDEN = (".ipynb_checkpoints", ".thumbnails", "@eaDir", ".Trash-1000", "$RECYCLE.BIN", "__MACOSX")

    @pytest.mark.parametrize("depth", ["", "anna", "anna/deeper"])
    def test_hidden_and_system_folders_at_every_depth_are_counted(self, eggan, root, table, depth) -> None:
        (root / depth).mkdir(exist_ok=True)
        for name in self.HIDDEN:
            save(root / depth / name / "anna" / "0.png")
        (root / depth / "._0.png").write_bytes(b"macOS")
        manifest, out = build(eggan, root, table)
        assert list(manifest["source_file"]) == FILES
        assert "note: 7 hidden or system entries passed over ($RECYCLE.BIN, .Trash-1000, ._0.png, " in out

    def test_in_folders_of_labels_too(self, eggan, root: Path, tmp_path: Path) -> None:
        fake = FakeOpenFace(tmp_path / "bin")
        fake.answer_images([root / file for file in FILES], AUS)
        build(eggan, root, None, "--openface", fake.folder)
        csv = tmp_path / "csv"
        for file, values in zip(FILES, AUS, strict=True):
            (csv / file).parent.mkdir(parents=True, exist_ok=True)
            (csv / file).with_suffix(".csv").write_text(image_text(values))
        (csv / ".ipynb_checkpoints").mkdir()
        (csv / ".ipynb_checkpoints" / "0-checkpoint.csv").write_text("left over")
        (csv / "anna" / "._0.csv").write_bytes(b"\0\5\x16\7macOS")
        status, _, err = eggan(*command(root, csv, "--name", "again", "--out", tmp_path / "again"))
        assert status == 0, err

    def test_in_mmi(self, tmp_path: Path) -> None:
        root = tmp_path / "MMI"
        write_session(root, 1, 1, list(IMAGES[:3]))
        write_session(root, 2, 1, list(IMAGES[:3])).rename(root / "Sessions" / "@eaDir")
        (root / "Sessions" / "1" / "._S001-001.avi").write_bytes(b"macOS")
        found = read_sessions(root)
        assert (len(found.usable), found.problems) == (1, [])
        assert found.note == "1 hidden or system entry passed over (@eaDir)"


class TestSpelling:
    def test_one_person_in_two_spellings_is_one(self, eggan, root: Path, tmp_path: Path) -> None:
        """The table has composed letters, macOS's folder has not; a column has both."""
        files = [*FILES, f"{ZOE}/1.png", f"{ZOE}/2.png"]
        for number in (1, 2):
            save(root / ZOE_ON_MACOS / f"{number}.png", IMAGES[number])
        people = [name.split("/")[0] for name in FILES] + [ZOE, ZOE_ON_MACOS]
        labels = write_table(tmp_path / "au.csv", files, np.tile(AUS, (2, 1))[:8], {"identity": people})
        (tmp_path / "split.csv").write_text(
            f"identity,split\nanna,train\nbert,val\ncarl,test\n{ZOE_ON_MACOS} ,train\n"
        )
        manifest, _ = build(eggan, root, labels, "--split", tmp_path / "split.csv")
        mine = manifest[manifest["source_file"].str.startswith("Zo")]
        assert list(mine["identity"]) == [ZOE, ZOE]
        assert list(mine["split"]) == ["train", "train"]
        assert (root / mine["source_file"].iloc[0]).is_file()

    def test_two_photographs_whose_names_look_the_same_are_kept_apart(self, eggan, root, table) -> None:
        for spelling in (ZOE, ZOE_ON_MACOS):
            save(root / spelling / "1.png")
        line = refused(eggan, root, write_table(table, [*FILES[:5], f"{ZOE}/1.png"], AUS))
        assert "would share the label row" in line
        assert "their names look the same" in line

    def test_a_split_that_puts_both_spellings_apart_is_refused(self, eggan, root, table, tmp_path) -> None:
        (tmp_path / "split.csv").write_text(f"identity,split\n{ZOE},train\n{ZOE_ON_MACOS},test\n")
        assert "is in two splits" in refused(eggan, root, table, "--split", tmp_path / "split.csv")

    def test_a_dataset_with_both_spellings_in_two_splits_is_refused(self, manifest, tmp_path: Path) -> None:
        manifest.loc[:1, "identity"] = ZOE
        manifest.loc[6:, "identity"] = ZOE_ON_MACOS
        images = np.zeros((len(manifest), 64, 64, 3), np.uint8)
        with pytest.raises(UserError, match="is in more than one split"):
            write_dataset(tmp_path / "d", "d", manifest, images, 0, {}, "1")

    def test_two_tables_are_compared_over_both_spellings(self, eggan, tmp_path: Path) -> None:
        for name, person in (("a.csv", ZOE), ("b.csv", ZOE_ON_MACOS)):
            write_table(tmp_path / name, [f"{person}/{k}.png" for k in range(6)], AUS)
        status, out, err = eggan("data", "compare-labels", tmp_path / "a.csv", tmp_path / "b.csv")
        assert status == 0, err
        assert "1.000" in out

    def test_letter_case_is_reported_with_the_near_match(self, eggan, root: Path, tmp_path: Path) -> None:
        table = write_table(tmp_path / "au.csv", [FILES[0].title(), *FILES[1:]], AUS)
        assert "2 photographs or videos cannot be used" in refused(eggan, root, table)
        assert problems(root) == {
            "Anna/0.Png": "no image file of that name, but 'anna/0.png' differs in letter case only",
            "anna/0.png": "no row in the labels, but 'Anna/0' differs in letter case only",
        }

    def test_a_split_in_other_letter_case_names_the_near_match(self, eggan, root, table, tmp_path) -> None:
        (tmp_path / "split.csv").write_text("identity,split\nAnna,train\nbert,val\ncarl,test\n")
        line = refused(eggan, root, table, "--split", tmp_path / "split.csv")
        assert "the split does not name anna, but 'Anna', which differs in letter case only" in line

    def test_people_who_differ_in_letter_case_only_are_refused(self, eggan, root, tmp_path: Path) -> None:
        people = ["anna", "Anna", "bert", "bert", "carl", "carl"]
        table = write_table(tmp_path / "au.csv", FILES, AUS, {"identity": people})
        assert "'Anna' and 'anna' differ in letter case only" in refused(eggan, root, table)

    def test_names_that_are_no_utf8_are_listed_and_the_rest_is_built(self, eggan, root, table) -> None:
        name = os.fsdecode(b"anna/\xe4.png")
        save(root / "new.png").rename(root / name)
        assert "1 x its name is not UTF-8" in refused(eggan, root, table)
        assert problems(root) == {r"anna/\xe4.png": "its name is not UTF-8: rename it"}
        assert list(build(eggan, root, table, "--allow-incomplete")[0]["source_file"]) == FILES
        status, out, _ = eggan(*command(root, table, "--dry-run"))
        assert (status, "1 x its name is not UTF-8" in out) == (0, True)

    def test_in_mmi_they_are_listed(self, tmp_path: Path) -> None:
        folder = write_session(tmp_path / "MMI", 1, 1, list(IMAGES[:3]))
        (folder / "S001-001.avi").rename(folder / os.fsdecode(b"\xe4.avi"))
        assert [p.reason for p in read_sessions(tmp_path / "MMI").problems] == [
            "its name is not UTF-8: rename it"
        ]


class TestLinks:
    def test_folders_of_persons_that_are_links_are_followed(self, eggan, root, table, tmp_path: Path) -> None:
        (root / "anna").rename(tmp_path / "elsewhere")
        (root / "anna").symlink_to(tmp_path / "elsewhere")
        manifest, out = build(eggan, root, table)
        assert list(manifest["source_file"]) == FILES
        assert "followed 1 links to folders outside of" in out

    def test_each_file_is_taken_once(self, eggan, root: Path, table: Path, tmp_path: Path) -> None:
        (root / "dora").symlink_to(root / "anna")
        (root / "bert" / "up").symlink_to(root)
        (root / "carl" / "linked.png").symlink_to(root / "carl" / "0.png")
        assert list(build(eggan, root, table)[0]["source_file"]) == FILES

    def test_a_label_of_the_other_path_says_which_counts(self, eggan, root: Path, tmp_path: Path) -> None:
        (root / "dora").symlink_to(root / "anna")
        line = refused(eggan, root, write_table(tmp_path / "b.csv", [*FILES[:5], "dora/1.png"], AUS))
        assert "1 x a link to anna/1.png, which is taken once" in line

    def test_a_persons_link_counts_before_a_deeper_place(self, eggan, root: Path, table: Path) -> None:
        (root / "store").mkdir()
        (root / "anna").rename(root / "store" / "anna")
        (root / "anna").symlink_to(root / "store" / "anna")
        assert list(build(eggan, root, table)[0]["source_file"]) == FILES

    def test_a_link_to_nothing_is_listed(self, eggan, root: Path, table: Path) -> None:
        (root / "dora").symlink_to(root.parent / "unplugged")
        assert "1 photograph or video cannot be used" in refused(eggan, root, table)
        assert "unplugged, which is not there" in problems(root)["dora"]
        assert len(build(eggan, root, table, "--allow-incomplete")[0]) == 6

    def test_a_file_that_leads_out_of_a_linked_folder_is_refused(self, eggan, root, table, tmp_path) -> None:
        (root / "anna").rename(tmp_path / "elsewhere")
        (root / "anna").symlink_to(tmp_path / "elsewhere")
        save(tmp_path / "away.png")
        (tmp_path / "elsewhere" / "0.png").unlink()
        (tmp_path / "elsewhere" / "0.png").symlink_to(tmp_path / "away.png")
        assert "'anna/0.png' is a link that leads out of" in refused(eggan, root, table)

    def test_loops_end(self, root: Path) -> None:
        (root / "a").symlink_to(root / "b")
        (root / "b").symlink_to(root / "a")
        (root / "anna" / "self").symlink_to(root / "anna")
        tree = read_tree(root)
        assert tree.files == FILES
        assert sorted(tree.unreadable) == ["a", "b"]
        with pytest.raises(UserError, match="form a loop"):
            inside(root, "a/x.png")

    @pytest.mark.parametrize("through_link", [False, True])
    def test_absolute_paths_inside_the_root_are_accepted(self, eggan, root, tmp_path, through_link) -> None:
        (tmp_path / "link").symlink_to(root)
        home = tmp_path / "link" if through_link else root
        table = write_table(tmp_path / "au.csv", [home / file for file in FILES], AUS)
        manifest, _ = build(eggan, root if not through_link else tmp_path / "link", table)
        assert list(manifest["source_file"]) == FILES

    def test_absolute_paths_next_to_the_root_are_not(self, eggan, root: Path, tmp_path: Path) -> None:
        table = write_table(tmp_path / "au.csv", [*FILES[:5], f"{root}-other/0.png"], AUS)
        assert "leads out of" in refused(eggan, root, table)

    def test_a_folder_without_permission_is_listed(self, root: Path, monkeypatch) -> None:
        scan = os.scandir

        def closed(path):
            if Path(path).name == "anna":
                raise PermissionError(13, "Permission denied")
            return scan(path)

        monkeypatch.setattr(os, "scandir", closed)
        (problem,) = find_photographs(root).problems
        assert (problem.source_file, "Permission denied" in problem.reason) == ("anna", True)


class TestSequences:
    def test_labels_of_fdir_say_the_mode_and_what_to_run(self, eggan, root: Path, tmp_path: Path) -> None:
        (tmp_path / "csv").mkdir()
        for person in PEOPLE:
            (tmp_path / "csv" / f"{person}.csv").write_text(sequence_text(list(AUS[:2])))
        line = refused(eggan, root, tmp_path / "csv")
        assert "labels are of a sequence (OpenFace of unknown version dynamic)" in line
        assert f"Run `FaceLandmarkImg -fdir {root} -out_dir CSV -aus`" in line
        rafd = ("data", "build", "rafd", "--root", root, "--labels", tmp_path / "csv", "--dry-run")
        save(root / "Rafd090_28_Caucasian_male_angry_frontal.png")
        status, _, err = eggan(*rafd)
        assert (status, "FaceLandmarkImg -fdir" in err) == (2, True)

    def test_compared_with_labels_of_photographs_too(self, eggan, tmp_path: Path) -> None:
        (tmp_path / "anna.csv").write_text(sequence_text(list(AUS[:2])))
        table = write_table(tmp_path / "au.csv", FILES, AUS)
        status, _, err = eggan("data", "compare-labels", table, tmp_path / "anna.csv")
        assert status == 2
        assert "the rows of one (OpenFace of unknown version dynamic) are frames of a sequence" in err
