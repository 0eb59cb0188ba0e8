"""One place has one name, however its URL is written."""

from __future__ import annotations

import pytest

from loader.config.api_url import place, read_api_url
from loader.config.settings import read_credentials, read_streams
from loader.errors import ConfigurationError

CREDENTIALS = {"CLOUDZERO_API_KEY": "key-0815", "CLOUDZERO_CONNECTION_ID": "conn"}


@pytest.mark.parametrize(
    ("spelling", "normal"),
    [
        ("HTTPS://API.CloudZero.COM", "https://api.cloudzero.com"),
        ("https://api.cloudzero.com:443/", "https://api.cloudzero.com"),
        ("https://api.cloudzero.com:0443", "https://api.cloudzero.com"),
        ("https://api.cloudzero.com:", "https://api.cloudzero.com"),
        ("https://api.cloudzero.com.", "https://api.cloudzero.com"),
        ("https://api.cloudzero.com.:443//", "https://api.cloudzero.com"),
        ("", "https://api.cloudzero.com"),
        ("https://api.cloudzero.com:8443/", "https://api.cloudzero.com:8443"),
        ("https://b\u00fccher.example/Path/", "https://xn--bcher-kva.example/Path"),
        ("https://B\u00dcCHER.example", "https://xn--bcher-kva.example"),
        ("https://[2001:DB8:0:0::1]:443", "https://[2001:db8::1]"),
        ("http://127.1:80", "http://127.0.0.1"),
        ("http://0x7f.0.0.1:8080", "http://127.0.0.1:8080"),
        ("http://LocalHost.:8787", "http://localhost:8787"),
        ("https://any_thing.internal", "https://any_thing.internal"),
    ],
)
def test_spellings_of_a_url(spelling: str, normal: str) -> None:
    assert read_api_url({"CLOUDZERO_API_URL": spelling}) == normal


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "LOCALHOST.", "[::1]", "[0:0:0:0:0:0:0:1]", "127.1"])
def test_names_of_this_machine_are_one_stream(host: str) -> None:
    url = f"http://{host}:8787"
    given = CREDENTIALS | {"CLOUDZERO_API_URL": url}
    (stream,) = read_streams(given)
    assert stream == read_credentials(given).stream
    assert stream.api_url == "http://127.0.0.1:8787"


def test_another_port_scheme_or_address_is_another_place() -> None:
    urls = ["https://h", "http://h", "https://h:8443", "https://h.h", "http://127.0.0.2", "http://127.0.0.1"]
    assert len({place(url) for url in urls}) == len(urls)
    assert place("https://a\\") == "https://a\\"  # of a log that was edited by hand


@pytest.mark.parametrize(
    "url",
    [
        "https://host:99999",
        "https://host:0",
        "https://host:port",
        "https://",
        "https://.",
        "https://a..b",
        f"https://{'a' * 64}.example",
        "https://[::1",
        "https://host%2fother",
        "https://ho\u200bst\\@other",
        "https://1.2.3.4.5",
        "https://999.1.1.1",
        "ftp://host",
        "https://user@host",
    ],
)
def test_what_is_not_a_url_of_a_host(url: str) -> None:
    with pytest.raises(ConfigurationError, match="CLOUDZERO_API_URL must be a URL"):
        read_api_url({"CLOUDZERO_API_URL": url})


@pytest.mark.parametrize(
    "host", ["127.evil.example", "127.0.0.1.evil.example", "localhost.evil.example", "::2", "10.0.0.1"]
)
def test_a_name_that_begins_like_this_machine_is_not_this_machine(host: str) -> None:
    with pytest.raises(ConfigurationError, match="unencrypted"):
        read_api_url({"CLOUDZERO_API_URL": f"http://{f'[{host}]' if ':' in host else host}"})
