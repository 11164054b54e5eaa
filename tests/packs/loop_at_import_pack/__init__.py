"""A pack that uses the running loop while it is imported: a task, a queue, and a client that is closed again."""

import asyncio

LOOP = asyncio.get_running_loop()
HEARD = asyncio.Queue()


async def _listen():
    await HEARD.put("listening")


TASK = LOOP.create_task(_listen())


class WhatWasHeard:
    RETURN_TYPES = ()
    FUNCTION = "tell"
    OUTPUT_NODE = True

    @classmethod
    def INPUT_TYPES(cls):
        return {"required": {}}

    async def tell(self):
        await TASK
        words = await HEARD.get()
        await HEARD.put(words)
        return {"ui": {"text": [words, str(asyncio.get_running_loop() is LOOP)]}}


NODE_CLASS_MAPPINGS = {"WhatWasHeard": WhatWasHeard}
