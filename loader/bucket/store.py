"""Stores for bucket drops: a folder or S3. A file is written completely or not at all."""

from __future__ import annotations

import os
import re
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, Any

from loader.errors import ConfigurationError, UsageError

MISSING_PACKAGE = "Writing to s3:// needs a package that is not installed ({}): pip install '.[s3]'"


class BucketStore(ABC):
    """Files by name relative to the root, such as `20240801-20240901/manifest.json`.

    Each method raises ConfigurationError if the store cannot be reached or denies access.
    """

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """The sorted names of all files in a folder; empty if the folder does not exist."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """The content of a small file; None if it does not exist."""

    @abstractmethod
    def open(self, name: str) -> IO[bytes]:
        """Open a file for reading as a stream."""

    @abstractmethod
    @contextmanager
    def part(self, name: str) -> Iterator[IO[bytes]]:
        """Open a file for writing. It appears under its name only if the block ends without an error."""

    @abstractmethod
    def replace(self, name: str, data: bytes) -> None:
        """Write a small file atomically: a reader sees either the old or the new content."""


def open_store(out: str) -> BucketStore:
    """The store at a folder's path or an `s3://bucket/prefix` URL, the value of --out.

    Raises:
        UsageError: it is another kind of URL.
        ConfigurationError: boto3 is not installed or not configured.
    """
    if found := re.fullmatch(r"s3://([^/]+)/?(.*)", out):
        return S3Store(found[1], found[2].strip("/"))
    if "://" in out:
        raise UsageError(f"--out {out!r} is neither a folder nor an s3:// URL.")
    return FolderStore(Path(out))


class FolderStore(BucketStore):
    """A local folder, for example one that another tool copies to a bucket."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self, folder: str) -> list[str]:
        """See `BucketStore.names`."""
        with _file_errors_described(self._root):
            path = self._root / folder
            files = path.iterdir() if path.is_dir() else ()
            return sorted(f"{folder}/{file.name}" for file in files if not file.name.startswith("."))

    def read(self, name: str) -> bytes | None:
        """See `BucketStore.read`."""
        with _file_errors_described(self._root):
            path = self._root / name
            return path.read_bytes() if path.exists() else None

    def open(self, name: str) -> IO[bytes]:
        """See `BucketStore.open`."""
        with _file_errors_described(self._root):
            return (self._root / name).open("rb")

    @contextmanager
    def part(self, name: str) -> Iterator[IO[bytes]]:
        """See `BucketStore.part`."""
        path = self._root / name
        temporary = path.with_name(f".{path.name}.{os.getpid()}")
        with _file_errors_described(self._root):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with temporary.open("wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                temporary.replace(path)
            finally:
                temporary.unlink(missing_ok=True)
            _sync_folder(path.parent)

    def replace(self, name: str, data: bytes) -> None:
        """See `BucketStore.replace`."""
        with self.part(name) as file:
            file.write(data)


class S3Store(BucketStore):
    """A prefix of an S3 bucket, or of an S3-compatible service at AWS_ENDPOINT_URL. boto3 finds the credentials."""

    def __init__(self, bucket: str, prefix: str) -> None:
        try:
            import boto3
        except ImportError as error:
            raise ConfigurationError(MISSING_PACKAGE.format(error.name)) from error
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        with self._s3_errors_described():
            self._client: Any = boto3.client("s3")

    def names(self, folder: str) -> list[str]:
        """See `BucketStore.names`."""
        with self._s3_errors_described():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=f"{self._prefix}{folder}/", Delimiter="/"
            )
            keys = [each["Key"] for page in pages for each in page.get("Contents", ())]
        return sorted(key.removeprefix(self._prefix) for key in keys)

    def read(self, name: str) -> bytes | None:
        """See `BucketStore.read`."""
        with self._s3_errors_described():
            try:
                return bytes(self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"].read())
            except self._client.exceptions.NoSuchKey:
                return None

    def open(self, name: str) -> IO[bytes]:
        """See `BucketStore.open`. Downloads to a temporary file, so that a slow reader does not lose the connection."""
        with _temporary_file_errors_described(), ExitStack() as stack:
            file = stack.enter_context(tempfile.TemporaryFile())
            with self._s3_errors_described():
                self._client.download_fileobj(self._bucket, self._prefix + name, file)
            file.seek(0)
            stack.pop_all()  # the caller closes it
            return file

    @contextmanager
    def part(self, name: str) -> Iterator[IO[bytes]]:
        """See `BucketStore.part`. An S3 object becomes visible when it is complete."""
        with _temporary_file_errors_described(), tempfile.TemporaryFile() as file:
            yield file
            file.seek(0)
            with self._s3_errors_described():
                self._client.upload_fileobj(file, self._bucket, self._prefix + name)

    def replace(self, name: str, data: bytes) -> None:
        """See `BucketStore.replace`."""
        with self._s3_errors_described():
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=data)

    @contextmanager
    def _s3_errors_described(self) -> Iterator[None]:
        """Turn errors of boto3 into a ConfigurationError."""
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError, Boto3Error, ValueError) as error:  # ValueError: invalid AWS_ENDPOINT_URL
            raise ConfigurationError(
                f"s3://{self._bucket}/{self._prefix} cannot be used: {' '.join(str(error).split()).rstrip('.')}."
                " Credentials are found as by the AWS CLI, such as AWS_PROFILE, and need the permissions s3:ListBucket,"
                " s3:GetObject and s3:PutObject."
            ) from error


@contextmanager
def _file_errors_described(root: Path) -> Iterator[None]:
    """Turn errors of the file system into a ConfigurationError."""
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename or root} cannot be used: {error.strerror or error}. Make it accessible, or choose"
            " another --out."
        ) from error


@contextmanager
def _temporary_file_errors_described() -> Iterator[None]:
    """Turn errors of the temporary file, which buffers a part on its way to or from S3, into a ConfigurationError."""
    try:
        yield
    except OSError as error:
        folder = tempfile.tempdir or "the folder for temporary files"
        raise ConfigurationError(
            f"{folder} cannot store a part of the drop: {error.strerror or error}. Free some space there, or set TMPDIR"
            " to another folder."
        ) from error


def _sync_folder(folder: Path) -> None:
    """Flush the entries of a folder to disk, if the file system supports it."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
