"""The numbered message of the live load: 16 bytes out, the same 16 bytes and a name of 16 bytes back."""

from __future__ import annotations

import struct

REQUEST = struct.Struct("!QQ")  # conversation, number
REPLY = struct.Struct("!QQ16s")  # the same, and the name of the backend


def padded(name: str) -> bytes:
    encoded = name.encode()
    if len(encoded) > 16:
        raise ValueError(f"the name {name} is longer than 16 bytes")
    return encoded.ljust(16, b"\0")
