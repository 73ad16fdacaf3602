"""The connection to a model server: its proxy, its certificates, and no more of an answer than is allowed."""

from __future__ import annotations

import importlib.util
import ipaddress
import os
import ssl
import urllib.request
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple, NoReturn
from urllib.parse import urlsplit

import httpx2
import openai

from mghft.pipeline.engines.endpoint import has_host, is_local

MAX_BODY_BYTES = 8 * 1024 * 1024
_PROXY_SCHEMES = ("http", "https", "socks5", "socks5h")
# The order in which OpenSSL's names for a file and for a folder of certificates are heeded.
_CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")


class ReplyTooLongError(Exception):
    """A reply over the limit of bytes."""


class LimitedStream(httpx2.AsyncByteStream):
    """A body that ends in `ReplyTooLongError` instead of in full memory."""

    def __init__(self, stream: httpx2.AsyncByteStream) -> None:
        self._stream = stream

    async def __aiter__(self) -> AsyncIterator[bytes]:
        size = 0
        async for chunk in self._stream:
            size += len(chunk)
            if size > MAX_BODY_BYTES:
                raise ReplyTooLongError(f"the server's answer is larger than {MAX_BODY_BYTES >> 20} MiB")
            yield chunk

    async def aclose(self) -> None:
        """Close the stream below."""
        await self._stream.aclose()


def open_http(address: str) -> httpx2.AsyncClient:
    """Make the client for one server, by what the environment says about proxies and certificates.

    Only the proxy that this address would go through is looked at: desktops set several, of which some are of
    kinds that no Python client knows.

    Raises:
        ValueError: that proxy or the certificates are no good; the message names the variable.
    """
    proxy = find_proxy(address)
    if proxy is not None:
        _check_proxy(proxy)
    # A server here that speaks plain http is the one that surely needs no certificates.
    plain = address.startswith("http:") and is_local(address)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT) if plain else _certificates()
    try:
        return openai.DefaultAsyncHttpxClient(
            proxy=None if proxy is None else proxy.url,
            verify=context,
            trust_env=False,
            # A picture goes to the address that was given and to no other.
            follow_redirects=False,
            event_hooks={"response": [_limit_body]},
        )
    except Exception as error:
        # The words are left out: they may repeat the proxy's user and password.
        if proxy is None:
            raise ValueError(f"no connection to {address} can be made: {type(error).__name__}") from None
        _bad_proxy(proxy, f"is no address that can be used ({type(error).__name__})")


class Proxy(NamedTuple):
    """A proxy, and the environment variable that names it."""

    url: str
    variable: str


def find_proxy(address: str) -> Proxy | None:
    """Return the proxy that the environment names for an address; none for this machine's own servers."""
    parts = urlsplit(address)
    host = parts.hostname or ""
    if is_local(address) or _excepted(host) or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    kind = next((kind for kind in (parts.scheme, "all") if proxies.get(kind)), None)
    if kind is None:
        return None
    url = proxies[kind].strip()
    names = sorted(name for name in os.environ if name.lower() == f"{kind}_proxy" and os.environ[name])
    variable = next((name for name in names if os.environ[name].strip() == url), f"{kind}_proxy")
    return Proxy(url if "://" in url else f"http://{url}", variable)


def _excepted(host: str) -> bool:
    """Return whether NO_PROXY excepts a numeric address by its network, which urllib does not know."""
    with suppress(ValueError):
        number = ipaddress.ip_address(host)
        for entry in (os.environ.get("no_proxy") or os.environ.get("NO_PROXY") or "").split(","):
            with suppress(ValueError):
                if number in ipaddress.ip_network(entry.strip(), strict=False):
                    return True
    return False


def _check_proxy(proxy: Proxy) -> None:
    scheme = proxy.url.partition("://")[0].lower()
    if scheme not in _PROXY_SCHEMES:
        _bad_proxy(proxy, f"is of the kind {scheme}://, which is not known: give http:// or socks5://")
    if not has_host(proxy.url):
        _bad_proxy(proxy, "is no address: give one like http://host:port")
    if scheme.startswith("socks") and importlib.util.find_spec("socksio") is None:
        _bad_proxy(proxy, "is a SOCKS proxy, which needs a package: run `pip install socksio`")


def _bad_proxy(proxy: Proxy, words: str) -> NoReturn:
    raise ValueError(
        f"the proxy in the environment variable {proxy.variable} {words}, "
        "or name the server's host in NO_PROXY to go without a proxy"
    )


def _certificates() -> ssl.SSLContext:
    """Return a context with the machine's certificates, or those that the environment names."""
    name = next((name for name in _CERTIFICATES if os.environ.get(name)), None)
    try:
        if name == "SSL_CERT_DIR" and not Path(os.environ[name]).is_dir():
            raise FileNotFoundError("there is no such folder")
        return httpx2.create_ssl_context()
    except (OSError, ValueError) as error:
        # ssl.SSLError, of a file that holds no certificate, is an OSError.
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        source = "the machine's certificates" if name is None else f"the certificates in {name}"
        place = "" if name is None else f" {os.environ[name]}"
        raise ValueError(
            f"{source}{place} cannot be read ({reason}): "
            "give a file in PEM form in SSL_CERT_FILE, or unset it"
        ) from None


async def _limit_body(response: httpx2.Response) -> None:
    if isinstance(response.stream, httpx2.AsyncByteStream):
        response.stream = LimitedStream(response.stream)
