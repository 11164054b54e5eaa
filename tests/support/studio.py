"""A whole server in this process, on real sockets."""

import contextlib
import socket
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import server


@dataclass
class RunningStudio:
    url: str
    base_directory: Path
    studio: server.Studio

    @property
    def engine(self) -> Any:
        return self.studio.engine


@contextlib.asynccontextmanager
async def running_studio(packs: Sequence[Path] = (), **settings: Any) -> AsyncIterator[RunningStudio]:
    """Serve on a free port until left.

    :param packs: folders of packs to load.
    :param settings: start options by their names in Python, `max_running_prompts=1`, say.
    """
    with TemporaryDirectory() as folder:
        base = Path(settings.pop("base_directory", folder))
        (base / "custom_nodes").mkdir(parents=True, exist_ok=True)
        for pack in packs:
            (base / "custom_nodes" / pack.name).symlink_to(pack.resolve())
        options = server.build_parser().parse_args(["--base-directory", str(base)])
        for name, value in settings.items():
            if not hasattr(options, name):
                raise TypeError(f"there is no start option {name!r}")
            setattr(options, name, value)
        listening = socket.create_server(("127.0.0.1", 0), backlog=1024)
        listening.setblocking(False)
        async with server.open_studio(options, [listening]) as studio:
            yield RunningStudio(server.urls_of([listening])[0], base, studio)
