"""Kept outputs, and the rule for dropping them. It is told sizes and never looks inside a value."""

from collections import OrderedDict
from collections.abc import Collection, Container, Iterable
from enum import StrEnum

from msgspec import Struct

from .node_values import NO_SIZE, OutputRecord
from .signatures import Signature, is_transient

ENTRY_BYTES = 500
"""What an entry takes beside its values: numbers alone could fill the memory, too."""


class CacheRule(StrEnum):
    """When outputs are dropped."""

    BYTES = "bytes"
    """Least recently used first, once all together are larger than a bound."""
    CLASSIC = "classic"
    """Gone with the next prompt that does not use them."""
    COUNT = "count"
    """At most so many, those of the least recent prompt first, never one that the current prompt uses."""
    NONE = "none"
    """Nothing outlives its prompt."""


class _Entry(Struct, gc=False):
    record: OutputRecord
    lives_with: Signature | None
    used_by: int


class OutputCache:
    """Outputs by signature.

    :param bound: bytes for `CacheRule.BYTES`, entries for `CacheRule.COUNT`; unused otherwise.
    """

    def __init__(self, rule: CacheRule = CacheRule.BYTES, bound: int = 2**30) -> None:
        self.rule = rule
        self.bound = bound
        self.total_bytes = 0
        self._entries: OrderedDict[Signature, _Entry] = OrderedDict()
        self._storages: dict[int, list[int]] = {}  # identity -> [holders, bytes]
        self._classic: set[Signature] = set()
        self._turn = 0
        self.on_disk: set[Signature] | None = None
        """Signatures whose outputs a slower tier has, as far as it has told; None if there is no such tier."""

    def __len__(self) -> int:
        return len(self._entries)

    def __contains__(self, signature: Signature) -> bool:
        return signature in self._entries

    def lookup(self, signature: Signature) -> OutputRecord | None:
        """The outputs of this signature, which count as used now."""
        entry = self._entries.get(signature)
        if entry is None:
            return None
        self._entries.move_to_end(signature)
        entry.used_by = self._turn
        return entry.record

    def lies_on_disk(self, signature: Signature) -> bool:
        """Whether it is worth while to ask the slower tier."""
        return self.on_disk is not None and signature in self.on_disk

    def store(self, signature: Signature, record: OutputRecord, *, lives_with: Signature | None = None) -> None:
        """Keep outputs.

        :param lives_with: signature of the node whose expansion made them; under the classic rule they stay as
            long as it does.
        """
        if self.rule is CacheRule.NONE or is_transient(signature):
            return
        if signature in self._entries:
            self.drop(signature)
        size = record.size
        if self.rule is CacheRule.BYTES and size.own_bytes + sum(size.shared.values()) > self.bound:
            return  # it would drive out all others, and then go itself
        self._entries[signature] = _Entry(record, lives_with, self._turn)
        if size is NO_SIZE and self.rule is not CacheRule.CLASSIC:
            self._keep_to_bound()
            return
        self.total_bytes += size.own_bytes
        for identity, held in size.shared.items():
            holders = self._storages.get(identity)
            if holders is None:
                self._storages[identity] = [1, held]
                self.total_bytes += held
            else:
                holders[0] += 1
        if self.rule is CacheRule.CLASSIC or not size.is_known:
            self._classic.add(signature)
        self._keep_to_bound()

    def _keep_to_bound(self) -> None:
        if self.rule is CacheRule.BYTES:
            entries = self._entries
            while entries and self.total_bytes + len(entries) * ENTRY_BYTES > self.bound:
                self.drop(next(iter(entries)))

    def drop(self, signature: Signature) -> None:
        entry = self._entries.pop(signature, None)
        if entry is None:
            return
        self._classic.discard(signature)
        size = entry.record.size
        self.total_bytes -= size.own_bytes
        for identity in size.shared:
            holders = self._storages[identity]
            holders[0] -= 1
            if not holders[0]:
                del self._storages[identity]
                self.total_bytes -= holders[1]

    @property
    def has_rules_to_keep(self) -> bool:
        """Whether it matters what a prompt that starts may use."""
        return bool(self._classic) or self.rule is CacheRule.COUNT

    def begin_prompt(self, used: Collection[Signature], in_use: Iterable[Container[Signature]] = ()) -> None:
        """A prompt starts that may use these signatures; what follows the classic rule and is in nobody's use goes.

        :param used: signatures of the starting prompt.
        :param in_use: those of the prompts that run beside it.
        """
        self._turn += 1
        if self.rule is CacheRule.COUNT:
            for signature in used:
                if signature in self._entries:
                    self._entries[signature].used_by = self._turn
        if self._classic:
            users = [used, *in_use]
            for signature in list(self._classic):
                family = (signature, self._entries[signature].lives_with)
                if not any(one in user for user in users for one in family if one is not None):
                    self.drop(signature)

    def end_prompt(self) -> None:
        """A prompt has ended: the count may be kept to again."""
        if self.rule is CacheRule.COUNT and len(self._entries) > self.bound:
            oldest_first = sorted(self._entries, key=lambda one: self._entries[one].used_by)
            for signature in oldest_first[:len(self._entries) - self.bound]:
                if self._entries[signature].used_by < self._turn:
                    self.drop(signature)

    def drop_unused(self, in_use: Iterable[Container[Signature]] = ()) -> None:
        """Drop at once whatever no running prompt holds."""
        users = list(in_use)
        for signature in list(self._entries):
            if not any(signature in user for user in users):
                self.drop(signature)

    def validate(self) -> None:
        """Assert that the sums are right. For tests."""
        own = sum(entry.record.size.own_bytes for entry in self._entries.values())
        shared = {identity: held for entry in self._entries.values()
                  for identity, held in entry.record.size.shared.items()}
        assert self.total_bytes == own + sum(shared.values())
        assert set(shared) == set(self._storages)
        assert self._classic <= set(self._entries)
        if self.rule is CacheRule.BYTES:
            assert self.total_bytes <= self.bound or not self._entries
