"""A process that handles events until it is stopped; run with the URLs of its database and its broker."""

import asyncio
import signal
import sys

from packages.messaging.tests.messaging_shop import shop


async def main(url: str, broker: str, grace_s: float) -> None:
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGTERM, stopped.set)
    async with shop(url, broker) as running:
        sys.stdout.write("running\n")
        sys.stdout.flush()
        await stopped.wait()
        ends_at = loop.time() + grace_s

        def remaining_s() -> float:
            return max(0.0, ends_at - loop.time())

        await running.messaging.drain(remaining_s)
        await running.jobs.drain(remaining_s)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
