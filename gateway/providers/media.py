"""Read what a content part points at: data URLs, plain URLs, files. Pure; nothing is fetched."""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from dataclasses import dataclass
from typing import Any

from gateway.errors import InvalidRequest

_DATA_URL = re.compile(r"data:([\w.+-]+/[\w.+-]+)?(?:;[\w-]+=[^;,]*)*;base64,(.*)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Media:
    """A picture or document: either its base64 text and type, or where it lies."""

    mime_type: str
    base64: str = ""
    url: str = ""


def of_part(part: dict[str, Any], *, param: str) -> Media:
    """Return what an `image_url` or `file` part holds.

    Raises:
        InvalidRequest: the address is neither an https nor a base64 data URL, or the part is of another kind.
    """
    kind = part.get("type")
    if kind == "image_url":
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else image
        return _of_url(url, param=f"{param}.image_url.url", default_type="image/jpeg")
    if kind == "file":
        file = part.get("file")
        data = file.get("file_data") if isinstance(file, dict) else None
        return _of_url(data, param=f"{param}.file.file_data", default_type="application/pdf")
    raise InvalidRequest(f"Content of type {kind!r} is not supported by this model's provider.", param=param)


def _of_url(url: object, *, param: str, default_type: str) -> Media:
    if not isinstance(url, str):
        raise InvalidRequest("A URL is needed: https://… or data:<type>;base64,….", param=param)
    match = _DATA_URL.fullmatch(url)
    if match:
        try:
            b64decode(match[2], validate=True)
        except (binascii.Error, ValueError) as error:
            raise InvalidRequest("The data URL does not hold valid base64.", param=param) from error
        return Media(match[1] or default_type, base64=match[2])
    if url.startswith(("https://", "http://")):
        return Media(default_type, url=url)
    raise InvalidRequest("A URL is needed: https://… or data:<type>;base64,….", param=param)
