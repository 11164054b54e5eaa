"""Names of the things the engine tells apart. All opaque: nothing may be read out of them."""

from typing import NewType

PromptId = NewType("PromptId", str)
NodeId = NewType("NodeId", str)
ClientId = NewType("ClientId", str)
CallId = NewType("CallId", int)
