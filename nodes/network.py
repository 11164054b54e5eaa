"""Pictures from the network: async, behind an AddressGuard, bounded in bytes, pixels, time and redirects."""

from __future__ import annotations

import asyncio
import io
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from nodes.environment import environment
from nodes.image_files import NotAnImage, decode_image
from nodes.outside import GuardedClient

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp
    import torch

    ShowProgress = Callable[[int, int | None], None]

LONGEST_SECONDS = 600.0
MOST_REDIRECTS = 5
MOST_PIXELS = 2**27
"""Of all frames together: 1.5 GiB as float32. A small file can unpack to any size."""
_CHUNK_BYTES = 2**16


class DownloadFailed(Exception):
    """A URL that gave no picture; the message says why, in a sentence for the person who typed it."""


def url_problem(url: Any) -> str | None:
    """What is wrong with a URL as far as one can tell without connecting; None for a usable one."""
    if not isinstance(url, str) or not url.strip():
        return "Enter the http:// or https:// address of an image"
    try:
        parts = urlsplit(url.strip())
        host, _ = parts.hostname, parts.port  # the port is parsed on access, and may be no number
    except ValueError as error:
        return f"Not a URL: {error}"
    if parts.scheme.lower() not in ("http", "https"):
        return f"Only http:// and https:// can be loaded, not {parts.scheme[:20] or 'a URL without scheme'!r}"
    return None if host else "The URL names no host"


async def fetch(url: str, seconds: float, max_bytes: int, allow_private: bool, show: ShowProgress) -> bytes:
    """The body that a URL answers with. `show(received, expected or None)` is called as it arrives.

    Raises DownloadFailed when the address is private, or bytes, seconds or redirects pass their bounds.
    """
    import aiohttp

    problem = url_problem(url)
    if problem:
        raise DownloadFailed(problem)
    client = GuardedClient(allow_private, {"Accept": "image/*, */*;q=0.5", "Accept-Encoding": "identity",
                                           "User-Agent": "HanzoStudio"})
    try:
        async with (
            asyncio.timeout(seconds),  # the only one: it covers redirects too
            client,
            client.session.get(url.strip(), max_redirects=MOST_REDIRECTS) as response,
        ):
            return await _body(response, max_bytes, show)
    except TimeoutError as error:
        raise DownloadFailed(f"The server took longer than {seconds:g} seconds") from error
    except aiohttp.TooManyRedirects as error:
        raise DownloadFailed(f"The server redirected more than {MOST_REDIRECTS} times") from error
    except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
        raise DownloadFailed("The URL, or one it redirects to, is not a usable http or https URL") from error
    except (aiohttp.ClientError, OSError, ValueError) as error:
        if client.refused:
            raise DownloadFailed(
                f"{client.refused} is not a public address; --allow-private-urls permits such addresses"
            ) from error
        raise DownloadFailed(f"The download failed: {error or type(error).__name__}") from error


async def _body(response: aiohttp.ClientResponse, max_bytes: int, show: ShowProgress) -> bytes:
    if response.status != 200:
        raise DownloadFailed(f"The server answered {response.status} {response.reason or ''}".rstrip())
    expected = response.content_length
    body = bytearray()
    if expected is None or expected <= max_bytes:
        async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
            body += chunk
            if len(body) > max_bytes:
                break
            show(len(body), expected)
        else:
            return bytes(body)
    raise DownloadFailed(f"The file is larger than {max_bytes:,} bytes")


class LoadImageFromURL:
    """A picture from the web as IMAGE [B,H,W,3] and MASK (1 = transparent); see `decode_image` and `fetch`.

    Its output is kept like any other's: an unchanged URL is not fetched again while it is in the cache.
    """

    DESCRIPTION = "Loads an image from an http:// or https:// address without holding up any other node."
    CATEGORY = "image"
    RETURN_TYPES = ("IMAGE", "MASK")
    FUNCTION = "load_image"
    # Waiting takes no processor, but each download holds its body in memory: `--pool download=N` bounds them.
    RESOURCES = {"download": 1}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:
        timeout = {"default": 30.0, "min": 0.1, "max": LONGEST_SECONDS, "step": 0.1}
        return {
            "required": {"url": ("STRING", {"default": "", "placeholder": "https://…"})},
            "optional": {"timeout": ("FLOAT", timeout)},
            "hidden": {"unique_id": "UNIQUE_ID"},
        }

    @classmethod
    def VALIDATE_INPUTS(cls, url: Any) -> bool | str:
        if url is None:  # linked: known when the node runs
            return True
        return url_problem(url) or True

    async def load_image(
        self, url: str, timeout: float = 30.0, unique_id: str | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """`timeout` is in seconds, for the whole download. Raises DownloadFailed."""
        from execution import ProgressBar

        if not 0 < timeout <= LONGEST_SECONDS:  # a linked value was not checked before; NaN ends here too
            raise ValueError(f"a timeout of {timeout} seconds is not between 0 and {LONGEST_SECONDS:g}")
        limit = environment.max_download_bytes
        progress: Any = None

        def show(received: int, expected: int | None) -> None:
            # Without a stated size the bar shows how much of the allowed size has arrived.
            nonlocal progress
            progress = progress or ProgressBar(expected or limit, node_id=unique_id)
            progress.update_absolute(received)

        body = await fetch(url, timeout, limit, environment.allow_private_urls, show)
        try:
            return await asyncio.to_thread(decode_image, io.BytesIO(body), MOST_PIXELS)
        except NotAnImage as error:
            raise DownloadFailed(f"The server's answer is no image: {error}") from error
