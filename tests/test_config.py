"""Frozen configs: sources, strict parsing, overrides, content hash."""

import dataclasses
from typing import Literal

import pytest

from eggan.config import SIGNED, content_hash, from_dict, override, read_toml, setting, to_dict
from eggan.errors import UserError


@dataclasses.dataclass(frozen=True)
class Inner:
    rate: float = setting(0.1, "ours: a test")
    kind: Literal["a", "b"] = setting("a", "ours: a test")


@dataclasses.dataclass(frozen=True)
class Outer:
    steps: int = setting(10, "paper, Sec. 4.1")
    name: str = setting("x", "ours: a test")
    fast: bool = setting(False, "ours: a test")
    limit: float | None = setting(None, "ours: a test")
    widths: tuple[int, ...] = setting((1, 2), "ours: a test")
    inner: Inner = setting(Inner(), "ours: a test")  # noqa: RUF009

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise ValueError("steps must be at least 1")


@dataclasses.dataclass(frozen=True)
class Bounded:
    weight: float = setting(1.0, "ours: a test")
    widths: tuple[int, ...] = setting((4, 8), "ours: a test", least=1)
    shift: float = setting(-1.0, "ours: a test")
    turn: float = setting(0.0, "ours: a test", least=SIGNED)
    beta: float = setting(0.9, "ours: a test", below=1)
    parts: tuple[str, ...] = setting(("train",), "ours: a test")


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("weight=-0.5", "weight is -0.5; it must be at least 0"),
        ("widths=[4,0]", "widths is 0; it must be at least 1"),
        ("widths=[]", "widths is an empty list"),
        ("beta=1", "beta is 1.0; it must be below 1"),
        ("widths=4", r"widths is 4; expected a list: write \[4\]"),
        ("widths=4,8", r"widths is '4,8'; expected a list: write \[4,8\]"),
        ("parts=train,val", r"""parts is 'train,val'; expected a list: write '\["train", "val"\]'"""),
    ],
)
def test_a_number_out_of_its_bounds_and_a_list_that_is_none_say_what_to_write(assignment, message):
    with pytest.raises(UserError, match=message):
        override(Bounded(), [assignment])


def test_numbers_at_their_bounds_and_those_that_have_none_are_taken():
    kept = override(Bounded(), ["weight=0", "widths=[1]", "shift=-3", "turn=-1", "beta=0.999", "parts=[]"])
    assert kept == Bounded(0.0, (1,), -3.0, -1.0, 0.999, ())


def test_a_field_names_its_source():
    (steps,) = (field for field in dataclasses.fields(Outer) if field.name == "steps")
    assert steps.metadata["source"] == "paper, Sec. 4.1"


def test_a_config_is_frozen():
    with pytest.raises(dataclasses.FrozenInstanceError):
        Outer().steps = 3


def test_the_plain_form_round_trips():
    config = Outer(steps=3, limit=2.0, widths=(4, 5, 6), inner=Inner(rate=0.5, kind="b"))
    assert from_dict(Outer, to_dict(config)) == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"step": 3}, "unknown key 'step': did you mean steps. .known: fast, inner"),
        ({"inner": {"rat": 1}}, r"config.inner: unknown key 'rat'"),
        ({"steps": 1.5}, "config.steps is 1.5; expected int"),
        ({"steps": True}, "expected int"),
        ({"steps": 0}, "steps must be at least 1"),
        ({"name": 3}, "expected str"),
        ({"fast": 1}, "expected bool"),
        ({"widths": ["a"]}, "expected int"),
        ({"inner": {"kind": "c"}}, "choose one of 'a', 'b'"),
    ],
)
def test_parsing_is_strict(values, message):
    with pytest.raises(UserError, match=message):
        from_dict(Outer, values)


def test_an_integer_serves_where_a_float_is_expected():
    value = from_dict(Outer, {"inner": {"rate": 1}}).inner.rate
    assert value == 1.0
    assert isinstance(value, float)


def test_overrides_reach_groups_and_keep_types():
    changed = override(Outer(), ["steps=20", "inner.kind=b", "widths=[3]", "limit=1.5", "name=y"])
    assert changed == Outer(steps=20, name="y", limit=1.5, widths=(3,), inner=Inner(kind="b"))
    assert override(changed, ["limit=null"]).limit is None


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("steps", "write FIELD=VALUE"),
        ("nonsense=1", "unknown key 'nonsense'"),
        ("group.rate=1", "unknown setting group 'group'"),
        ("inner.rate=fast", "expected float"),
    ],
)
def test_bad_overrides_are_refused(assignment, message):
    with pytest.raises(UserError, match=message):
        override(Outer(), [assignment])


def from_file(path):
    return from_dict(Outer, read_toml(path), where=path.name)


def test_a_later_field_is_left_out_at_its_default_so_that_hashes_hold():
    @dataclasses.dataclass(frozen=True)
    class Before:
        steps: int = setting(1, "ours")

    @dataclasses.dataclass(frozen=True)
    class Now(Before):
        kind: str = setting("old", "ours", later=True)

    assert to_dict(Now()) == to_dict(Before()) == {"steps": 1}
    assert content_hash(Now()) == content_hash(Before()) != content_hash(Now(kind="new"))
    assert to_dict(Now(kind="new")) == {"steps": 1, "kind": "new"}
    assert override(Now(), ["kind=new"]) == from_dict(Now, to_dict(Now(kind="new"))) == Now(kind="new")
    assert from_dict(Now, {}).kind == "old"


def test_toml(tmp_path):
    path = tmp_path / "config.toml"
    path.write_text("steps = 5\n[inner]\nrate = 2\n")
    assert from_file(path) == Outer(steps=5, inner=Inner(rate=2.0))


def test_toml_defects_are_named(tmp_path):
    path = tmp_path / "config.toml"
    with pytest.raises(UserError, match="No such file"):
        from_file(path)
    path.write_text("steps = ")
    with pytest.raises(UserError, match="not valid TOML"):
        from_file(path)
    path.write_text("stepz = 5")
    with pytest.raises(UserError, match=r"config.toml: unknown key 'stepz'"):
        from_file(path)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("fast = True", "line 3, 'fast = True': write true"),
        ("fast = no  # never", "line 3, 'fast = no  # never': write false"),
        ("limit = 1,5", r"line 3, 'limit = 1,5': write 1.5 with a decimal point, or \[1, 5\] for a list"),
        ("limit = NaN", "line 3, 'limit = NaN': a finite number is needed"),
        ("limit = nan", "config.toml, line 3: nan is not a finite number"),
        ("limit = -inf", "config.toml, line 3: -inf is not a finite number"),
        ("limit = 1e999", "config.toml, line 3: 1e999 is not a finite number"),
        ("limit = None", "line 3, 'limit = None': leave the line out"),
        ("name = bf16", "line 3, 'name = bf16': write text in quotes, \"bf16\""),
        ("name: bf16", "line 3, 'name: bf16': write NAME = VALUE"),
        ("steps =", "line 3, 'steps =': Invalid value"),
        ("steps = 5\nsteps = 6", "line 4, 'steps = 6': Cannot overwrite a value"),
    ],
)
def test_a_defect_of_a_line_says_what_is_meant(tmp_path, line, message):
    path = tmp_path / "config.toml"
    path.write_text(f"# widths, then the rest\nwidths = [1, 2]\n{line}\n")
    with pytest.raises(UserError, match=message):
        from_file(path)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_toml_is_utf_8_with_or_without_a_mark(tmp_path, monkeypatch, encoding, end):
    monkeypatch.setattr("locale.getpreferredencoding", lambda *_: "ascii")
    path = tmp_path / "config.toml"
    path.write_bytes(f'name = "größe α"{end}steps = 5{end}'.encode(encoding))
    assert from_file(path) == Outer(name="größe α", steps=5)


@pytest.mark.parametrize("encoding", ["utf-16", "latin-1"])
def test_another_encoding_is_named(tmp_path, encoding):
    path = tmp_path / "config.toml"
    path.write_bytes('steps = 5\nname = "größe"\n'.encode(encoding))
    with pytest.raises(UserError, match=r"config.toml is not UTF-8 \(line \d\)"):
        from_file(path)


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("fast=True", "setting.fast is 'True'; expected bool: write true"),
        ("fast=off", "setting.fast is 'off'; expected bool: write false"),
        ("limit=1,5", "setting.limit is '1,5'; expected float: write 1.5 with a decimal point"),
        ("limit=NaN", "setting.limit is nan; expected a finite number"),
        ("limit=nan", "setting.limit is 'nan'; expected float: a finite number is needed"),
        ("limit=Infinity", "setting.limit is inf; expected a finite number"),
        ("limit=-1e999", "setting.limit is -inf; expected a finite number"),
        ("inner.rate=1e999", "setting.inner.rate is inf; expected a finite number"),
        ("steps=1e3", "setting.steps is 1000.0; expected int: write 1000"),
        ("widths=[1,NaN]", "setting.widths is nan; expected int"),
    ],
)
def test_an_override_says_what_is_meant(assignment, message):
    with pytest.raises(UserError, match=message):
        override(Outer(), [assignment])


def test_an_integer_too_large_for_a_float_is_refused():
    with pytest.raises(UserError, match="expected a finite number"):
        from_dict(Outer, {"limit": 10**400})


def test_the_hash_depends_on_content_alone():
    assert content_hash(Outer()) == content_hash(Outer(steps=10))
    assert content_hash(Outer()) != content_hash(Outer(steps=11))
    assert content_hash({"a": 1, "b": 2}) == content_hash({"b": 2, "a": 1})
    # sha256 of the two bytes "{}"
    assert content_hash({}) == "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
