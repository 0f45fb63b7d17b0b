"""Frozen configs: every field carries the source of its value, parsing is strict, content has a hash.

    @dataclass(frozen=True)
    class TrainingConfig:
        batch_size: int = setting(8, "paper, Sec. 4.1")

`source` is one of: the paper and its section, a reference implementation and its file, or "ours: why".
"""

import dataclasses
import hashlib
import json
import tomllib
import types
import typing
from pathlib import Path
from typing import Any, TypeVar

from eggan.errors import UserError

T = TypeVar("T")


def setting(default: Any, source: str) -> Any:
    """Declare a config field with its default and the source of that default."""
    return dataclasses.field(default=default, metadata={"source": source})


def source_of(config: Any, name: str) -> str:
    """Return the declared source of a field's default."""
    return str({f.name: f.metadata.get("source", "") for f in dataclasses.fields(config)}[name])


def to_dict(config: Any) -> dict[str, Any]:
    """Return a config as plain nested dictionaries, lists and scalars (JSON-ready)."""
    return json.loads(json.dumps(dataclasses.asdict(config)))


def from_dict(kind: type[T], values: dict[str, Any], where: str = "config") -> T:
    """Build `kind` from a mapping; an unknown key, a wrong type or an invalid value is a `UserError`."""
    hints = typing.get_type_hints(kind)
    known = {field.name for field in dataclasses.fields(kind)}  # type: ignore[arg-type]
    for key in values:
        if key not in known:
            raise UserError(f"{where}: unknown key {key!r} (known: {', '.join(sorted(known))})")
    parsed = {key: _coerce(hints[key], value, f"{where}.{key}") for key, value in values.items()}
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
    if origin is tuple and isinstance(value, list | tuple):
        return tuple(_coerce(typing.get_args(hint)[0], item, where) for item in value)
    if origin is typing.Literal:
        if value not in typing.get_args(hint):
            raise UserError(
                f"{where} is {value!r}; choose one of {', '.join(map(repr, typing.get_args(hint)))}"
            )
        return value
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    if (
        not isinstance(hint, type)
        or not isinstance(value, hint)
        or (isinstance(value, bool) and hint is not bool)
    ):
        raise UserError(f"{where} is {value!r}; expected {getattr(hint, '__name__', hint)}")
    return value


def read_toml(path: Path) -> dict[str, Any]:
    """Return the values of a TOML file; a missing or malformed file is a `UserError`."""
    try:
        return tomllib.loads(path.read_text())
    except OSError as error:
        raise UserError(f"cannot read the config file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"{path} is not valid TOML: {error}") from None


def override(config: T, assignments: list[str]) -> T:
    """Return `config` with `"field=value"` or `"group.field=value"` assignments applied, strictly."""
    values = to_dict(config)
    for text in assignments:
        path, sign, raw = text.partition("=")
        if not sign:
            raise UserError(f"cannot read setting {text!r}: write FIELD=VALUE")
        try:
            value = json.loads(raw)
        except json.JSONDecodeError:
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
