"""Which cluster is meant, and what keeps strangers out of it."""

import argparse
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from benchmarks.bench_commands import register
from eggan.cluster import connection
from eggan.cluster.connection import ClusterChoice, connected
from eggan.cluster.jobs import ClusterRun
from eggan.cluster.version import program_version
from eggan.cluster.worker import inside
from eggan.errors import UserError
from tests.cluster.counting import job


def parsed(*words: str) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    register(parser.add_subparsers())
    return parser.parse_args(["bench", "run", "quick", *words])


def test_an_address_a_file_and_workers_of_this_machine_are_told_apart():
    for place in ("tcp://10.0.0.1:8786", "tls://node1:8786", "node1:8786"):
        choice = ClusterChoice(place)
        assert choice.is_address
        assert not choice.is_local
    assert not ClusterChoice("some/scheduler.json").is_address
    assert ClusterChoice("local:2").is_local
    assert ClusterChoice.of(parsed()) is None
    assert ClusterChoice.of(parsed(), at_once=3) == ClusterChoice("local:3")
    assert ClusterChoice.of(parsed("--cluster", "h:1"), at_once=3).place == "h:1"
    for wrong in ("local:", "local:0", "local:two"):
        with pytest.raises(UserError, match="give a number of workers"):
            ClusterChoice(wrong)


def test_tls_takes_all_three_files_and_a_cluster(tmp_path):
    (tmp_path / "ca.pem").touch()
    with pytest.raises(UserError, match="all three"):
        ClusterChoice.of(parsed("--cluster", "tls://h:1", "--tls-ca", str(tmp_path / "ca.pem")))
    with pytest.raises(UserError, match="go with --cluster"):
        ClusterChoice.of(parsed("--tls-ca", str(tmp_path / "ca.pem")))
    with pytest.raises(UserError, match="there is no file"):
        ClusterChoice("tls://h:1", *[tmp_path / "none.pem"] * 3)


def test_without_dask_a_line_says_what_to_install(monkeypatch):
    monkeypatch.setattr(connection, "find_spec", lambda name: None)
    assert ClusterChoice.of(parsed()) is None  # as in a bundle
    for choose in (
        lambda: ClusterChoice.of(parsed("--cluster", "local:2")),
        lambda: ClusterChoice.of(parsed(), at_once=2),
    ):
        with pytest.raises(UserError, match="pip install distributed"):
            choose()


@pytest.mark.parametrize(
    ("address", "warns"),
    [
        ("tcp://127.0.0.1:8786", False),
        ("tcp://localhost:8786", False),
        ("tcp://[::1]:8786", False),
        ("tls://10.0.0.1:8786", False),
        ("tcp://10.0.0.1:8786", True),
        ("tcp://node1:8786", True),
    ],
)
def test_an_open_network_is_warned_of(address, warns, capsys):
    connection._warn_of_open_transport(address)
    said = capsys.readouterr().err
    assert said.startswith(f"warning: {address} is not encrypted") == warns
    assert len(said.splitlines()) == warns


def test_a_cluster_that_is_not_there_is_a_line(tmp_path, monkeypatch):
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 0.5)
    monkeypatch.setattr(connection, "FILE_SECONDS", 0.1)
    (tmp_path / "other.json").write_text(json.dumps({"no": "address"}))
    for place, what in (
        ("127.0.0.1:9", "no scheduler answers at tcp://127.0.0.1:9"),
        (str(tmp_path / "none.json"), "is neither a scheduler's file nor an address"),
        (str(tmp_path / "other.json"), "is neither a scheduler's file nor an address"),
    ):
        with pytest.raises(UserError, match=what) as said, connected(ClusterChoice(place)):
            pass
        assert "\n" not in str(said.value)


def test_the_version_is_one_word_that_follows_the_sources(tmp_path, monkeypatch):
    from eggan.cluster import version

    here = program_version()
    assert here.startswith("eggan-")
    assert " " not in here
    shutil.copytree(version.SOURCES / "eggan" / "cluster", tmp_path / "eggan" / "cluster")
    monkeypatch.setattr(version, "SOURCES", tmp_path)
    program_version.cache_clear()
    copied = program_version()
    (tmp_path / "eggan" / "cluster" / "jobs.py").write_text("other = 1\n")
    program_version.cache_clear()
    assert len({here, copied, program_version()}) == 3
    monkeypatch.undo()
    program_version.cache_clear()
    assert program_version() == here


@pytest.mark.parametrize("name", ["/etc/passwd", "../x", "a/../../x", ""])
def test_no_name_leads_out_of_a_workers_folder(name, tmp_path):
    with pytest.raises(ValueError, match="does not lie inside"):
        inside(tmp_path, name)
    assert inside(tmp_path, "a/b") == tmp_path / "a" / "b"


def certificates(folder: Path) -> tuple[Path, Path]:
    cert, key = folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", "/CN=eggan-test", "-days", "2", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", *subject]
    subprocess.run([*command, "-keyout", key, "-out", cert], check=True, capture_output=True)
    return cert, key


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("openssl") is None, reason="no openssl")
def test_a_cluster_with_tls_takes_those_with_its_certificate_alone(machines, notes, tmp_path, monkeypatch):
    cert, key = certificates(tmp_path)
    tls = ["--tls-ca-file", str(cert), "--tls-cert", str(cert), "--tls-key", str(key)]
    machines.scheduler("--port", "0", "--protocol", "tls", *tls)
    machines.worker("one", *tls)
    ended = []
    with connected(ClusterChoice(str(machines.file), cert, cert, key)) as client:
        ClusterRun(client, iter([job(tmp_path, notes)]), lambda job, outcome: ended.append(outcome)).run()
    assert ended[0].status == 0
    monkeypatch.setattr(connection, "ANSWER_SECONDS", 2.0)
    with (
        pytest.raises(UserError, match="no scheduler answers at tls://"),
        connected(ClusterChoice(str(machines.file))),
    ):
        pass
