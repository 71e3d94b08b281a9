"""The drivers of stores, which fsspec knows by the schemes of URLs."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

from apollo.errors import ApolloError, one_line

# The extra that installs the driver of a scheme; None if it is always installed.
EXTRAS = {"s3": "s3", "gs": "gs", "az": "az", "hf": None, "memory": None, "file": None}

# Where nobody listens to logs, Python prints what they log of failed attempts: tracebacks and names of accounts.
for name in ("adlfs", "azure", "botocore", "fsspec", "gcsfs", "google", "huggingface_hub", "s3fs"):
    logging.getLogger(name).addHandler(logging.NullHandler())

# How they say that credentials are missing or do not suffice: in names of errors, and in what those say.
REFUSAL_NAME = re.compile("credential|auth|token|forbidden|gated", re.IGNORECASE)
REFUSAL_TEXT = re.compile(
    "forbidden|anonymous|unauthori[sz]ed|access ?denied|failed to authenticate|with credentials", re.IGNORECASE
)


@contextmanager
def reached(scheme: str, url: object) -> Iterator[Any]:
    """Give the driver of the store that holds an object; its errors become one sentence without secrets.

    Raises:
        ApolloError: If the driver is not installed, or raises anything within the block.
    """
    import fsspec

    try:
        store = fsspec.filesystem(scheme, **({"session": _s3_session()} if scheme == "s3" else {}))
        store.invalidate_cache()  # others write there too
        yield store
    except ApolloError:
        raise
    except ImportError:
        raise ApolloError(
            f"{url} needs a driver that is not installed: in Apollo's source folder, run "
            f"pip install -c constraints.txt '.[{EXTRAS[scheme]}]'"
        ) from None
    except FileNotFoundError:
        raise ApolloError(f"there is no {url}: check the bucket and the name") from None
    except PermissionError:
        raise _refused(url) from None
    except Exception as error:  # each driver has its own errors
        kind = type(error).__name__
        if REFUSAL_NAME.search(kind) or REFUSAL_TEXT.search(str(error)):
            raise _refused(url) from None
        reason = _without_secrets(one_line(error))[:200]
        raise ApolloError(f"{url} cannot be reached ({kind}: {reason}): check the connection and the address") from None


@cache
def _s3_session() -> Any:
    """A session of S3's driver whose uploads begin at once.

    By itself it waits for the server's "100 Continue", for ever where none comes: no time-out counts meanwhile.
    """
    from aiobotocore.session import get_session
    from botocore.handlers import add_expect_header

    session = get_session()
    session.unregister("before-call.s3", add_expect_header)
    return session


def _refused(url: object) -> ApolloError:
    return ApolloError(f"{url} may not be accessed: check the credentials that its driver reads, and their rights")


def _without_secrets(text: str) -> str:
    """A driver's message with its URLs cut down to host and path."""

    def stripped(url: re.Match[str]) -> str:
        return url[1] + re.split(r"[?#]", url[2].rpartition("@")[2])[0]

    return re.sub(r"(\w+://)([^\s\"'<>]*)", stripped, text)


def puts_whole(store: Any) -> bool:
    """Whether a driver uploads with its own code; fsspec's default leaves half a file when stopped."""
    from fsspec import AbstractFileSystem
    from fsspec.asyn import AsyncFileSystem

    kind = type(store)
    if isinstance(store, AsyncFileSystem):
        return kind._put_file is not AsyncFileSystem._put_file
    return kind.put_file is not AbstractFileSystem.put_file
