"""Frozen configs: every field carries the source of its value, parsing is strict, content has a hash.

    @dataclass(frozen=True)
    class TrainingConfig:
        batch_size: int = setting(8, "paper, Sec. 4.1")

`source` is one of: the paper and its section, a reference implementation and its file, or "ours: why".
"""

import dataclasses
import hashlib
import json
import math
import re
import tomllib
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from eggan.errors import UserError, known_names

T = TypeVar("T")
SIGNED = -math.inf  # the `least` of a number that may be below 0


def setting(
    default: Any, source: str, later: bool = False, least: float | None = None, below: float = math.inf
) -> Any:
    """Declare a config field with its default and the source of that default.

    A field that came `later`, with a default that changes nothing, is left out of `to_dict` at that default:
    hashes, cards and training states of before stay valid. Numbers, those of a list too, are read from a
    user only where they are at least `least`, 1 for what counts things, and `below` its bound. Without
    `least` that is 0, or nothing where the default itself is negative.
    """
    if least is None:
        least = SIGNED if isinstance(default, int | float) and default < 0 else 0
    return dataclasses.field(
        default=default, metadata={"source": source, "later": later, "least": least, "below": below}
    )


def to_dict(config: Any) -> dict[str, Any]:
    """Return a config as plain nested dictionaries, lists and scalars (JSON-ready)."""
    return json.loads(json.dumps(_fields_of(config)))


def _fields_of(config: Any) -> dict[str, Any]:
    values = {field: getattr(config, field.name) for field in dataclasses.fields(config)}
    return {
        field.name: _fields_of(value) if dataclasses.is_dataclass(value) else value
        for field, value in values.items()
        if not (field.metadata.get("later") and value == field.default)
    }


def from_dict(kind: type[T], values: dict[str, Any], where: str = "config") -> T:
    """Build `kind` from a mapping; an unknown key, a wrong type or an invalid value is a `UserError`."""
    hints = typing.get_type_hints(kind)
    known = {field.name: field for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise UserError(f"{where}: unknown key {key!r}{known_names(key, sorted(known))}")
    parsed = {key: _coerce(hints[key], value, f"{where}.{key}") for key, value in values.items()}
    for key, value in parsed.items():
        _check_bounds(value, known[key].metadata, f"{where}.{key}")
    try:
        return kind(**parsed)
    except (TypeError, ValueError) as error:
        raise UserError(f"{where}: {error}") from None


def _coerce(hint: Any, value: Any, where: str) -> Any:
    if dataclasses.is_dataclass(hint) and isinstance(value, dict):
        return from_dict(typing.cast(type, hint), value, where)
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        if value is None:
            return None
        return _coerce(next(arg for arg in typing.get_args(hint) if arg is not type(None)), value, where)
    if origin is tuple:
        kind = typing.get_args(hint)[0]
        if not isinstance(value, list | tuple):
            raise UserError(f"{where} is {value!r}; expected a list: write {_as_list(value, kind)}")
        return tuple(_coerce(kind, item, where) for item in value)
    if origin is typing.Literal:
        if value not in typing.get_args(hint):
            raise UserError(
                f"{where} is {value!r}; choose one of {', '.join(map(repr, typing.get_args(hint)))}"
            )
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return _finite(float(value) if abs(value) < 10**300 else math.inf, value, where)
    if (
        not isinstance(hint, type)
        or not isinstance(value, hint)
        or (isinstance(value, bool) and hint is not bool)
    ):
        meant = what_is_meant(value, hint)
        raise UserError(
            f"{where} is {value!r}; expected {getattr(hint, '__name__', hint)}{meant and ': '}{meant}"
        )
    return _finite(typing.cast(float, value), value, where) if hint is float else value


def _check_bounds(value: Any, bounds: Mapping[str, Any], where: str) -> None:
    numbers = value if isinstance(value, tuple) else (value,)
    if not numbers and bounds.get("least", SIGNED) > 0:
        raise UserError(f"{where} is an empty list")
    for number in numbers:
        if not isinstance(number, int | float) or isinstance(number, bool):
            continue
        if number < bounds.get("least", SIGNED):
            raise UserError(f"{where} is {number}; it must be at least {bounds['least']:g}")
        if number >= bounds.get("below", math.inf):
            raise UserError(f"{where} is {number}; it must be below {bounds['below']:g}")


def _as_list(value: Any, kind: Any) -> str:
    """Return how to write on a command line the list that `value` seems to stand for."""
    words = [word.strip() for word in str(value).strip("[]").split(",")]
    return f"'{json.dumps(words)}'" if kind is str else f"[{','.join(words)}]"


def _finite(value: float, written: Any, where: str) -> float:
    if not math.isfinite(value):
        raise UserError(f"{where} is {written!r}; expected a finite number")
    return value


def what_is_meant(value: Any, hint: Any = None) -> str:
    """Return how to write what `value`, of the wrong type or no TOML at all, seems to stand for; else "".

    `hint` is the type of the field; None where it is not known.
    """
    text = value.strip() if isinstance(value, str) else json.dumps(value, default=str)
    if text.lower() in ("true", "false", "yes", "no", "on", "off") and hint in (None, bool):
        return f"write {'true' if text.lower() in ('true', 'yes', 'on') else 'false'}"
    if re.fullmatch(r"[+-]?\d+,\d+", text):
        return (
            f"write {text.replace(',', '.')} with a decimal point, or [{text.replace(',', ', ')}] for a list"
        )
    if text.lower().lstrip("+-") in ("nan", "inf", "infinity", "1.#inf"):
        return "a finite number is needed"
    if text.lower() in ("none", "null", "nil") and hint is None:
        return "leave the line out to keep the default"
    if hint is int and isinstance(value, float) and value.is_integer():
        return f"write {int(value)}"
    if hint is None and re.fullmatch(r"[^\W\d][\w./-]*", text):
        return f'write text in quotes, "{text}"'
    return ""


def read_toml(path: Path) -> dict[str, Any]:
    """Return the values of a TOML file in UTF-8, with or without a byte order mark.

    A missing or malformed file and a number that is not finite are a `UserError` that names the line.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read the config file {path}: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise UserError(f"{path} is not UTF-8 (line {line}): save it in that encoding") from None
    try:
        return tomllib.loads(text, parse_float=_finite_toml)
    except RecursionError:
        raise UserError(f"{path} is not valid TOML: it is nested too deeply") from None
    except tomllib.TOMLDecodeError as error:
        raise UserError(f"{path} is not valid TOML: {_toml_fault(str(error), text)}") from None
    except _NotFinite as error:
        raise UserError(f"{path}{_line_of(str(error), text)}: {error} is not a finite number") from None


class _NotFinite(ValueError):
    """A number in a TOML file that is no number."""


def _finite_toml(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _NotFinite(text)
    return value


def _line_of(word: str, text: str) -> str:
    """Return ", line N" of the first value that is written as `word`."""
    pattern = re.compile(rf"[=,\[]\s*{re.escape(word)}\s*(?:[,\]#]|$)")
    found = (number for number, line in enumerate(text.splitlines(), start=1) if pattern.search(line))
    number = next(found, None)
    return f", line {number}" if number else ""


def _toml_fault(message: str, text: str) -> str:
    """Return a parser's message with the line that it names, and what seems to be meant by it."""
    place = re.search(r"\(at line (\d+)", message)
    if place is None:
        return message
    line = text.splitlines()[int(place[1]) - 1].strip()
    value = line.partition("=")[2].partition("#")[0]
    meant = "write NAME = VALUE" if "=" not in line and ":" in line else what_is_meant(value)
    reason = message.partition(" (at line")[0]
    return f"line {place[1]}, {line[:80]!r}: {meant or reason}"


def override(config: T, assignments: list[str]) -> T:
    """Return `config` with `"field=value"` or `"group.field=value"` assignments applied, strictly."""
    values = to_dict(config)
    for text in assignments:
        path, sign, raw = text.partition("=")
        if not sign:
            raise UserError(f"cannot read setting {text!r}: write FIELD=VALUE")
        try:
            value = json.loads(raw)
        except (ValueError, RecursionError):
            value = raw
        *groups, leaf = path.strip().split(".")
        target = values
        for group in groups:
            if not isinstance(target.get(group), dict):
                raise UserError(f"unknown setting group {group!r} in {text!r}")
            target = target[group]
        target[leaf] = value
    return from_dict(type(config), values, where="setting")


def content_hash(value: Any) -> str:
    """Return the sha256 hex digest of a config or of any JSON-ready value."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        value = to_dict(value)
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
