"""Where bucket drops are put: a folder, or S3. A part or a manifest is there whole or not at all."""

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

EXTRA = "To write to s3:// the loader needs a package that is not installed ({}): pip install '.[s3]'"


class BucketStore(ABC):
    """Files by name, such as `20240801-20240901/manifest.json`, below a root.

    Each method raises ConfigurationError when the store cannot be reached or does not let us.
    """

    @abstractmethod
    def names(self, folder: str) -> list[str]:
        """The names of all files in a folder, in order; none for a folder that is not there."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """A small file, whole; None when it is not there."""

    @abstractmethod
    def open(self, name: str) -> IO[bytes]:
        """A file to read as a stream."""

    @abstractmethod
    @contextmanager
    def part(self, name: str) -> Iterator[IO[bytes]]:
        """A file to write. It is there under its name when the block has ended without an error, and not before."""

    @abstractmethod
    def replace(self, name: str, data: bytes) -> None:
        """Write a small file in one step: a reader finds the old one or this one, never a part."""


def open_store(out: str) -> BucketStore:
    """The store at a folder's path or an `s3://bucket/prefix` URL.

    Raises:
        UsageError: another kind of URL.
        ConfigurationError: boto3 is not installed, or the folder cannot be made.
    """
    if found := re.fullmatch(r"s3://([^/]+)/?(.*)", out):
        return S3Store(found[1], found[2].strip("/"))
    if "://" in out:
        raise UsageError(f"--out {out!r} is neither a folder nor an s3:// URL.")
    return FolderStore(Path(out))


class FolderStore(BucketStore):
    """A local folder, which something else may copy to a bucket."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def names(self, folder: str) -> list[str]:
        """See `BucketStore.names`."""
        with _told(self._root):
            path = self._root / folder
            files = path.iterdir() if path.is_dir() else ()
            return sorted(f"{folder}/{file.name}" for file in files if not file.name.startswith("."))

    def read(self, name: str) -> bytes | None:
        """See `BucketStore.read`."""
        with _told(self._root):
            path = self._root / name
            return path.read_bytes() if path.exists() else None

    def open(self, name: str) -> IO[bytes]:
        """See `BucketStore.open`."""
        with _told(self._root):
            return (self._root / name).open("rb")

    @contextmanager
    def part(self, name: str) -> Iterator[IO[bytes]]:
        """See `BucketStore.part`."""
        path = self._root / name
        hidden = path.with_name(f".{path.name}.{os.getpid()}")
        with _told(self._root):
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                with hidden.open("wb") as file:
                    yield file
                    file.flush()
                    os.fsync(file.fileno())
                hidden.replace(path)
            finally:
                hidden.unlink(missing_ok=True)
            _keep(path.parent)

    def replace(self, name: str, data: bytes) -> None:
        """See `BucketStore.replace`."""
        with self.part(name) as file:
            file.write(data)


class S3Store(BucketStore):
    """A prefix of an S3 bucket, or of what speaks S3 at AWS_ENDPOINT_URL. Credentials come from boto3's own places."""

    def __init__(self, bucket: str, prefix: str) -> None:
        try:
            import boto3
        except ImportError as error:
            raise ConfigurationError(EXTRA.format(error.name)) from error
        self._bucket, self._prefix = bucket, f"{prefix}/" if prefix else ""
        with self._told():
            self._client: Any = boto3.client("s3")

    def names(self, folder: str) -> list[str]:
        """See `BucketStore.names`."""
        with self._told():
            pages = self._client.get_paginator("list_objects_v2").paginate(
                Bucket=self._bucket, Prefix=f"{self._prefix}{folder}/", Delimiter="/"
            )
            keys = [each["Key"] for page in pages for each in page.get("Contents", ())]
        return sorted(key.removeprefix(self._prefix) for key in keys)

    def read(self, name: str) -> bytes | None:
        """See `BucketStore.read`."""
        with self._told():
            try:
                return bytes(self._client.get_object(Bucket=self._bucket, Key=self._prefix + name)["Body"].read())
            except self._client.exceptions.NoSuchKey:
                return None

    def open(self, name: str) -> IO[bytes]:
        """See `BucketStore.open`: through a file, because a connection may not last as long as its reader."""
        with _kept(), ExitStack() as stack:
            file = stack.enter_context(tempfile.TemporaryFile())
            with self._told():
                self._client.download_fileobj(self._bucket, self._prefix + name, file)
            file.seek(0)
            stack.pop_all()  # it is the reader's to close
            return file

    @contextmanager
    def part(self, name: str) -> Iterator[IO[bytes]]:
        """See `BucketStore.part`: S3 shows an object when it is whole."""
        with _kept(), tempfile.TemporaryFile() as file:
            yield file
            file.seek(0)
            with self._told():
                self._client.upload_fileobj(file, self._bucket, self._prefix + name)

    def replace(self, name: str, data: bytes) -> None:
        """See `BucketStore.replace`."""
        with self._told():
            self._client.put_object(Bucket=self._bucket, Key=self._prefix + name, Body=data)

    @contextmanager
    def _told(self) -> Iterator[None]:
        from boto3.exceptions import Boto3Error
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield
        except (BotoCoreError, ClientError, Boto3Error, ValueError) as error:  # ValueError: AWS_ENDPOINT_URL is no URL
            raise ConfigurationError(
                f"s3://{self._bucket}/{self._prefix} cannot be used: {' '.join(str(error).split()).rstrip('.')}. The"
                " login comes from where the AWS CLI has it, such as AWS_PROFILE; it needs s3:ListBucket, s3:GetObject"
                " and s3:PutObject."
            ) from error


@contextmanager
def _told(root: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ConfigurationError(
            f"{error.filename or root} cannot be used: {error.strerror or error}. Choose another --out, or mend that."
        ) from error


@contextmanager
def _kept() -> Iterator[None]:
    """Turn what befalls a temporary file, which a part is kept in on its way to or from S3, into one line."""
    try:
        yield
    except OSError as error:
        folder = tempfile.tempdir or "the folder of temporary files"
        raise ConfigurationError(
            f"{folder} cannot hold a part of the drop: {error.strerror or error}. Make room there, or set TMPDIR to"
            " another folder."
        ) from error


def _keep(folder: Path) -> None:
    """Make the names in a folder outlive a power cut, where the file system can."""
    with suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
