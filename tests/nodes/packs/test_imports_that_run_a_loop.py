"""Row 67 of the table of traps at a start: a pack that runs a loop of its own while it is imported fails alone."""

from pathlib import Path

from tests.nodes.packs.pack_process import in_process, write_packs

RUNS = """
import asyncio

async def nothing():
    return 1

{}
NODE_CLASS_MAPPINGS = {{}}
"""


def test_a_pack_that_runs_a_loop_at_its_import_fails_and_the_others_load(tmp_path: Path) -> None:
    base = write_packs(tmp_path / "with.dot", {
        "a_runs.py": RUNS.format(
            "coroutine = nothing()\ntry:\n    asyncio.run(coroutine)\nfinally:\n    coroutine.close()"),
        "b_asks.py": RUNS.format("TASK = asyncio.get_running_loop().create_task(nothing())"),
        "c.dotted/__init__.py": "NODE_CLASS_MAPPINGS = {}",
    })
    answer = in_process(base, """
        reports = await packs.load()
        task = packs.pack("b_asks").TASK
        return [[[one.name, one.error] for one in reports], await task, "_x_" in packs.pack("c.dotted").__name__]
    """)
    assert answer == [[["a_runs", "it raised RuntimeError: asyncio.run() cannot be called from a running event loop"],
                       ["b_asks", None], ["c.dotted", None]], 1, True]
