"""Why a request has no answer: what requests and the libraries below it raise, as errors of the loader."""

from __future__ import annotations

import re
import ssl
from http.client import HTTPException
from typing import Any

import requests
from requests.exceptions import InvalidHeader, InvalidProxyURL, InvalidSchema, InvalidURL, MissingSchema
from urllib3.exceptions import HTTPError
from urllib3.util.ssl_match_hostname import CertificateError

from loader.errors import DestinationError, LoaderError, UnknownOutcomeError
from loader.text import one_line

# For whatever a server, a proxy or the network does.
FAILURES = (requests.RequestException, HTTPError, HTTPException, OSError, ValueError, RecursionError)
UNUSABLE = (InvalidURL, InvalidSchema, MissingSchema, InvalidProxyURL, InvalidHeader)


def described(error: BaseException, host: str, was_sent: bool) -> LoaderError:
    """The error to raise for a failure.

    Args:
        error: one of FAILURES.
        host: the URL of the host, for the message.
        was_sent: whether a byte of the request may have left.
    """
    reasons = [each.reason for each in _causes(error) if isinstance(each, ssl.SSLError) and each.reason]
    name = " ".join([type(error).__name__, *map(one_line, reasons[:1])])
    if was_sent:
        return UnknownOutcomeError(
            f"No response from {host} ({name}): the connection was closed, or the answer is not valid HTTP.",
            may_be_in_progress=True,
        )
    place = "the proxy" if isinstance(error, requests.exceptions.ProxyError) else host
    if problem := _certificate_problem(error):
        return DestinationError(f"The certificate of {place} is not accepted: {problem} Nothing was sent.")
    if _is_misconfigured(error):
        reason = re.sub(r"//[^/@\s]*@", "//***@", one_line(str(error))).rstrip(".")
        return DestinationError(
            f"No request can be sent to {host}: {reason}. Check CLOUDZERO_API_URL, HTTPS_PROXY and REQUESTS_CA_BUNDLE."
        )
    return UnknownOutcomeError(
        f"No response from {host} ({name}): check that the host is right and reachable.", did_nothing=True
    )


def _is_misconfigured(error: BaseException) -> bool:
    """Whether no server was involved: a URL that cannot be used, or a file of certificates that cannot be read."""
    if isinstance(error, UNUSABLE) or not isinstance(error, requests.RequestException | HTTPError):
        return True
    return any(isinstance(each, ssl.SSLError) and each.library in ("X509", "PEM") for each in _causes(error))


def _certificate_problem(error: BaseException) -> str:
    """What is wrong with a certificate, and what to do; empty if that is not why the connection failed."""
    for each in _causes(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return _advice(each.verify_code, one_line(each.verify_message).rstrip("."))
        if isinstance(each, CertificateError):
            return _advice(62, one_line(str(each)).rstrip("."))
    return ""


def _causes(error: BaseException) -> list[BaseException]:
    """An exception with all that it wraps, in the ways of requests, urllib3 and Python."""
    found: list[BaseException] = []
    waiting: list[Any] = [error]
    while waiting:
        each = waiting.pop()
        if isinstance(each, BaseException) and each not in found:
            found.append(each)
            waiting += [*each.args, getattr(each, "reason", None), each.__cause__, each.__context__]
    return found


def _advice(code: int, message: str) -> str:
    """OpenSSL's message with what to do about it (codes: X509_STORE_CTX_get_error(3))."""
    if code in (9, 10):  # not yet valid, expired
        return f"{message}. Have it renewed, or correct this machine's clock."
    if code in (62, 64):  # another host name, another IP address
        return f"{message}. Check the host in CLOUDZERO_API_URL."
    return (
        f"{message}. If the host, or a proxy on the way to it, has a certificate authority of its own, set"
        " REQUESTS_CA_BUNDLE to that authority's certificate."
    )
