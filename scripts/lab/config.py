"""Shunt's configuration as a dictionary, which a test may change, and as TOML."""

from __future__ import annotations

import json
from typing import Any

from .loop import as_target
from .network import BACKENDS, LIVE_PORT, VIP, WEB_PORT, backend_address

# The check of the web service. Detection is promised within fall x interval + timeout.
INTERVAL_MS, TIMEOUT_MS, FALL, RISE = 1000, 800, 3, 2
DETECTION_LIMIT_MS = FALL * INTERVAL_MS + TIMEOUT_MS

Config = dict[str, Any]


def backends_of(names: tuple[str, ...]) -> list[Config]:
    return [{"address": address, "weight": 100} for name in names for address in backend_address(name)]


def web_service(names: tuple[str, ...] = BACKENDS) -> Config:
    return {
        "name": "web",
        "vip": [f"{as_target(vip, WEB_PORT)}/tcp" for vip in VIP],
        "check": {"type": "http", "path": "/healthz", "interval": f"{INTERVAL_MS}ms", "timeout": f"{TIMEOUT_MS}ms",
                  "rise": RISE, "fall": FALL},
        "backend": backends_of(names)}


def live_service(names: tuple[str, ...] = BACKENDS, name: str = "live", port: int = LIVE_PORT) -> Config:
    """TCP and UDP on one port; no check: always up."""
    return {"name": name, "vip": [f"{as_target(vip, port)}/{protocol}" for vip in VIP for protocol in ("tcp", "udp")],
            "backend": backends_of(names)}


def lab_config(*services: Config, workers: int = 1, interface: str = "lan0") -> Config:
    return {
        "version": 1,
        "node": {"name": "lab"},
        "dataplane": {"workers": workers, "idle": "sleep", "flows": 65536,
                      "port": [{"name": "lan0", "af_xdp": interface, "queues": workers}]},
        "service": list(services)}


def to_toml(table: Config, path: str = "") -> str:
    """Plain values first, then sub-tables, then arrays of tables, as TOML wants it."""
    lines = [f"{key} = {to_value(value)}" for key, value in table.items() if not is_nested(value)]
    for key, value in table.items():
        name = f"{path}{key}"
        if isinstance(value, dict):
            lines += [f"\n[{name}]", to_toml(value, f"{name}.")]
        elif is_nested(value):
            for entry in value:
                lines += [f"\n[[{name}]]", to_toml(entry, f"{name}.")]
    return "\n".join(lines)


def is_nested(value: Any) -> bool:
    return isinstance(value, dict) or (isinstance(value, list) and bool(value) and isinstance(value[0], dict))


def to_value(value: Any) -> str:
    if isinstance(value, list):
        return "[" + ", ".join(to_value(entry) for entry in value) + "]"
    return json.dumps(value)  # strings, numbers and booleans look the same in JSON and TOML
