"""The address of a model server and its key: checked before anything is sent, and shown without secrets."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import socket
from typing import NoReturn
from urllib.parse import SplitResult, urlsplit, urlunsplit


def check_address(base_url: str | None) -> str:
    """Return the address of the server without a trailing slash.

    Raises:
        ValueError: it is not an address, or holds a user, a password, a query or a fragment.
    """
    if base_url is None:
        raise ValueError("the engine openai needs the address of its server: give --base-url")
    parts, host = _split(base_url)
    if parts is None or parts.scheme not in ("http", "https") or not host:
        raise ValueError(
            f"the address {plain_address(base_url)!r} is none of a server: give --base-url like "
            "http://localhost:8000/v1"
        )
    if "@" in parts.netloc or parts.query or parts.fragment:
        raise ValueError(
            f"the address {plain_address(base_url)} of the server holds more than a place: "
            "take user, password, ? and # out of --base-url, and put the key into the environment"
        )
    return base_url.strip().rstrip("/")


def plain_address(base_url: str) -> str:
    """Return an address without user, password, query and fragment, fit to be shown and kept."""
    parts, _ = _split(base_url)
    if parts is None:
        return "(unreadable)"
    place = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, place, parts.path, "", "")).rstrip("/")


def has_host(url: str) -> bool:
    """Return whether an address is readable and names a host."""
    return bool(_split(url)[1])


def is_local(base_url: str) -> bool:
    """Return whether the address is this machine's own: its loopback, or all of its addresses (0.0.0.0)."""
    _, host = _split(base_url)
    host = host.rstrip(".")
    if host in ("localhost", "ip6-localhost", "ip6-loopback") or host.endswith(".localhost"):
        return True
    try:
        # "127.1" and "0" are addresses too, in the system's own reading.
        short = re.fullmatch(r"[\d.]+|0x[0-9a-f]+", host)
        number = ipaddress.ip_address(socket.inet_ntoa(socket.inet_aton(host)) if short else host)
    except (OSError, ValueError):
        return False
    number = getattr(number, "ipv4_mapped", None) or number
    return number.is_loopback or number.is_unspecified


def other_addresses(base_url: str) -> list[str]:
    """Return addresses of the same host that may have been meant, the likeliest first."""
    bare = re.sub(r"(/v\d+\w*)?(/chat)?(/completions|/models|/responses)?$", "", base_url)
    stem = re.sub(r"/api$", "", bare)
    found = [f"{bare}/v1", f"{stem}/v1", f"{stem}/api/v1", f"{stem}/openai/v1", f"{stem}/api"]
    return [address for address in dict.fromkeys(found) if address != base_url]


def nearest_names(wanted: str, names: list[str]) -> list[str]:
    """Return at most five of the names, those most like the wanted one first."""
    return sorted(names, key=lambda name: -difflib.SequenceMatcher(None, wanted, name).ratio())[:5]


def read_key(variable: str, *, local: bool) -> str | None:
    """Read the key; None for a server on this machine without one.

    Raises:
        ValueError: there is no key, or it cannot be one; the message does not repeat it.
    """
    key = os.environ.get(variable, "").strip()
    if not key and not local:
        _bad_key(variable, "is not set, and the server is not on this machine: put the key into it")
    if not key.isascii() or not key.isprintable() or " " in key:
        _bad_key(variable, "holds characters that no key has: put the bare key into it")
    return key or None


def _split(base_url: str) -> tuple[SplitResult | None, str]:
    try:
        parts = urlsplit(base_url.strip())
        _ = parts.port
        return parts, parts.hostname or ""
    except ValueError:
        return None, ""


def _bad_key(variable: str, words: str) -> NoReturn:
    raise ValueError(f"the environment variable {variable} {words} (another name: --key-env)")
