"""A request's body, waited for so long and no longer."""

import asyncio
import time
from typing import Any

from litestar.exceptions import HTTPException
from litestar.types import Receive

_TOO_LATE = "The body did not arrive within {:g} seconds."


class Body:
    """Receives a body; Granian itself would wait for the rest of it for ever.

    Args:
        receive: The server's.
        timeout_s: Seconds that a client may keep the application waiting, all in all.
    """

    __slots__ = ("_is_over", "_left_s", "_receive", "_timeout_s", "is_late")

    def __init__(self, receive: Receive, timeout_s: float) -> None:
        self._receive = receive
        self._timeout_s = self._left_s = timeout_s
        self._is_over = False
        self.is_late = False

    async def receive(self) -> Any:
        """As the server's own.

        Raises:
            HTTPException: With 408, when the time is over; it is rendered as any other problem is.
        """
        if self._is_over:
            return await self._receive()
        began = time.monotonic()
        try:
            async with asyncio.timeout(self._left_s):
                message: Any = await self._receive()
        except TimeoutError:
            self.is_late = True
            # Whoever asks again waits no second time.
            self._left_s = 0.0
            raise HTTPException(_TOO_LATE.format(self._timeout_s), status_code=408) from None
        self._left_s -= time.monotonic() - began
        self._is_over = message["type"] != "http.request" or not message.get("more_body", False)
        return message
