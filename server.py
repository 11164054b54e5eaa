"""Hanzo Studio's start: settings -> registry -> engine -> application -> run. The one place that knows everyone.

Nothing heavy is imported before the port answers.
"""

import asyncio
import contextlib
import errno
import gc
import logging
import os
import shutil
import signal
import socket
import sys
import time
from argparse import Namespace
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from web.start_options import build_parser

if TYPE_CHECKING:
    import ssl

    from execution import DiskTier, Engine, JobStore, NodeRegistry
    from nodes.packs.pack_code import CodeOfClasses
    from nodes.packs.pack_registry import PackRegistry
    from nodes.packs.pack_reports import PackReport
    from nodes.packs.pack_shelf import PackShelf
    from web.app_keys import WebSettings
    from web.log_book import LogBook
    from web.waiting_room import WaitingRoom

    NowLoading = Callable[[str | Callable[[], str]], None]

log = logging.getLogger("studio")

VERSION = "0.1.0"
SWITCH_INTERVAL = 0.0005
"""Seconds that a computing thread keeps the interpreter lock when the loop wants it."""
IDLE_SECONDS = 1.0
STORE_FOLDER = "__studio"
"""In the user folder, out of reach of clients as all names with two underscores are: queue, history, log of events."""
STORE_FILE = "queue.sqlite3"
OUTPUTS_FOLDER = "outputs"


class Studio:
    """What is running, for whoever started it."""

    def __init__(self, engine: "Engine", registry: "NodeRegistry", packs: "Sequence[PackReport]") -> None:
        self.engine = engine
        self.registry = registry
        self.packs = packs


def configure_environment(options: Namespace) -> None:
    """Tell nodes where their folders are, and make those that are written to. Leaves with a sentence if it cannot."""
    from nodes.environment import environment
    from nodes.preview_folder import open_temp_folder
    from web.user_accounts import ONLY_USER

    environment.place_under((options.base_directory or Path.cwd()).expanduser().resolve())
    for name in ("input", "output", "temp", "user", "models"):
        chosen = getattr(options, f"{name}_directory")
        if chosen is not None:
            setattr(environment, f"{name}_directory", chosen.expanduser().resolve())
    environment.save_metadata = not options.disable_metadata
    environment.allow_private_urls = options.allow_private_urls
    environment.preview_size = options.preview_size
    if options.cpu or options.cuda_device not in (None, "all"):
        # Read when torch looks for GPUs, which is later.
        os.environ["CUDA_VISIBLE_DEVICES"] = os.environ["HIP_VISIBLE_DEVICES"] = \
            "" if options.cpu else options.cuda_device
    try:
        for folder in (environment.input_directory, environment.output_directory,
                       environment.base_directory / "custom_nodes",
                       environment.user_directory / ("" if options.multi_user else ONLY_USER)):
            folder.mkdir(parents=True, exist_ok=True)
        open_temp_folder(environment.temp_directory)
        example = environment.input_directory / "example.png"
        if not example.exists():
            shutil.copyfile(Path(__file__).parent / "web" / "ui" / "examples" / "example.png", example)
    except OSError as error:
        raise SystemExit(f"hanzo-studio: the folder {error.filename} cannot be used: {error.strerror}. "
                         "Choose another with --base-directory.") from None


def make_store(options: Namespace, stack: contextlib.ExitStack) -> "JobStore | None":
    """Where queue and history are kept; None forgets them at the end.

    Leaves with a sentence if another process has the user folder.

    :param stack: holds the folder until it is left.
    """
    if options.store == "memory":
        if options.cache_disk and options.cache_disk_keep:
            take_store_folder(stack)
        return None
    from execution import KeepRule, SqliteStore

    folder = take_store_folder(stack)
    age, most = options.keep_history
    return SqliteStore(folder / STORE_FILE, keep=KeepRule(max_age_ms=None if age is None else age * 1000,
                                                          max_bytes=most))


def take_store_folder(stack: contextlib.ExitStack) -> Path:
    """The folder of what outlives this process; no other one has it until the stack is left, or leaves with a
    sentence."""
    from nodes.environment import environment
    from nodes.user_folder_lock import UserFolderInUse, lock_user_folder

    folder = environment.user_directory / STORE_FOLDER
    try:
        folder.mkdir(exist_ok=True)
        stack.enter_context(lock_user_folder(folder))
    except UserFolderInUse as error:
        raise SystemExit(f"hanzo-studio: {error}") from None
    except OSError as error:
        raise SystemExit(f"hanzo-studio: the folder {folder} cannot be used: {error.strerror}. "
                         "Choose another with --user-directory.") from None
    return folder


def secret_of_webhooks(options: Namespace) -> bytes | None:
    """What webhooks are signed with; made at the first start. None if it cannot be kept and nothing else is either:
    then there are none. Leaves with a sentence if only it cannot."""
    from nodes.environment import environment
    from web.webhook_secret import NoSecret, secret_in

    folder = environment.user_directory / STORE_FOLDER
    try:
        return secret_in(folder)
    except NoSecret as error:
        if options.store != "memory":
            raise SystemExit(f"hanzo-studio: {error}") from None
        log.warning("no webhooks are delivered: %s", error)
        return None


def make_disk_tier(options: Namespace) -> "DiskTier | None":
    """Where outputs are kept that took long. None if nothing would ever look for them."""
    if not options.cache_disk or (options.store == "memory" and not options.cache_disk_keep):
        return None
    from execution import DiskTier
    from nodes.environment import environment
    from nodes.plain_values import TensorForms

    return DiskTier(environment.user_directory / STORE_FOLDER / OUTPUTS_FOLDER, TensorForms(),
                    bound=options.cache_disk, after=options.cache_disk_after, keeps=options.cache_disk_keep)


def code_of_classes(packs: Sequence[Path]) -> "CodeOfClasses":
    """Reads the files of all packs: to be called on a thread."""
    import nodes
    from nodes.packs.pack_code import CodeOfClasses

    return CodeOfClasses(packs, Path(nodes.__file__).parent, VERSION)


def make_engine(options: Namespace, registry: "NodeRegistry", torch_threads: Any,
                store: "JobStore | None" = None, disk_tier: "DiskTier | None" = None,
                code_of: "CodeOfClasses | None" = None) -> "Engine":
    from execution import CacheRule, CallerSettings, Engine, EngineSettings, OutputCache, SchedulerSettings, TimeLimits
    from nodes.machine_facts import memory_limit
    from nodes.preview_images import encode_preview

    if options.cache_none:
        cache = OutputCache(CacheRule.NONE)
    elif options.cache_classic or options.high_ram:
        cache = OutputCache(CacheRule.CLASSIC)
    elif options.cache_lru:
        cache = OutputCache(CacheRule.COUNT, options.cache_lru)
    else:
        cache = OutputCache(CacheRule.BYTES, options.cache_bytes if options.cache_bytes is not None
                            else min(memory_limit() // 8, 4 * 2**30))
    pools = {"gpu": 1, "cpu": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity")
             else os.cpu_count() or 1, **dict(options.pool)}
    settings = EngineSettings(
        scheduler=SchedulerSettings(max_running_prompts=options.max_running_prompts, pools=pools),
        caller=CallerSettings(cancel_grace=options.cancel_grace, hook_timeout=options.hook_timeout,
                              limits=TimeLimits(run_timeout=options.run_timeout, idle_timeout=options.idle_timeout)),
        max_attempts=options.max_attempts)
    return Engine(registry, settings, cache=cache, store=store, disk_tier=disk_tier, code_of=code_of,
                  encode_preview=encode_preview,
                  before_call=torch_threads, release_memory=torch_threads.release_memory)


def register_built_in_nodes(registry: "NodeRegistry") -> None:
    from nodes import CATALOGUE, DISPLAY_NAMES
    from nodes.packs.node_definitions import define_built_in_node

    for name, node_class in CATALOGUE.items():
        registry.add(define_built_in_node(name, node_class, DISPLAY_NAMES.get(name)), built_in=True)


def make_registry(options: Namespace) -> "PackRegistry":
    """With the built-in nodes. Leaves with a sentence if the names of those that are left out cannot be read."""
    from nodes.packs.pack_registry import PackRegistry, read_left_out

    left_out: frozenset[str] = frozenset()
    if options.disabled_nodes_config is not None:
        try:
            left_out = read_left_out(options.disabled_nodes_config.expanduser())
        except (OSError, ValueError) as error:
            raise SystemExit(f"hanzo-studio: --disabled-nodes-config: {error}") from None
    registry = PackRegistry(left_out)
    register_built_in_nodes(registry)
    return registry


def packs_that_may_load(options: Namespace) -> "Sequence[str] | None":
    """Names of packs; None for all."""
    return options.whitelist_custom_nodes if options.disable_all_custom_nodes else None


def find_packs(options: Namespace, now_loading: "NowLoading" = lambda what: None) -> Sequence[Path]:
    """Packs to load; their prestartup scripts have run afterwards."""
    from nodes.packs import loader, model_folders

    model_folders.place_categories()
    try:
        model_folders.add_all_extra_paths(options.extra_model_paths_config)
    except (OSError, ValueError) as error:
        raise SystemExit(f"hanzo-studio: --extra-model-paths-config: {error}") from None
    packs = loader.find_packs(model_folders.pack_folders(), packs_that_may_load(options))
    loader.run_prestartup_scripts(packs, lambda progress: now_loading(progress.described))
    return packs


async def load_packs(packs: Sequence[Path], engine: "Engine", app: Any, sockets: Sequence[socket.socket],
                     now_loading: "NowLoading", stack: contextlib.AsyncExitStack, registry: "PackRegistry",
                     options: Namespace, code_of: "CodeOfClasses | None" = None) -> "PackShelf":
    from nodes.packs import surface_modules
    from nodes.packs.node_replacements import NODE_REPLACEMENTS
    from nodes.packs.pack_shelf import PackShelf
    from web.app import add_routes
    from web.app_keys import CONNECTIONS, PACK_TABLES, PROMPT_GATE
    from web.messenger import Messenger
    from web.pack_files import PackTables

    address, port = sockets[0].getsockname()[:2]
    surface = surface_modules.install(Messenger(engine, app[CONNECTIONS]), app=app, address=address, port=port,
                                      options=options, code_of=code_of)
    stack.callback(surface.remove)
    if surface.hooks is not None:
        app[PROMPT_GATE] = surface.hooks
    shelf = PackShelf(registry, surface, only=packs_that_may_load(options),
                      prompts_forget=engine.free_memory)
    app[PACK_TABLES] = PackTables(web_directories=shelf.web_directories, directories=shelf.directories,
                                  node_replacements=NODE_REPLACEMENTS)
    await shelf.load(packs, lambda progress: now_loading(progress.described))
    add_routes(app, surface.prompt_server.routes)
    return shelf


async def give_packs(packs: Sequence[Path], engine: "Engine", app: Any, sockets: Sequence[socket.socket],
                     now_loading: "NowLoading", stack: contextlib.AsyncExitStack, registry: "PackRegistry",
                     options: Namespace, code_of: "CodeOfClasses | None") -> "Sequence[PackReport]":
    """Load packs, and tell the application of them and of those that may come."""
    from nodes.packs.pack_shelf import other_packs
    from web.app_keys import PACKS
    from web.pack_routes import Packs

    if not packs:
        app[PACKS] = Packs(listing=partial(other_packs, (), packs_that_may_load(options)))
        return []
    shelf = await load_packs(packs, engine, app, sockets, now_loading, stack, registry, options, code_of)
    app[PACKS] = Packs(listing=shelf.listing, reload=partial(reload_pack, shelf))
    return shelf.reports()


async def reload_pack(shelf: "PackShelf", name: str) -> "PackReport":
    """What the web layer asks for, with its own errors."""
    from nodes.packs.pack_shelf import NoSuchPack, ReloadInProgress
    from web.bad_request import BadRequest

    try:
        return await shelf.reload(name)
    except NoSuchPack as error:
        raise BadRequest("unknown_pack", str(error), status=404) from None
    except ReloadInProgress as error:
        raise BadRequest("packs_busy", str(error), status=409) from None


def page_to_serve(options: Namespace) -> Path:
    """The folder of the page. Leaves with a sentence if it is not there."""
    from web.front_end import NoFrontEnd, page_of

    try:
        page = page_of(options)
    except NoFrontEnd as error:
        raise SystemExit(f"hanzo-studio: {error}") from None
    for warning in page.warnings:
        log.warning("%s", warning)
    return page.directory


def web_settings(options: Namespace, page: Path, torch_threads: Any, log_book: "LogBook",
                 secret: bytes | None) -> "WebSettings":
    """What the application is to know of the machine, the folders and the options."""
    from nodes.environment import environment
    from nodes.machine_facts import system_stats
    from nodes.outside import Outside
    from nodes.packs import model_folders
    from web.app_keys import WebSettings
    from web.feature_flags import read_flags

    return WebSettings(
        directory_of=environment.directory_of, max_upload_size=options.max_upload_size * 2**20,
        cors_origin=options.enable_cors_header, user_directory=lambda: environment.user_directory,
        is_multi_user=options.multi_user, feature_flags=read_flags(options.feature_flag)[0],
        model_categories=lambda: model_folders.categories, list_model_files=model_folders.list_files,
        release_memory=torch_threads.release_memory, log_book=log_book, page_directory=page,
        blueprint_directory=environment.base_directory / "blueprints",
        max_queue=options.max_queue, compresses=options.enable_compress_response_body, is_offline=options.offline,
        outside=None if secret is None else Outside(lambda: environment.allow_private_urls),
        webhook_secret=secret or b"", system_facts=lambda: system_stats(VERSION, sys.argv))


async def answer_on(sockets: Sequence[socket.socket], app: Any, stack: contextlib.AsyncExitStack,
                    ssl_context: "ssl.SSLContext | None") -> None:
    """Have the application answer on these sockets until the stack is left."""
    from aiohttp import web

    from web.app_runner import AppRunner

    runner = AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=2)
    await runner.setup()
    stack.push_async_callback(runner.cleanup)
    for one in sockets:
        await web.SockSite(runner, one, ssl_context=ssl_context).start()


def leave_start_behind() -> None:
    """What was loaded stays for good: the collector of garbage need not look at it again and again.

    Nor need it look often: a graph of thousands of nodes is a hundred thousand objects, all alive. Prompts leave no
    circles behind; those of packs are collected when the server is idle (`collect_when_idle`).
    """
    sys.setswitchinterval(SWITCH_INTERVAL)  # only now: two threads that import would get in each other's way
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)


def collect_when_idle(engine: "Engine") -> None:
    """Have garbage collected a moment after the last prompt: values that packs left in circles may be large."""
    from execution import PromptFinished, PromptQueued, PromptStarted, QueueChanged

    loop = asyncio.get_running_loop()
    timer: list[asyncio.TimerHandle] = []

    def collect() -> None:
        if not engine.remaining:
            gc.collect(1)

    def listen(event: Any) -> None:
        if event.remaining == 0:
            while timer:
                timer.pop().cancel()
            timer.append(loop.call_later(IDLE_SECONDS, collect))

    engine.add_listener(listen, (QueueChanged, PromptQueued, PromptStarted, PromptFinished))


@contextlib.asynccontextmanager
async def open_studio(options: Namespace, sockets: Sequence[socket.socket],
                      room: "WaitingRoom | None" = None, log_book: "LogBook | None" = None,
                      ssl_context: "ssl.SSLContext | None" = None) -> AsyncIterator[Studio]:
    """Everything that a running server is made of, on this loop and these listening sockets.

    :param room: what answers on the sockets until the application does; it is stopped then.
    :param log_book: where log lines are kept already; None keeps them from now on.
    :param ssl_context: encrypts connections.
    """
    def now_loading(what: "str | Callable[[], str]") -> None:
        if room is not None:
            room.what = what

    configure_environment(options)
    page = page_to_serve(options)
    stack_of_store = contextlib.ExitStack()
    store = make_store(options, stack_of_store)
    registry = make_registry(options)
    packs = find_packs(options, now_loading)
    now_loading("importing torch")
    from nodes.torch_threads import TorchThreads

    torch_threads = TorchThreads()
    torch_import = asyncio.ensure_future(asyncio.to_thread(torch_threads.load))
    disk_tier = make_disk_tier(options)
    secret = secret_of_webhooks(options)
    reading_code = None
    if disk_tier is not None or packs:  # for the disk, and for caches that packs may bring
        reading_code = asyncio.ensure_future(asyncio.to_thread(code_of_classes, packs))
    await asyncio.sleep(0)

    from execution import StoreUnusable
    from nodes.environment import environment
    from nodes.preview_folder import empty_temp_folder
    from web.app import create_app, finish_routes
    from web.log_book import LogBook

    await torch_import
    torch_threads()  # async nodes run on this thread
    code_of = None if reading_code is None else await reading_code
    async with contextlib.AsyncExitStack() as stack:
        log_book = log_book or stack.enter_context(LogBook().kept_from_logging())
        stack.enter_context(stack_of_store)
        stack.callback(empty_temp_folder, environment.temp_directory)
        try:
            engine = await stack.enter_async_context(make_engine(
                options, registry, torch_threads, store, disk_tier, None if disk_tier is None else code_of))
        except StoreUnusable as error:
            raise SystemExit(f"hanzo-studio: {error}") from None
        app = create_app(engine, web_settings(options, page, torch_threads, log_book, secret))
        reports = await give_packs(packs, engine, app, sockets, now_loading, stack, registry, options,
                                   code_of)
        finish_routes(app)
        now_loading("the queue")
        if options.on_start == "paused":
            engine.pause()
        await engine.restore()
        if room is not None:
            room.stop()
        await answer_on(sockets, app, stack, ssl_context)
        yield Studio(engine, registry, reports)


def bind(options: Namespace) -> list[socket.socket]:
    """Listening sockets. Leaves with a sentence when an address cannot be had."""
    sockets = []
    for address in dict.fromkeys(one.strip() for one in options.listen.split(",")):
        is_v6 = ":" in address
        one = socket.socket(socket.AF_INET6 if is_v6 else socket.AF_INET)
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if is_v6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            one.bind((address, options.port))
        except OSError as error:
            if is_v6 and len(sockets):
                continue  # no IPv6 here; the other address is enough
            advice = "Is another server running there? Choose another with --port." \
                if error.errno == errno.EADDRINUSE else "Give an address of this machine with --listen."
            raise SystemExit(f"hanzo-studio: cannot listen on {address} port {options.port}: "
                             f"{error.strerror or error}. {advice}") from None
        one.listen(1024)
        one.setblocking(False)
        sockets.append(one)
    return sockets


def urls_of(sockets: Sequence[socket.socket], scheme: str = "http") -> list[str]:
    names = [one.getsockname() for one in sockets]
    return [f"{scheme}://[{name[0]}]:{name[1]}" if ":" in name[0] else f"{scheme}://{name[0]}:{name[1]}"
            for name in names]


def open_page(url: str) -> None:
    """Show the page in a browser, which may take its time to start."""
    import threading
    import webbrowser

    here = url.replace("//0.0.0.0:", "//127.0.0.1:").replace("//[::]:", "//[::1]:")
    threading.Thread(target=webbrowser.open, args=(here,), name="studio-open-page", daemon=True).start()


def stop_while_loading(number: int, frame: Any) -> None:
    """Leave at once: nothing runs yet that would have to end, and the imports of torch and packs cannot be stopped."""
    log.info("stopping before everything was loaded")
    _leave_at_once()


async def serve(options: Namespace, sockets: Sequence[socket.socket], room: "WaitingRoom", began: float,
                log_book: "LogBook", ssl_context: "ssl.SSLContext | None" = None) -> None:
    """Run until the process is told to stop."""
    stop = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        # Not the loop's handlers: they wait for the loop, which a pack that hangs in its import holds for ever.
        signal.signal(number, stop_while_loading)
    async with open_studio(options, sockets, room, log_book, ssl_context) as studio:
        for number in (signal.SIGINT, signal.SIGTERM):
            with contextlib.suppress(NotImplementedError):
                asyncio.get_running_loop().add_signal_handler(number, stop.set)
        from execution import LoopWatchdog

        leave_start_behind()
        collect_when_idle(studio.engine)
        watchdog = LoopWatchdog()
        urls = urls_of(sockets, "http" if ssl_context is None else "https")
        log.info("ready after %.1f s with %d nodes: %s", time.monotonic() - began, len(studio.registry),
                 "  ".join(urls))
        if options.quick_test_for_ci:
            stop.set()
        elif (options.auto_launch or options.windows_standalone_build) and not options.disable_auto_launch:
            open_page(urls[0])
        await stop.wait()
        watchdog.stop()
        log.info("stopping")


def loop_factory(choice: str) -> Any:
    """What makes the event loop; None for asyncio's own."""
    if choice == "asyncio":
        return None
    try:
        import uvloop
    except ImportError:
        if choice == "uvloop":
            raise SystemExit("hanzo-studio: uvloop is not installed; use --loop asyncio") from None
        return None
    return uvloop.new_event_loop


def prepare(options: Namespace) -> "ssl.SSLContext | None":
    """Start the log, say what is accepted without effect, and answer what encrypts connections, if anything does.

    Leaves with a sentence if a file that was named cannot be used.
    """
    from web.feature_flags import read_flags
    from web.log_setup import configure_logging
    from web.options_without_effect import warnings_of
    from web.tls import NoCertificate, ssl_context_of

    try:
        configure_logging(options)
        ssl_context = ssl_context_of(options)
    except OSError as error:
        raise SystemExit(f"hanzo-studio: --verbose: {error.filename} cannot be written: {error.strerror}") from None
    except NoCertificate as error:
        raise SystemExit(f"hanzo-studio: {error}") from None
    for warning in [*warnings_of(options), *read_flags(options.feature_flag)[1]]:
        log.warning("%s", warning)
    return ssl_context


def main(arguments: Sequence[str] | None = None) -> None:
    began = time.monotonic()
    words = list(sys.argv[1:] if arguments is None else arguments)
    if words[:1] == ["packs"]:
        from nodes.packs.pack_command import run_pack_command

        raise SystemExit(run_pack_command(words[1:]))
    options = build_parser().parse_args(words)
    ssl_context = prepare(options)
    from web.log_book import LogBook
    from web.waiting_room import WaitingRoom

    sockets = bind(options)
    room = WaitingRoom(sockets, ssl_context)
    room.start()
    with LogBook().kept_from_logging() as log_book, log_book.kept_from_printing(), \
            asyncio.Runner(loop_factory=loop_factory(options.loop)) as runner:
        runner.run(serve(options, sockets, room, began, log_book, ssl_context))
    import threading

    if threading.active_count() > 1:  # a node that cannot be stopped: its thread would crash in the interpreter's end
        _leave_at_once()


def _leave_at_once() -> None:
    with contextlib.suppress(Exception):  # a signal may have come while the stream was being written to
        sys.stdout.flush()
        sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    # Packs import `server`: that has to be this module, not a second copy of it.
    import server

    server.main()
