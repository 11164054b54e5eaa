"""What makes two calls of a node the same call.

A signature is a digest over the class, its change check, its constants and the signatures of its sources, so it
is the same in every process and costs linear time however long the chain. `1`, `1.0` and `True` are the same
constant. What equals nothing, not even itself (NaN, objects that are no plain data), makes a signature *transient*:
it is unique to its node and its prompt, and so is everything downstream of it.

What code that was loaded anew computes is the same call only within this process, and so is what comes of code of
which nobody can say whether it is still the same in the next one. All others are *lasting*.
"""

import hashlib
import math
from collections.abc import Iterable, Mapping
from typing import Any, NewType

import msgspec

from .identifiers import NodeId
from .prompt_graph import GraphNode

Signature = NewType("Signature", bytes)

_encode = msgspec.msgpack.Encoder(order="deterministic").encode
_sha256 = hashlib.sha256
_STABLE, _OF_THIS_PROCESS, _TRANSIENT = b"s", b"p", b"t"
_LARGEST = 2**63


class _EqualsNothing(Exception):
    """A constant that has no stable form."""


def is_transient(signature: Signature) -> bool:
    """Whether nothing outside of its own prompt run can ever have this signature."""
    return signature[:1] == _TRANSIENT


def is_lasting(signature: Signature) -> bool:
    """Whether the same call has this signature in every other process, too."""
    return signature[:1] == _STABLE


def _canonical(value: Any) -> Any:
    """A form that is equal for equal constants and can be encoded."""
    kind = value.__class__
    if kind is str or value is None:
        return value
    if kind is bool:
        return int(value)
    if kind is int:
        return value if -_LARGEST <= value < _LARGEST else ["int", str(value)]
    if kind is float:
        if math.isnan(value):
            raise _EqualsNothing
        if value.is_integer():
            return _canonical(int(value))
        return value
    if kind is list or kind is tuple:
        return ["list", *[_canonical(item) for item in value]]  # named, so as not to pass for one of the others
    if kind is dict:
        # Pairs, since keys of a map may be anything once they are canonical.
        return ["map", sorted(([_canonical(key), _canonical(item)] for key, item in value.items()),
                              key=lambda pair: str(pair[0]))]
    if kind is bytes:
        return value
    raise _EqualsNothing


def sign(node: GraphNode, sources: Mapping[NodeId, Signature], *, fingerprint: Any, identity: str | None,
         run: str, revision: int = 0, code: str | None = "") -> Signature:
    """The signature of a node whose sources are signed already.

    :param fingerprint: what its change check answered, or None.
    :param identity: the node's own id where it counts.
    :param run: what makes a transient signature unique: the prompt run.
    :param revision: of the class, if its code was loaded anew: what older code computed is something else.
    :param code: tells its code from other code under the same name; None if that cannot be told.
    """
    named = [node.class_type, revision, code or ""] if revision or code else node.class_type
    parts: list[Any] = [named, identity]
    transient = False
    lasting = not revision and code is not None
    inputs = node.inputs
    links = node.links
    try:
        if fingerprint is not None:
            parts.append(_canonical(fingerprint))
        for name in sorted(inputs) if len(inputs) > 1 else inputs:
            link = links.get(name)
            if link is not None:
                source = sources.get(link.source)
                if source is None:  # a link to nowhere never matches anything
                    raise _EqualsNothing
                kind = source[:1]
                if kind != _STABLE:
                    lasting = False
                    transient = transient or kind == _TRANSIENT
                parts.append((name, source, link.slot))
            else:
                value = inputs[name]
                parts.append((name, value) if value.__class__ is str else (name, _canonical(value)))
        payload = _encode(parts)
    except (_EqualsNothing, TypeError, ValueError, OverflowError, RecursionError):  # nor do numbers without end
        transient = True
        payload = f"{run}/{node.node_id}".encode(errors="surrogatepass")
    if transient:
        return Signature(_TRANSIENT + _sha256(payload + run.encode(errors="surrogatepass")).digest())
    return Signature((_STABLE if lasting else _OF_THIS_PROCESS) + _sha256(payload).digest())


def sign_all(order: Iterable[NodeId], nodes: Mapping[NodeId, GraphNode], known: dict[NodeId, Signature], *,
             fingerprints: Mapping[NodeId, Any], identities: Mapping[str, bool],
             run: str, revisions: Mapping[str, int] | None = None,
             codes: Mapping[str, str | None] | None = None) -> dict[NodeId, Signature]:
    """Sign nodes, given sources first, into `known`, which is returned.

    :param identities: for each class, whether a node's id counts. One that nobody needs may have failed to say so.
    :param revisions: of classes that were loaded anew.
    :param codes: for each class what tells its code from other code; not asked for if nothing outlives the process.
    """
    for node_id in order:
        node = nodes[node_id]
        known[node_id] = sign(node, known, fingerprint=fingerprints.get(node_id),
                              identity=node_id if identities.get(node.class_type) else None, run=run,
                              revision=revisions.get(node.class_type, 0) if revisions else 0,
                              code=codes.get(node.class_type) if codes is not None else "")
    return known
