"""One pipelined connection to Redis that follows its primary.

Names are imported on first use: the main process of a service checks settings without importing the client.
"""

from typing import TYPE_CHECKING

from starkeel_config import lazy_exports

if TYPE_CHECKING:
    from ._client import RedisClient
    from ._failures import RedisFailure
    from ._url import check_redis_url
else:
    __getattr__, __dir__ = lazy_exports(
        __name__,
        {
            "_client": ["RedisClient"],
            "_failures": ["RedisFailure"],
            "_url": ["check_redis_url"],
        },
    )

__all__ = ["RedisClient", "RedisFailure", "check_redis_url"]
