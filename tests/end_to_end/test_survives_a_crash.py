"""The demo that a person can run: what it says, step by step."""

import asyncio
import sys
from pathlib import Path

DEMO = Path(__file__).resolve().parents[2] / "examples" / "survives_a_crash" / "run.py"


async def test_the_demo_kills_a_server_and_nothing_is_lost() -> None:
    process = await asyncio.create_subprocess_exec(sys.executable, str(DEMO), stdout=asyncio.subprocess.PIPE,
                                                   stderr=asyncio.subprocess.STDOUT)
    try:
        said = (await process.communicate())[0].decode()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, said
    lines = said.splitlines()
    killed = next(number for number, line in enumerate(lines) if line.startswith("Killed"))
    assert lines[killed - 3:killed] == ["  harbour: runs, node 2", "  forest: runs, node 2", "  desert: runs, node 1"]
    assert lines[killed + 2:killed + 4] == ["  history: Meadow", "  queue: 1 running, 2 waiting"]
    ended = lines.index("All have ended:")
    assert lines[ended + 1:ended + 3] == [
        f"  {name}: completed at attempt 2, mixed once, painted twice" for name in ("harbour", "forest")]
    assert lines[ended + 3] == "  desert: completed at attempt 2, mixed twice, painted once"
    assert lines[-1] == "Nothing was lost, and what was mixed before the crash was not mixed again."
