"""The documented example method, used as its author would: installed, checked, trained and scored."""

import dataclasses
import re
import sys
import tomllib
from pathlib import Path

import pytest
import torch

from benchmarks.running.bench_session import BenchSession
from benchmarks.suites.added_rows import with_added_rows
from benchmarks.suites.methods import all_methods
from eggan import tracking
from eggan.conformance import checks
from eggan.conformance.checks import CHECKS
from tests.benchmarks.fakes import make_bench, tiny_suite

GUIDE = Path(__file__).parents[2] / "docs" / "add-a-method.md"


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", GUIDE.read_text(), flags=re.DOTALL)


def install(folder: Path, code: str) -> None:
    """Lay a package down as an installation does: its module, and its entry points beside it."""
    (folder / "mypackage").mkdir()
    (folder / "mypackage" / "__init__.py").write_text("")
    (folder / "mypackage" / "mymethod.py").write_text(code)
    (toml,) = blocks("toml")
    groups = tomllib.loads(toml)["project"]["entry-points"]
    lines = [
        f"[{group}]\n{name} = {value}\n" for group, names in groups.items() for name, value in names.items()
    ]
    info = folder / "mypackage-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mypackage\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("".join(lines))


@pytest.fixture
def example(tmp_path, monkeypatch):
    """Install the example, with some text replaced: `example(old, new)`."""
    (code,) = blocks("python")

    def installed(old: str = "", new: str = "") -> None:
        assert old in code
        install(tmp_path, code.replace(old, new) if old else code)
        monkeypatch.syspath_prepend(tmp_path)
        for name in ("mypackage", "mypackage.mymethod"):
            monkeypatch.delitem(sys.modules, name, raising=False)

    yield installed
    for name in ("mypackage", "mypackage.mymethod"):
        sys.modules.pop(name, None)


def test_the_example_keeps_the_contract(example, eggan):
    example()
    status, out, err = eggan("check-method", "mymethod", "--device", "cpu")
    assert (status, err) == (0, "")
    lines = out.splitlines()
    assert lines[0] == "My method, preset cpu, on cpu"
    assert [line.removeprefix("ok    ") for line in lines[1:-1]] == list(CHECKS)


@pytest.mark.parametrize(
    ("old", "new", "check", "message"),
    [
        ('reads=("source", ', 'reads=("reference", ', "edits read what the entry says", "read source,"),
        (".clamp(-1, 1)", " + 2", "edits keep shape and range", r"outside \[-1, 1\]"),
        ("    @torch.no_grad()\n", "", "edits keep shape and range", "carry a gradient"),
        ('"network": adam', '"network": 3 or adam', "the seed decides the start", "Error"),
        ('": loss.detach()}', '": loss.detach() * loss.item()}', "updates never wait for the device", "item"),
        ('{"l1": loss.detach()}', '{"l1": loss}', "updates learn, and draw only from their batch",
         "gradient"),
        ("manual_seed(derive_seed(", "initial_seed() or ((", "the seed decides the start", "seed"),
        ("        edit = self.edited(batch.image",
         "        torch.rand(1)\n        edit = self.edited(batch.image",
         "updates learn, and draw only from their batch", "global random state"),
        ("return self.edited(request", "self.networks['network'].eval(); return self.edited(request",
         "editing leaves mode, gradients and state alone", "another mode"),
        ("    method.load_inference_weights(weights)\n", "",
         "inference weights restore the edits", "otherwise"),
    ],
)  # fmt: skip
def test_a_fault_is_reported_in_one_line(example, eggan, monkeypatch, old, new, check, message):
    """By the check that looks for it, which alone is made here."""
    example(old, new)
    monkeypatch.setattr(checks, "CHECKS", {check: CHECKS[check]})
    status, out, _ = eggan("check-method", "mymethod", "--device", "cpu", "--set", "width=4")
    assert status == 1
    _, line, summary = out.splitlines()
    assert line.startswith(f"FAIL  {check}: ")
    assert re.search(message, line)
    assert summary == "1 of 1 checks failed"


def test_the_checks_after_one_that_fails_are_made(example, eggan):
    example(".clamp(-1, 1)", " + 2")
    status, out, _ = eggan("check-method", "mymethod", "--device", "cpu", "--set", "width=4")
    assert status == 1
    lines = out.splitlines()[1:-1]
    assert [re.sub(r"^(?:ok    |FAIL  )|: .*", "", line) for line in lines] == list(CHECKS)
    assert [line.startswith("FAIL") for line in lines].count(True) == 1


def test_the_example_is_scored_beside_the_others(example, tmp_path, capsys):
    example()
    bench = make_bench(tmp_path)
    bench = dataclasses.replace(bench, methods={**all_methods(), "painter": bench.methods["painter"]})
    suite = with_added_rows(tiny_suite(references=False), ["mymethod"], bench.methods)
    session = BenchSession(suite, bench, ["mymethod"], [], [], offline=True)
    assert session.run() == 0
    assert "mymethod/synfacs-fake/s0  finished" in capsys.readouterr().out
    (folder,) = (tmp_path / "runs" / "cells").glob("*")
    assert tracking.read_record(folder).tags["title"] == "My method"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("oracle",), "oracle is a reference"),
        (("nobody",), "unknown method 'nobody'"),
        (("stargan", "--preset", "huge"), "stargan has no preset 'huge'"),
        (("stargan", "--set", "widths=3"), "unknown key 'widths'"),
    ],
)
def test_what_cannot_be_checked_is_refused(eggan, words, message):
    status, out, err = eggan("check-method", *words)
    assert (status, out, message in err, err.count("\n")) == (2, "", True, 1)


@pytest.mark.parametrize(
    "read",
    [
        lambda t: t.sum().item(),
        lambda t: float(t.sum()),
        lambda t: bool(t.sum() > 0),
        lambda t: t.tolist(),
        lambda t: t.cpu(),
        lambda t: t.numpy(),
        lambda t: t[t > 0],
        lambda t: torch.nonzero(t),
    ],
)
def test_every_way_of_reading_a_tensor_is_caught(read):
    from eggan.conformance.host_reads import HostRead, no_host_reads

    values = torch.ones(3)
    read(values)
    with pytest.raises(HostRead), no_host_reads():
        read(values)


def test_an_optimisers_own_step_counter_is_no_read():
    from eggan.conformance.host_reads import no_host_reads

    layer = torch.nn.Linear(2, 1)
    optimizer = torch.optim.Adam(layer.parameters(), fused=False, foreach=False)
    with no_host_reads():
        layer(torch.ones(3, 2)).mean().backward()
        optimizer.step()
