"""The list of packs on the page: what failed and why, and loading one anew by a click."""

import asyncio
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.browser import open_page, running_chromium
from tests.support.studio import running_studio

PACKS = Path(__file__).resolve().parents[1] / "packs"
ITEMS = "[...document.querySelectorAll('#pack-items > li')]"
PICTURE_FILE = "STUDIO_PACKS_PICTURE"
"""The environment variable that names a file for a picture of the list."""


@pytest.fixture(scope="module")
def chromium() -> Iterator[str]:
    with running_chromium() as address:
        yield address


async def test_packs_that_failed_come_first_with_the_reason_and_can_be_loaded_anew(chromium: str,
                                                                                  tmp_path: Path) -> None:
    for name in ("routed_pack", "broken_pack"):
        shutil.copytree(PACKS / name, tmp_path / "custom_nodes" / name, ignore=shutil.ignore_patterns("__pycache__"))
    broken = tmp_path / "custom_nodes" / "broken_pack" / "__init__.py"
    async with running_studio(base_directory=tmp_path) as studio, open_page(chromium) as page:
        await page.go(studio.url)
        await page.until(f"{ITEMS}.length === 2")
        assert await page.evaluate(f"{ITEMS}.map((one) => one.dataset.state)") == ["failed", "loaded"]
        assert await page.texts(".pack-name") == ["broken_pack", "routed_pack"]
        assert await page.text("#packs-summary") == "1 of 2 failed"
        said = await page.text("#pack-items > li:first-child")
        assert "Not loaded: it cannot import name 'a_name_that_nobody_offers'" in said
        assert "comfy.utils.a_name_that_nobody_offers" in said
        assert "1 node" in await page.text("#pack-items > li:last-child")
        if os.environ.get(PICTURE_FILE):
            await page.evaluate("document.querySelector('#pack-items details').open = true;"
                                "document.getElementById('packs').scrollIntoView()")
            await asyncio.to_thread(Path(os.environ[PICTURE_FILE]).write_bytes, await page.screenshot())

        await page.click("#pack-items > li:first-child button")
        await page.until("document.getElementById('announcer').textContent.startsWith('The pack broken_pack')")
        await page.until(f"{ITEMS}[0].dataset.state === 'failed' && !{ITEMS}[0].querySelector('button').disabled")

        await asyncio.to_thread(broken.write_text, "NODE_CLASS_MAPPINGS = {}")
        await page.click("#pack-items > li:first-child button")
        await page.until(f"{ITEMS}.length === 2 && {ITEMS}.every((one) => one.dataset.state === 'loaded')")
        assert await page.text("#packs-summary") == "2 loaded"
        assert await page.text("#announcer") == "broken_pack is loaded."


async def test_without_packs_there_is_no_list(chromium: str) -> None:
    async with running_studio() as studio, open_page(chromium) as page:
        await page.go(studio.url)
        await page.until("document.getElementById('connection').dataset.state === 'connected'")
        assert await page.evaluate("document.getElementById('packs').hidden")
