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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from web.start_options import build_parser

if TYPE_CHECKING:
    from execution import Engine, NodeRegistry
    from nodes.packs.loader import PackReport
    from web.waiting_room import WaitingRoom

log = logging.getLogger("studio")

VERSION = "0.1.0"
SWITCH_INTERVAL = 0.0005
"""Seconds that a computing thread keeps the interpreter lock when the loop wants it."""
IDLE_SECONDS = 1.0


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

    environment.place_under((options.base_directory or Path.cwd()).expanduser().resolve())
    for name in ("input", "output", "temp", "user"):
        chosen = getattr(options, f"{name}_directory")
        if chosen is not None:
            setattr(environment, f"{name}_directory", chosen.expanduser().resolve())
    environment.save_metadata = not options.disable_metadata
    environment.allow_private_urls = options.allow_private_urls
    environment.preview_size = options.preview_size
    try:
        for folder in (environment.input_directory, environment.output_directory,
                       environment.base_directory / "custom_nodes"):
            folder.mkdir(parents=True, exist_ok=True)
        open_temp_folder(environment.temp_directory)
        example = environment.input_directory / "example.png"
        if not example.exists():
            shutil.copyfile(Path(__file__).parent / "web" / "ui" / "examples" / "example.png", example)
    except OSError as error:
        raise SystemExit(f"hanzo-studio: the folder {error.filename} cannot be used: {error.strerror}. "
                         "Choose another with --base-directory.") from None


def make_engine(options: Namespace, registry: "NodeRegistry", torch_threads: Any) -> "Engine":
    from execution import CacheRule, CallerSettings, Engine, EngineSettings, OutputCache, SchedulerSettings
    from nodes.machine_facts import memory_limit
    from nodes.preview_images import encode_preview

    if options.cache_none:
        cache = OutputCache(CacheRule.NONE)
    elif options.cache_classic:
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
        caller=CallerSettings(cancel_grace=options.cancel_grace, hook_timeout=options.hook_timeout))
    return Engine(registry, settings, cache=cache, encode_preview=encode_preview, before_call=torch_threads,
                  release_memory=torch_threads.release_memory)


def register_built_in_nodes(registry: "NodeRegistry") -> None:
    from nodes import CATALOGUE, DISPLAY_NAMES
    from nodes.packs.class_nodes import define_class_node

    for name, node_class in CATALOGUE.items():
        registry.add(define_class_node(name, node_class, "nodes", DISPLAY_NAMES.get(name)), built_in=True)


def find_packs(options: Namespace) -> Sequence[Path]:
    """Packs to load; their prestartup scripts have run afterwards."""
    from nodes.packs import loader, model_folders

    model_folders.place_categories()
    for file in options.extra_model_paths_config:
        try:
            model_folders.add_extra_paths(file)
        except (OSError, ValueError) as error:
            raise SystemExit(f"hanzo-studio: --extra-model-paths-config: {error}") from None
    only = options.whitelist_custom_nodes if options.disable_all_custom_nodes else None
    packs = loader.find_packs(model_folders.pack_folders(), only)
    loader.run_prestartup_scripts(packs)
    return packs


async def load_packs(packs: Sequence[Path], engine: "Engine", app: Any, sockets: Sequence[socket.socket],
                     now_loading: Callable[[str], None],
                     stack: contextlib.AsyncExitStack) -> "Sequence[PackReport]":
    from nodes.packs import loader, surface_modules
    from web.app import add_routes
    from web.app_keys import CONNECTIONS
    from web.messenger import Messenger

    address, port = sockets[0].getsockname()[:2]
    surface = surface_modules.install(Messenger(engine, app[CONNECTIONS]), app=app, address=address, port=port)
    stack.callback(surface.remove)
    reports = await loader.load_packs(packs, engine.registry, surface, lambda name: now_loading(f"loading pack {name}"))
    add_routes(app, surface.prompt_server.routes)
    return reports


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
    loop = asyncio.get_running_loop()
    timer: list[asyncio.TimerHandle] = []

    def collect() -> None:
        if not engine.remaining:
            gc.collect(1)

    def listen(event: Any) -> None:
        if getattr(event, "remaining", None) == 0:
            while timer:
                timer.pop().cancel()
            timer.append(loop.call_later(IDLE_SECONDS, collect))

    engine.add_listener(listen)


@contextlib.asynccontextmanager
async def open_studio(options: Namespace, sockets: Sequence[socket.socket],
                      room: "WaitingRoom | None" = None) -> AsyncIterator[Studio]:
    """Everything that a running server is made of, on this loop and these listening sockets.

    :param room: what answers on the sockets until the application does; it is stopped then.
    """
    def now_loading(what: str) -> None:
        if room is not None:
            room.what = what

    configure_environment(options)
    packs = find_packs(options)
    now_loading("importing torch")
    from nodes.torch_threads import TorchThreads

    torch_threads = TorchThreads()
    torch_import = asyncio.ensure_future(asyncio.to_thread(torch_threads.load))
    await asyncio.sleep(0)

    from aiohttp import web

    from execution import NodeRegistry
    from nodes.environment import environment
    from nodes.machine_facts import system_stats
    from nodes.preview_folder import empty_temp_folder
    from web.app import create_app, finish_routes
    from web.app_keys import WebSettings

    registry = NodeRegistry()
    register_built_in_nodes(registry)
    await torch_import
    torch_threads()  # async nodes run on this thread
    async with contextlib.AsyncExitStack() as stack:
        stack.callback(empty_temp_folder, environment.temp_directory)
        engine = await stack.enter_async_context(make_engine(options, registry, torch_threads))
        app = create_app(engine, WebSettings(
            directory_of=environment.directory_of, max_upload_size=options.max_upload_size * 2**20,
            cors_origin=options.enable_cors_header, system_facts=lambda: system_stats(VERSION, sys.argv)))
        reports = await load_packs(packs, engine, app, sockets, now_loading, stack) if packs else ()
        finish_routes(app)
        if room is not None:
            room.stop()
        runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=2)
        await runner.setup()
        stack.push_async_callback(runner.cleanup)
        for one in sockets:
            await web.SockSite(runner, one).start()
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


def urls_of(sockets: Sequence[socket.socket]) -> list[str]:
    names = [one.getsockname() for one in sockets]
    return [f"http://[{name[0]}]:{name[1]}" if ":" in name[0] else f"http://{name[0]}:{name[1]}" for name in names]


async def serve(options: Namespace, sockets: Sequence[socket.socket], room: "WaitingRoom", began: float) -> None:
    """Run until the process is told to stop."""
    stop = asyncio.Event()
    is_loading = True

    def told_to_stop() -> None:
        stop.set()
        if is_loading:  # nothing runs yet that would have to end, and the import of torch cannot be stopped
            log.info("stopping before everything was loaded")
            _leave_at_once()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):
            loop.add_signal_handler(number, told_to_stop)
    async with open_studio(options, sockets, room) as studio:
        is_loading = False
        from execution import LoopWatchdog

        leave_start_behind()
        collect_when_idle(studio.engine)
        watchdog = LoopWatchdog()
        log.info("ready after %.1f s with %d nodes: %s", time.monotonic() - began, len(studio.registry),
                 "  ".join(urls_of(sockets)))
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


def main(arguments: Sequence[str] | None = None) -> None:
    began = time.monotonic()
    options = build_parser().parse_args(arguments)
    logging.basicConfig(level=options.verbose, format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
                        datefmt="%H:%M:%S")
    from web.waiting_room import WaitingRoom

    sockets = bind(options)
    room = WaitingRoom(sockets)
    room.start()
    with asyncio.Runner(loop_factory=loop_factory(options.loop)) as runner:
        runner.run(serve(options, sockets, room, began))
    import threading

    if threading.active_count() > 1:  # a node that cannot be stopped: its thread would crash in the interpreter's end
        _leave_at_once()


def _leave_at_once() -> None:
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


if __name__ == "__main__":
    # Packs import `server`: that has to be this module, not a second copy of it.
    import server

    server.main()
