"""Which version of the code a run records: the package's own, and a commit only of its own checkout."""

import subprocess

import pytest

from eggan import __version__, tracking
from eggan.tracking import provenance


class TestCodeVersion:
    @pytest.fixture
    def repository(self, tmp_path, monkeypatch):
        """A repository with one commit, in which `code_version` is asked afresh."""
        for words in (["init", "-q"], ["add", "."], ["commit", "-q", "--allow-empty", "-m", "x"]):
            author = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
            subprocess.run(["git", *author, *words], cwd=tmp_path, check=True)
        provenance.code_version.cache_clear()
        yield tmp_path
        provenance.code_version.cache_clear()

    def ask(self, monkeypatch, source):
        monkeypatch.setattr(provenance, "SOURCE", source)
        return provenance.code_version()

    def test_our_own_checkout_has_a_commit(self):
        provenance.code_version.cache_clear()
        version = tracking.code_version()
        assert set(version) == {"version.eggan", "commit", "dirty"}
        assert version["version.eggan"] == __version__
        assert version["dirty"] in ("true", "false", "unknown")

    def test_a_checkout_with_another_name_is_ours_too(self, repository, monkeypatch):
        (repository / "eggan").mkdir()
        (repository / "eggan" / "__init__.py").touch()
        subprocess.run(["git", "add", "."], cwd=repository, check=True)
        version = self.ask(monkeypatch, repository)
        assert len(version["commit"]) == 40
        assert version["dirty"] == "true"

    @pytest.mark.parametrize("place", [".venv/lib/python3.11/site-packages", "."])
    def test_the_users_commit_is_not_ours(self, repository, monkeypatch, place):
        """A wheel in a virtual environment inside the user's repository; or the package, not committed."""
        (repository / place / "eggan").mkdir(parents=True)
        (repository / place / "eggan" / "__init__.py").touch()
        version = self.ask(monkeypatch, repository / place)
        assert version == {"version.eggan": __version__, "commit": "unknown", "dirty": "unknown"}

    def test_a_hook_of_another_repository_changes_nothing(self, repository, tmp_path_factory, monkeypatch):
        monkeypatch.setenv("GIT_DIR", str(repository / ".git"))
        monkeypatch.setenv("GIT_WORK_TREE", str(repository))
        elsewhere = tmp_path_factory.mktemp("elsewhere")
        assert self.ask(monkeypatch, elsewhere)["commit"] == "unknown"
