"""Results go to the names that the user gives, and nothing of the user's is lost by it."""

import os
import shutil

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from eggan import outputs
from eggan.errors import UserError
from eggan.outputs import check_output, is_sealed, sealed
from eggan.pictures import check_picture_output, is_own_picture, save_picture

PICTURE = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)


def never(_path):
    return False


class TestInputs:
    @pytest.fixture
    def photo(self, tmp_path):
        (tmp_path / "photo.png").write_bytes(b"mine")
        return tmp_path / "photo.png"

    def refused(self, path, photo):
        for force in (False, True):
            with pytest.raises(UserError, match="is the input"):
                check_output(path, [photo], lambda _: True, force)

    def test_an_input_is_no_output_by_any_spelling(self, photo, tmp_path, monkeypatch):
        (tmp_path / "sub").mkdir()
        monkeypatch.chdir(tmp_path)
        for path in (
            photo,
            tmp_path / "sub" / ".." / "photo.png",
            tmp_path.relative_to(tmp_path) / photo.name,
        ):
            self.refused(path, photo)

    def test_nor_through_links(self, photo, tmp_path):
        (tmp_path / "link.png").symlink_to(photo)
        (tmp_path / "folder").symlink_to(tmp_path)
        os.link(photo, tmp_path / "hard.png")
        for name in ("link.png", "folder/photo.png", "hard.png", "folder/link.png"):
            self.refused(tmp_path / name, photo)
        self.refused(photo, tmp_path / "link.png")

    def test_nor_by_other_letters_where_these_name_the_same_file(self, photo, monkeypatch):
        plain = outputs.Path.samefile
        monkeypatch.setattr(  # as a file system that ignores letter case
            outputs.Path, "samefile", lambda one, other: plain(one.with_name(one.name.lower()), other)
        )
        self.refused(photo.with_name("Photo.PNG"), photo)

    def test_a_copy_is_no_input(self, photo, tmp_path):
        shutil.copy(photo, tmp_path / "copy.png")
        check_output(tmp_path / "copy.png", [photo], never, force=True)
        check_output(tmp_path / "new.png", [photo, tmp_path / "absent.png"], never)


class TestEarlierFiles:
    def test_a_foreign_file_is_replaced_only_by_force(self, tmp_path):
        (tmp_path / "x").write_text("mine")
        with pytest.raises(UserError, match="add --force"):
            check_output(tmp_path / "x", [], never)
        check_output(tmp_path / "x", [], never, force=True)
        check_output(tmp_path / "x", [], lambda _: True)

    def test_a_folder_is_never_replaced(self, tmp_path):
        with pytest.raises(UserError, match="is a folder"):
            check_output(tmp_path, [], lambda _: True, force=True)


class TestPictures:
    def test_a_picture_is_written_whole_and_known_again(self, tmp_path):
        path = save_picture(PICTURE, tmp_path / "new" / "a.png")
        assert np.array_equal(np.asarray(Image.open(path)), PICTURE)
        assert Image.open(path).info["Software"].startswith("eggan ")
        assert is_own_picture(path)
        check_picture_output(path)
        assert sorted(p.name for p in path.parent.iterdir()) == ["a.png"]

    def test_the_same_picture_has_the_same_bytes(self, tmp_path):
        one, other = (save_picture(PICTURE, tmp_path / name).read_bytes() for name in ("a.png", "b.png"))
        assert one == other

    def test_a_failed_write_keeps_the_old_picture_and_leaves_no_litter(self, tmp_path, monkeypatch):
        path = save_picture(PICTURE, tmp_path / "out.png")
        before = path.read_bytes()

        def full_disk(self, path, format, pnginfo):
            path.write_bytes(b"half")
            raise OSError(28, os.strerror(28))

        monkeypatch.setattr(Image.Image, "save", full_disk)
        with pytest.raises(UserError, match="No space left"):
            save_picture(PICTURE[:4], path)
        assert path.read_bytes() == before
        assert [p.name for p in tmp_path.iterdir()] == ["out.png"]

    @pytest.mark.parametrize("case", ["plain", "changed", "jpeg", "truncated", "text", "empty"])
    def test_what_is_not_as_it_was_written_is_not_ours(self, tmp_path, case):
        path = save_picture(PICTURE, tmp_path / "a.png")
        with Image.open(path) as image:
            info, pixels = dict(image.info), np.array(image)
        if case == "plain":
            Image.fromarray(PICTURE).save(path)
        elif case == "changed":  # by an editor that keeps the metadata
            pixels[0, 0] ^= 1
            mark = PngImagePlugin.PngInfo()
            for name, value in info.items():
                mark.add_text(name, value)
            Image.fromarray(pixels).save(path, pnginfo=mark)
        elif case == "jpeg":
            Image.fromarray(PICTURE).save(path, format="JPEG")
        elif case == "truncated":
            path.write_bytes(path.read_bytes()[:-60])
        else:
            path.write_bytes(b"notes" if case == "text" else b"")
        assert not is_own_picture(path)
        with pytest.raises(UserError, match="no earlier result"):
            check_picture_output(path)

    def test_other_formats_are_refused(self, tmp_path):
        with pytest.raises(UserError, match="must end in"):
            check_picture_output(tmp_path / "out.jpg")


class TestSeals:
    def test_a_text_is_known_until_somebody_changes_it(self, tmp_path):
        path = tmp_path / "t.toml"
        path.write_text(sealed("a = 1\n# ä\n"), encoding="utf-8")
        assert is_sealed(path)
        path.write_text(sealed("a = 1\n# ä\n").replace("1\n", "2\n"), encoding="utf-8")
        assert not is_sealed(path)

    @pytest.mark.parametrize("content", [b"", b"a = 1\n", b"\xff\xfe", b"\n\n"])
    def test_other_files_are_not_sealed(self, tmp_path, content):
        (tmp_path / "t").write_bytes(content)
        assert not is_sealed(tmp_path / "t")


@pytest.fixture
def workplace(trained, tmp_path, monkeypatch):
    shutil.copytree(trained / "m", tmp_path / "m")
    shutil.copy(trained / "face.png", tmp_path / "face.png")
    monkeypatch.chdir(tmp_path)
    return tmp_path


class TestCommands:
    @pytest.mark.parametrize("command", ["edit", "interpolate"])
    def test_the_photograph_survives_its_own_edit(self, workplace, eggan, command):
        before = (workplace / "face.png").read_bytes()
        (workplace / "link.png").symlink_to("face.png")
        for out in ("face.png", "./face.png", "link.png"):
            words = ("face.png", "--checkpoint", "m", "--au", "12=4", "--neutral", "--force", "-o", out)
            status, _, err = eggan(command, *words)
            assert (status, "is the input face.png" in err, err.count("\n")) == (2, True, 1)
        assert (workplace / "face.png").read_bytes() == before

    @pytest.mark.parametrize("command", ["edit", "interpolate"])
    def test_an_edit_replaces_an_edit_and_nothing_else(self, workplace, eggan, command):
        words = (command, "face.png", "--checkpoint", "m", "--neutral", "-o", "out.png")
        assert eggan(*words, "--au", "12=4")[0] == 0
        first = (workplace / "out.png").read_bytes()
        assert eggan(*words, "--au", "12=0")[0] == 0
        assert (workplace / "out.png").read_bytes() != first
        shutil.copy("face.png", "out.png")
        status, _, err = eggan(*words, "--au", "12=4")
        assert (status, "add --force" in err) == (2, True)
        assert (workplace / "out.png").read_bytes() == (workplace / "face.png").read_bytes()
        assert eggan(*words, "--au", "12=4", "--force")[0] == 0
        assert (workplace / "out.png").read_bytes() == first

    def test_a_sheet_is_not_drawn_over_a_photograph(self, workplace, eggan, monkeypatch):
        from eggan.data.synfacs import sheet

        monkeypatch.setattr(sheet, "expression_sheet", lambda size, seed: Image.fromarray(PICTURE))
        before = (workplace / "face.png").read_bytes()
        status, _, err = eggan("data", "sheet", "--out", "face.png")
        assert (status, "add --force" in err) == (2, True)
        assert (workplace / "face.png").read_bytes() == before
        for _ in range(2):
            assert eggan("data", "sheet", "--out", "sheet.png")[0] == 0
        assert np.array_equal(np.asarray(Image.open("sheet.png")), PICTURE)

    def test_a_training_does_not_write_over_an_imported_checkpoint(self, workplace, eggan, trained):
        shutil.rmtree(workplace / "m")
        (workplace / "m").mkdir()
        (workplace / "m" / "config.json").write_text("{}")
        words = ("eggan", "--dataset", trained / "tiny", "--preset", "quick", "--offline", "--out", "m")
        status, _, err = eggan("train", *words)
        assert (status, "holds a config.json that no training wrote" in err) == (2, True)
        assert (workplace / "m" / "config.json").read_text() == "{}"
