"""Damage to a file that outlived its writer: what a failing disk, a wild pointer or an operator's slip would do."""

from __future__ import annotations

import random
from pathlib import Path

STATE_HEADER_BYTES = 4096


def flip_bits(file: Path, bits: list[int]) -> None:
    """In place, by number of the bit in the file: other names of the file, and whoever maps it, see it too."""
    with file.open("r+b") as stream:
        for bit in bits:
            stream.seek(bit // 8)
            byte = stream.read(1)[0]
            stream.seek(bit // 8)
            stream.write(bytes([byte ^ 1 << bit % 8]))


def random_bits(file: Path, count: int, seed: int, first_byte: int = STATE_HEADER_BYTES) -> list[int]:
    chance = random.Random(seed)
    return [chance.randrange(first_byte * 8, file.stat().st_size * 8) for _ in range(count)]


def cut(file: Path, length: int) -> None:
    with file.open("r+b") as stream:
        stream.truncate(length)
