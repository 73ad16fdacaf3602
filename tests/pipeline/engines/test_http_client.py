"""The connection to a server: which proxy, which certificates, what is this machine's own."""

import os
import ssl
from pathlib import Path

import httpx2
import pytest

from mghft.pipeline.engines import http_client
from mghft.pipeline.engines.endpoint import check_address, is_local, read_key
from mghft.pipeline.engines.http_client import Proxy, find_proxy, open_http
from mghft.pipeline.engines.openai_engine import OpenAiEngine
from mghft.pipeline.engines.options import ServerOptions

FAR = "https://models.invalid/v1"


@pytest.fixture(autouse=True)
def bare(monkeypatch):
    for name in list(os.environ):
        if name.lower().endswith("_proxy") or name.startswith(("SSL_CERT", "OPENAI_")):
            monkeypatch.delenv(name)


def refused(monkeypatch, address=FAR, **variables):
    """The sentence with which the engine is not started."""
    monkeypatch.setenv("OPENAI_API_KEY", "sk-none")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=r"environment variable|certificates") as error:
        OpenAiEngine("painter", ServerOptions(base_url=address))
    return str(error.value)


# Proxies


@pytest.mark.parametrize("kind", ["socks", "socks4", "socks4a", "ftp", "quic"])
@pytest.mark.parametrize("name", ["ALL_PROXY", "all_proxy", "HTTPS_PROXY", "https_proxy"])
def test_a_proxy_of_an_unknown_kind_is_named(kind, name, monkeypatch):
    words = refused(monkeypatch, **{name: f"{kind}://me:hush@127.0.0.1:7891/"})
    assert f"the proxy in the environment variable {name} is of the kind {kind}://" in words
    assert "NO_PROXY" in words
    assert "hush" not in words


def test_a_socks_proxy_needs_its_package(monkeypatch):
    find = http_client.importlib.util.find_spec
    monkeypatch.setattr(
        http_client.importlib.util, "find_spec", lambda name: None if name == "socksio" else find(name)
    )
    words = refused(monkeypatch, ALL_PROXY="socks5://127.0.0.1:7891")
    assert "ALL_PROXY is a SOCKS proxy, which needs a package: run `pip install socksio`" in words


@pytest.mark.parametrize("value", ["http://[::1", "http://host:port", "http://"])
def test_a_proxy_that_is_no_address_is_named(value, monkeypatch):
    assert "the proxy in the environment variable https_proxy is no address: " in refused(
        monkeypatch, https_proxy=value
    )


@pytest.mark.parametrize(
    ("variables", "proxy"),
    [
        ({}, None),
        ({"HTTPS_PROXY": "http://a:1"}, Proxy("http://a:1", "HTTPS_PROXY")),
        ({"https_proxy": "a:1"}, Proxy("http://a:1", "https_proxy")),
        ({"HTTP_PROXY": "http://a:1"}, None),
        ({"ALL_PROXY": "http://a:1"}, Proxy("http://a:1", "ALL_PROXY")),
        # Only the one that would be used counts: desktops set one of a kind that is not known beside it.
        ({"ALL_PROXY": "socks://a:1", "HTTPS_PROXY": "http://b:2"}, Proxy("http://b:2", "HTTPS_PROXY")),
        ({"ALL_PROXY": "socks://a:1", "NO_PROXY": "models.invalid"}, None),
        ({"ALL_PROXY": "socks://a:1", "no_proxy": "localhost,.invalid,::1"}, None),
        ({"ALL_PROXY": "socks://a:1", "NO_PROXY": "*"}, None),
        ({"ALL_PROXY": ""}, None),
    ],
)
def test_the_proxy_of_an_address(variables, proxy, monkeypatch):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert find_proxy(FAR) == proxy
    if proxy is None or proxy.url.startswith("http"):
        assert isinstance(open_http(FAR), httpx2.AsyncClient)


def test_a_network_is_excepted_from_the_proxy(monkeypatch):
    monkeypatch.setenv("ALL_PROXY", "http://a:1")
    monkeypatch.setenv("NO_PROXY", "10.0.0.0/8, fd00::/8")
    assert find_proxy("http://10.1.2.3:8000/v1") is None
    assert find_proxy("http://[fd00::1]:8000/v1") is None
    assert find_proxy("http://11.1.2.3:8000/v1") == Proxy("http://a:1", "ALL_PROXY")


# Certificates


@pytest.mark.parametrize("name", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
def test_certificates_that_are_not_there_are_named(name, tmp_path, monkeypatch):
    words = refused(monkeypatch, **{name: str(tmp_path / "none.pem")})
    assert f"the certificates in {name} {tmp_path / 'none.pem'} cannot be read" in words


def test_a_file_without_a_certificate_is_named(tmp_path, monkeypatch):
    path = tmp_path / "odd.pem"
    path.write_text("no certificate")
    assert f"the certificates in SSL_CERT_FILE {path} cannot be read" in refused(
        monkeypatch, SSL_CERT_FILE=str(path)
    )


def test_certificates_of_the_environment_are_used(monkeypatch):
    used = []
    make = ssl.create_default_context
    monkeypatch.setattr(ssl, "create_default_context", lambda **where: used.append(where) or make())
    paths = ssl.get_default_verify_paths()
    monkeypatch.setenv("SSL_CERT_DIR", paths.openssl_capath)
    if not Path(paths.openssl_capath).is_dir():
        pytest.skip("the machine has no folder of certificates to point at")
    open_http(FAR)
    assert used == [{"capath": paths.openssl_capath}]


def test_plain_http_on_this_machine_needs_no_certificates(tmp_path, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    assert isinstance(open_http("http://127.0.0.1:8000/v1"), httpx2.AsyncClient)


# This machine

HERE = """localhost LOCALHOST localhost. models.localhost ip6-localhost 127.0.0.1 127.8.8.8 127.1 0.0.0.0 0
    [::1] [::] [::ffff:127.0.0.1]"""


@pytest.mark.parametrize("host", HERE.split())
def test_addresses_of_this_machine(host, monkeypatch):
    address = f"http://{host}:8000/v1"
    assert is_local(check_address(address))
    monkeypatch.setenv("ALL_PROXY", "socks://a:1")
    assert find_proxy(address) is None
    assert read_key("OPENAI_API_KEY", local=is_local(address)) is None


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1",
        "192.168.1.2",
        "localhost.example.com",
        "notlocalhost",
        "[2001:db8::1]",
        "8.8.8.8",
        "1.0.0.0",
    ],
)
def test_addresses_of_other_machines(host):
    assert not is_local(f"http://{host}:8000/v1")
