"""What nodes there are."""

import asyncio
import hashlib
import logging
from functools import partial
from operator import is_not
from typing import Any

from aiohttp import web

from execution import Engine, NodeDefinition, text_of

from . import wire
from .app_keys import NODE_CATALOGUE
from .middlewares import json_response

log = logging.getLogger("studio.web")

routes = web.RouteTableDef()

_LONGEST_TEXT = 1000


class ClassNotDescribed(Exception):
    """A class does not say what it takes. The message is a sentence.

    :param definition: of the class.
    :param raised: by the class, where it answered at all.
    """

    def __init__(self, sentence: str, definition: NodeDefinition, raised: BaseException | None = None) -> None:
        super().__init__(sentence)
        self.error = {
            "type": "class_not_described", "message": sentence,
            "details": "" if raised is None else f"{type(raised).__name__}: {text_of(raised)[:_LONGEST_TEXT]}",
            "extra_info": {"class_type": definition.class_type, "python_module": definition.origin,
                           "exception_type": None if raised is None else type(raised).__name__}}


class NodeCatalogue:
    """Definitions of all classes as JSON. Each class is asked again for every request, since lists of files change;
    the bytes of one that answered the same are used again, and so is the whole if all did."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._known: dict[str, tuple[Any, Any, bytes]] = {}
        """What a class answered last, a copy of that, and its bytes."""
        self._whole: tuple[list[bytes], bytes, str] = ([], b"{}", _tag_of(b"{}"))
        """What it was made of last time, the bytes, and their ETag."""
        self._silent: set[NodeDefinition] = set()
        """Classes that did not answer in time. They are asked for by name alone: each time costs a thread."""

    async def all(self) -> tuple[bytes, str]:
        """The whole object, and its ETag. A class that raises, or does not answer, is left out and logged."""
        definitions = [one for one in self._engine.registry if one not in self._silent]
        members = await self._engine.ask_nodes_in_turn([partial(self._member, one) for one in definitions])
        for definition, member in zip(definitions, members, strict=True):
            if isinstance(member, TimeoutError):
                log.error("class %s (%s) does not answer what it takes; it is left out from now on",
                          definition.class_type, definition.origin)
                self._silent.add(definition)
        parts = [one for one in members if isinstance(one, bytes)]
        known, body, tag = self._whole
        if len(parts) != len(known) or any(map(is_not, parts, known)):
            body, tag = await asyncio.to_thread(_joined, parts)
            self._whole = (parts, body, tag)
        return body, tag

    async def one(self, class_type: str) -> bytes:
        """The object with one class, empty if there is none of this name.

        :raises ClassNotDescribed: it raised, or did not answer in time.
        """
        definition = self._engine.registry.get(class_type)
        if definition is None:
            return b"{}"
        try:
            member = await self._engine.ask_nodes(lambda: self._member(definition))
        except TimeoutError:
            self._silent.add(definition)
            raise ClassNotDescribed(f"The class {class_type} does not answer what it takes.", definition) from None
        except ClassNotDescribed:
            self._silent.discard(definition)  # it answers, if only with this
            raise
        self._silent.discard(definition)
        return b"{" + member + b"}"

    def _member(self, definition: NodeDefinition) -> bytes:
        """What stands in the object. On a thread.

        :raises ClassNotDescribed: the class raised, whatever it was.
        """
        name = definition.class_type
        try:
            info = self._engine.info_of(definition)
            known = self._known.get(name)
            if known is not None and (known[0] is info or _is_same(known[1], info)):
                return known[2]
            encoded = wire.dumps(name) + b":" + wire.dumps(info)
            self._known[name] = (info, wire.plain_copy(info), encoded)
        except BaseException as error:  # asked for words, an object of a pack may raise SystemExit
            log.exception("class %s (%s) does not say what it takes; it is left out", name, definition.origin)
            raise ClassNotDescribed(f"The class {name} raised when it was asked what it takes.", definition,
                                    error) from None
        return encoded


def _is_same(one: Any, other: Any) -> bool:
    try:
        return bool(one == other)
    except Exception:  # what does not compare as a whole
        return False


def _joined(parts: list[bytes]) -> tuple[bytes, str]:
    body = b"{" + b",".join(parts) + b"}"
    return body, _tag_of(body)


def _tag_of(body: bytes) -> str:
    return hashlib.blake2b(body, digest_size=16).hexdigest()


@routes.get("/object_info")
async def object_info(request: web.Request) -> web.Response:
    body, tag = await request.app[NODE_CATALOGUE].all()
    headers = {"ETag": f'"{tag}"', "Cache-Control": "no-cache"}
    if any(one.value == tag for one in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=body, content_type="application/json", charset="utf-8", headers=headers)


@routes.get("/object_info/{class_type}")
async def object_info_of(request: web.Request) -> web.Response:
    try:
        body = await request.app[NODE_CATALOGUE].one(request.match_info["class_type"])
    except ClassNotDescribed as failure:
        return json_response({"error": failure.error, "node_errors": {}}, 500)
    return web.Response(body=body, content_type="application/json", charset="utf-8")


