"""Damage as files meet it, drawn from a generator: of bytes, of lines of text, and of trees of values."""

import json
import re
from collections.abc import Callable
from typing import Any

import numpy as np

Random = np.random.Generator

EXTREME_NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)
EXTREME_TEXTS = (
    *("", "nan", "NaN", "inf", "-inf", "1e999", "-1", "1_0", "99999999999999999999", "1,5", "5.0001", "-0.0"),
    *("True", "=1+1", '"', "'", "\\", "[[[[", "]]", "{", "#", ";", "\t", "\ufeff", "\0"),
    *("\x1b[31m", "é", "e\u0301"),
    *("../../etc/passwd", "/etc/passwd", "a" * 3000, "0x10", "١٢", "1970-01-01", "null", "\u2028", "🙂"),
)  # fmt: skip
JUNK: tuple[Any, ...] = (
    *(None, True, 0, -1, 1, 2**31, 2**63, 10**400, 1e308, float("nan"), float("inf")),
    *("", "x", "../../x", "\0"),
    *([], {}, [[]], [None], {"": None}, {"a": {"a": {"a": []}}}, [0] * 100, "a" * 3000),
)  # fmt: skip


def damage_bytes(content: bytes, random: Random) -> bytes:
    """Return `content` with one to three kinds of damage."""
    data = bytearray(content)
    for _ in range(random.integers(1, 4)):
        data = _pick(BYTE_DAMAGES, random)(data, random)
    return bytes(data)


def _flip(data: bytearray, random: Random) -> bytearray:
    for _ in range(random.integers(1, 9) if data else 0):
        data[random.integers(len(data))] ^= 1 << int(random.integers(8))
    return data


def _flip_in_head(data: bytearray, random: Random) -> bytearray:
    for _ in range(random.integers(1, 5) if data else 0):
        data[random.integers(min(len(data), 64))] = int(random.integers(256))
    return data


def _truncate(data: bytearray, random: Random) -> bytearray:
    return data[: random.integers(len(data) + 1)]


def _cut_out(data: bytearray, random: Random) -> bytearray:
    start, end = sorted(random.integers(0, len(data) + 1, 2))
    return data[:start] + data[end:]


def _splice(data: bytearray, random: Random) -> bytearray:
    start, end = sorted(random.integers(0, len(data) + 1, 2))
    place = random.integers(len(data) + 1)
    return data[:place] + data[start : min(end, start + 4096)] + data[place:]


def _overwrite(data: bytearray, random: Random) -> bytearray:
    place, length = random.integers(len(data) + 1), random.integers(1, 64)
    data[place : place + length] = random.bytes(int(length))
    return data


def _extreme_number(data: bytearray, random: Random) -> bytearray:
    for _ in range(random.integers(1, 4)):
        number, order = EXTREME_NUMBERS[random.integers(len(EXTREME_NUMBERS))], ("little", "big")
        length = 2 if number <= 0xFFFF and random.integers(2) else 4
        place = random.integers(min(len(data), 200 if random.integers(2) else len(data)) + 1)
        data[place : place + length] = number.to_bytes(length, order[random.integers(2)])  # type: ignore[arg-type]
    return data


def _zeros(data: bytearray, random: Random) -> bytearray:
    start, end = sorted(random.integers(0, len(data) + 1, 2))
    data[start:end] = bytes(int(end - start))
    return data


def _append(data: bytearray, random: Random) -> bytearray:
    return data + random.bytes(int(random.integers(1, 2000)))


BYTE_DAMAGES: tuple[Callable[[bytearray, Random], bytearray], ...] = (
    *(_flip, _flip, _flip_in_head, _extreme_number, _extreme_number, _truncate),
    *(_cut_out, _splice, _overwrite, _zeros, _append),
)


def damage_text(text: str, random: Random) -> bytes:
    """Return text with lines and words damaged, in one of several encodings."""
    lines = text.splitlines()
    for _ in range(random.integers(1, 4)):
        lines = _pick(LINE_DAMAGES, random)(lines, random)
    joined = _pick(("\n", "\n", "\r\n", "\r", "\n\n"), random).join(lines) + "\n"
    codec = _pick(
        ("utf-8", "utf-8", "utf-8", "utf-8-sig", "utf-16", "utf-16-le", "latin-1", "utf-32"), random
    )
    return joined.encode(codec, "replace")


def _duplicate_line(lines: list[str], random: Random) -> list[str]:
    place = int(random.integers(len(lines) + 1))
    return (
        lines[:place] + ([_pick(lines, random)] * int(random.integers(1, 4)) if lines else []) + lines[place:]
    )


def _remove_line(lines: list[str], random: Random) -> list[str]:
    place = int(random.integers(len(lines) + 1))
    return lines[:place] + lines[place + 1 :]


def _shuffle_lines(lines: list[str], random: Random) -> list[str]:
    return [lines[place] for place in random.permutation(len(lines))]


def _replace_word(lines: list[str], random: Random) -> list[str]:
    """Put an extreme value in the place of a word or a number, or beside it."""
    for _ in range(random.integers(1, 4) if lines else 0):
        place = int(random.integers(len(lines)))
        words = list(re.finditer(r"[^\s,;=\[\]]+", lines[place]))
        if words:
            word, new = _pick(words, random), _pick(EXTREME_TEXTS, random)
            lines[place] = lines[place][: word.start()] + new + lines[place][word.end() :]
    return lines


def _cut_line(lines: list[str], random: Random) -> list[str]:
    if lines:
        place = int(random.integers(len(lines)))
        lines[place] = lines[place][: random.integers(len(lines[place]) + 1)]
    return lines


def _other_separator(lines: list[str], random: Random) -> list[str]:
    new = _pick((";", "\t", "|", ", ", " ", ":"), random)
    if random.integers(2):
        lines = [line.replace(",", "\0").replace(".", ",").replace("\0", new) for line in lines]
    else:
        lines = [line.replace(",", new) for line in lines]
    return ([f"sep={new}"] if random.integers(4) == 0 else []) + lines


def _duplicate_column(lines: list[str], random: Random) -> list[str]:
    place = int(random.integers(40))
    return [",".join((cells := line.split(","))[: place + 1] + cells[place:]) for line in lines]


def _quote(lines: list[str], random: Random) -> list[str]:
    return [line.replace(",", '","') if random.integers(2) else line for line in lines]


def _junk_line(lines: list[str], random: Random) -> list[str]:
    place = int(random.integers(len(lines) + 1))
    return [*lines[:place], _pick(EXTREME_TEXTS, random) * int(random.integers(1, 20)), *lines[place:]]


LINE_DAMAGES: tuple[Callable[[list[str], Random], list[str]], ...] = (
    *(_replace_word, _replace_word, _duplicate_line, _remove_line, _shuffle_lines, _cut_line),
    *(_other_separator, _duplicate_column, _quote, _junk_line),
)


def damage_tree(value: Any, random: Random) -> Any:
    """Return nested dictionaries and lists with a node removed, replaced, doubled or nested."""
    for _ in range(random.integers(1, 4)):
        value = _damage_node(value, random, depth=int(random.integers(0, 5)))
    return value


def _damage_node(value: Any, random: Random, depth: int) -> Any:
    if depth and isinstance(value, dict) and value:
        key = _pick(list(value), random)
        changed = dict(value)
        if random.integers(6) == 0:
            changed.pop(key)
        elif random.integers(12) == 0:
            changed[_pick(EXTREME_TEXTS, random)] = changed.pop(key)
        else:
            changed[key] = _damage_node(changed[key], random, depth - 1)
        return changed
    if depth and isinstance(value, list) and value:
        place = int(random.integers(len(value)))
        return [*value[:place], _damage_node(value[place], random, depth - 1), *value[place + 1 :]]
    return _pick((*JUNK, [value], {"x": value}, [value, value], str(value)), random)


def damage_json(text: str, random: Random) -> bytes:
    """Return JSON with damaged values, lines or bytes."""
    kind = random.integers(5)
    if kind == 0:
        return damage_bytes(text.encode(), random)
    if kind == 1:
        return damage_text(text, random)
    if kind == 2 and random.integers(4) == 0:
        return (_pick(("[", '{"a":'), random) * int(random.integers(1, 200_000))).encode()
    return json.dumps(damage_tree(json.loads(text), random)).encode()


def _pick(options: Any, random: Random) -> Any:
    return options[int(random.integers(len(options)))]
