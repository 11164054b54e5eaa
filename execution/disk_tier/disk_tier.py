"""Which outputs lie on the disk, whose they are, and the threads that read and write them.

An entry belongs to a job, and lies in a folder of that job. When the job ends, its entries pass to another job that
runs and has use for them, or go. So what a process that died has left is told apart by the names of folders alone.
All of this can be forgotten at any moment: what goes wrong is logged, and a miss.
"""

import asyncio
import hashlib
import logging
import os
import shutil
from collections import OrderedDict
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import suppress
from contextvars import copy_context
from functools import partial
from pathlib import Path

from ..failpoints import reach
from ..identifiers import PromptId
from ..node_lanes import LoopMailbox, ThreadLane
from ..node_values import OutputRecord
from ..signatures import Signature
from .entry_files import Damaged, EntryFile, entry_files_in, read_entry, write_entry
from .plain_records import NotPlain, PlainForms, RecordCopy, RecordPlan

log = logging.getLogger("studio.cache")

MOST_WAITING = 2**29
"""Bytes of copies that may wait for the disk. One alone may be larger."""
READERS = 2

HeirsOf = Callable[[set[Signature]], Mapping[Signature, PromptId]]


class _Entry:
    """Outputs that are on the disk, or on their way there."""

    __slots__ = ("is_wanted", "is_written", "length", "owner", "path")

    def __init__(self, owner: PromptId | None, path: Path, length: int, is_written: bool) -> None:
        self.owner = owner
        """None if its job has ended, and it is kept all the same."""
        self.path = path
        """The file, or the folder for it while it is not written."""
        self.length = length
        self.is_written = is_written
        self.is_wanted = True


class DiskTier:
    """Keeps outputs in a folder of its own. All is called on the loop, but `copy`.

    :param bound: bytes of all entries together; the least recently used go first.
    :param after: seconds that a call took, from which its outputs are worth keeping.
    :param keeps: entries outlive their jobs.
    """

    def __init__(self, folder: Path, forms: PlainForms, *, bound: int, after: float = 1.0,
                 keeps: bool = False) -> None:
        self._folder = folder
        self._forms = forms
        self._bound = bound
        self.after = after
        self._keeps = keeps
        self._is_usable = False
        self._is_left = False
        self._has_failed = False
        """The last try to write: said once, not each time."""
        self._entries: OrderedDict[Signature, _Entry] = OrderedDict()  # the least recently used first
        self._of_job: dict[PromptId, set[Signature]] = {}
        self._total = 0
        self._waiting = 0
        self._writer = ThreadLane("outputs-writer", 1)
        self._readers = ThreadLane("outputs-reader", READERS)

    # -- life -----------------------------------------------------------------------------------------------------

    async def open(self, unfinished: Collection[PromptId], stored: Callable[[Sequence[Signature]], None],
                   dropped: Callable[[Sequence[Signature]], None]) -> None:
        """Find what is there, and delete what nobody has use for.

        :param unfinished: jobs that the process before this one has left.
        :param stored: told of outputs that can be looked up from now on.
        :param dropped: told of those that cannot any more.
        """
        self._mailbox = LoopMailbox(asyncio.get_running_loop(), copy_context())
        self._tell_stored, self._tell_dropped = stored, dropped
        jobs = {_folder_name(prompt_id): prompt_id for prompt_id in unfinished}
        found = await self._writer.call(lambda: self._find(jobs))
        if found is None:
            return
        self._is_usable = True
        for owner, file in found:
            self._add(file.signature, _Entry(owner, file.path, file.length, True))
        self._tell_stored(list(self._entries))
        self._make_room(0)

    def _find(self, jobs: Mapping[str, PromptId]) -> "list[tuple[PromptId | None, EntryFile]] | None":
        """The least recently used first. None if the folder cannot be used."""
        newest: dict[Signature, tuple[PromptId | None, EntryFile]] = {}
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for folder in list(self._folder.iterdir()):
                owner = jobs.get(folder.name)
                if not folder.is_dir() or (owner is None and not self._keeps):
                    _remove(folder)
                    continue
                for file in entry_files_in(folder):
                    known = newest.get(file.signature)
                    if known is not None:
                        _remove(min(known[1], file, key=lambda one: one.used_at).path)
                    if known is None or known[1].used_at <= file.used_at:
                        newest[file.signature] = owner, file
        except OSError as error:
            log.warning("the folder of outputs %s cannot be used, so none are kept there: %s", self._folder,
                        error.strerror or error)
            return None
        return sorted(newest.values(), key=lambda one: one[1].used_at)

    def leave(self) -> None:
        """Jobs that end from now on end only for this process: their outputs stay."""
        self._is_left = True

    async def close(self) -> None:
        """Wait until all is written that was handed in, and deleted that nobody wants."""
        if self._is_usable:
            for _ in range(2):  # what has been written may have to be moved or deleted
                await self._writer.call(lambda: None)
        self._writer.close()
        self._readers.close()
        self._is_usable = False

    # -- keeping ----------------------------------------------------------------------------------------------------

    def copy(self, record: OutputRecord) -> RecordCopy | None:
        """A copy of outputs as they are now, or None if they have no plain form or there is no room. On any thread."""
        if not self._is_usable:
            return None
        try:
            plan = RecordPlan(record, self._forms)
            waiting = self._waiting
            has_room = plan.length <= self._bound and (not waiting or waiting + plan.length <= MOST_WAITING)
            return plan.taken() if has_room else None
        except NotPlain as reason:
            log.debug("outputs are not kept on the disk: %s", reason)
        except Exception:  # memory is short, say: the node has succeeded all the same
            log.warning("outputs could not be copied for the disk", exc_info=True)
        return None

    def store(self, prompt_id: PromptId, signature: Signature, copy: RecordCopy) -> None:
        """Write outputs of a job, some time soon."""
        if not self._is_usable or signature in self._entries:
            return
        length = copy.length
        if not self._make_room(length):
            return
        entry = _Entry(prompt_id, self._folder_of(prompt_id), length, False)
        self._add(signature, entry)
        self._waiting += length

        def job() -> None:
            path, written = None, 0
            try:
                if entry.is_wanted:
                    path = write_entry(entry.path, signature, copy)
                    written = path.stat().st_size
            except OSError as error:
                self._mailbox.post(partial(self._not_written, signature, entry, length), error)
            else:
                self._mailbox.post(partial(self._written, signature, entry, length, path), written)

        self._writer.submit(job)

    def _not_written(self, signature: Signature, entry: _Entry, reserved: int, error: OSError) -> None:
        self._waiting -= reserved
        if not self._has_failed:
            log.warning("outputs cannot be kept on the disk: %s", error.strerror or error)
        self._has_failed = True
        if entry.is_wanted:
            self._forget(signature)

    def _written(self, signature: Signature, entry: _Entry, reserved: int, path: Path | None, length: int) -> None:
        """:param path: None if nobody wanted it any more when its turn came."""
        self._waiting -= reserved
        if path is None:
            return
        self._has_failed = False
        if not entry.is_wanted:
            self._writer.submit(partial(_remove, path))
            return
        self._total += length - entry.length
        folder, entry.path, entry.length, entry.is_written = entry.path, path, length, True
        if folder != path.parent:  # it has passed to another job meanwhile
            self._move(signature, entry, folder)
        reach("outputs-written")
        self._tell_stored([signature])
        self._make_room(0)  # a file is somewhat larger than what is in it

    def _make_room(self, length: int) -> bool:
        """Let the least recently used go until there is room for so many bytes. Returns whether there is."""
        if length > self._bound:
            return False
        gone = []
        for signature in list(self._entries):
            if self._total + length <= self._bound:
                break
            if self._entries[signature].is_written:  # what is on its way is newer than all others
                gone.append(signature)
                self._drop(signature)
        if gone:
            self._tell_dropped(gone)
        return self._total + length <= self._bound

    # -- looking up -------------------------------------------------------------------------------------------------

    def look_up(self, signature: Signature, answer: Callable[[OutputRecord | None], None]) -> None:
        """Read outputs. `answer` is called on the loop, with None if they cannot be had; they count as used now."""
        entry = self._entries.get(signature)
        if entry is None or not entry.is_written:
            answer(None)
            return
        self._entries.move_to_end(signature)
        path = entry.path

        def job() -> None:
            record: OutputRecord | None = None
            problem: Exception | None = None
            try:
                record = read_entry(path, self._forms)
                os.utime(path)
            except FileNotFoundError as error:
                problem = error
            except Exception as error:  # memory may be short, too
                problem = error
                log.warning("outputs on the disk are made anew: %s", error)
            self._mailbox.post(partial(self._read, signature, path, record, problem), answer)

        self._readers.submit(job)

    def _read(self, signature: Signature, path: Path, record: OutputRecord | None, problem: Exception | None,
              answer: Callable[[OutputRecord | None], None]) -> None:
        entry = self._entries.get(signature)
        if record is None and entry is not None:
            if isinstance(problem, FileNotFoundError) and entry.path != path:  # it has moved meanwhile
                self.look_up(signature, answer)
                return
            if isinstance(problem, (Damaged, OSError)) and entry.path == path:
                self._drop(signature)
                self._tell_dropped([signature])
        answer(record)

    # -- jobs end -----------------------------------------------------------------------------------------------------

    def end_job(self, prompt_id: PromptId, heirs_of: HeirsOf) -> None:
        """A job has ended for good.

        :param heirs_of: says which jobs go on that have use for outputs.
        """
        if self._is_left:
            return
        if self._keeps:
            for signature in self._of_job.pop(prompt_id, ()):
                self._entries[signature].owner = None
            return
        signatures = self._of_job.get(prompt_id)
        if signatures is None:
            return
        heirs = heirs_of(set(signatures))
        gone = []
        for signature in list(signatures):
            heir = heirs.get(signature)
            if heir is not None:
                self._pass_on(signature, heir)
            else:
                if self._entries[signature].is_written:
                    gone.append(signature)
                self._drop(signature)
        if gone:
            self._tell_dropped(gone)

    def _pass_on(self, signature: Signature, heir: PromptId) -> None:
        entry = self._entries[signature]
        self._disown(signature, entry)
        entry.owner = heir
        self._of_job.setdefault(heir, set()).add(signature)
        folder = self._folder_of(heir)
        if entry.is_written:
            self._move(signature, entry, folder)
        else:
            entry.path = folder

    def _move(self, signature: Signature, entry: _Entry, folder: Path) -> None:
        before, entry.path = entry.path, folder / entry.path.name
        self._writer.submit(partial(_rename, before, entry.path))

    # -- the books ----------------------------------------------------------------------------------------------------

    def _folder_of(self, prompt_id: PromptId) -> Path:
        return self._folder / _folder_name(prompt_id)

    def _add(self, signature: Signature, entry: _Entry) -> None:
        self._entries[signature] = entry
        self._total += entry.length
        if entry.owner is not None:
            self._of_job.setdefault(entry.owner, set()).add(signature)

    def _disown(self, signature: Signature, entry: _Entry) -> None:
        if entry.owner is not None:
            of_job = self._of_job.get(entry.owner)
            if of_job is not None:
                of_job.discard(signature)
                if not of_job:
                    del self._of_job[entry.owner]

    def _forget(self, signature: Signature) -> _Entry:
        entry = self._entries.pop(signature)
        self._total -= entry.length
        self._disown(signature, entry)
        return entry

    def _drop(self, signature: Signature) -> None:
        entry = self._forget(signature)
        entry.is_wanted = False
        if entry.is_written:
            self._writer.submit(partial(_remove, entry.path))


def _folder_name(prompt_id: PromptId) -> str:
    """Ids are chosen by clients, and are not names of files."""
    return hashlib.sha256(prompt_id.encode(errors="surrogatepass")).hexdigest()[:32]


def _remove(path: Path) -> None:
    """A file, and its folder if that is empty now; or a folder with all that is in it."""
    try:
        if path.is_dir() and not path.is_symlink():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
            _remove_if_empty(path.parent)
    except OSError as error:
        log.warning("%s cannot be deleted: %s", path, error.strerror or error)


def _rename(before: Path, after: Path) -> None:
    try:
        after.parent.mkdir(parents=True, exist_ok=True)
        os.replace(before, after)
        _remove_if_empty(before.parent)
    except OSError as error:
        log.warning("%s cannot be moved: %s", before, error.strerror or error)


def _remove_if_empty(folder: Path) -> None:
    with suppress(OSError):
        folder.rmdir()
