"""Encoders of response bodies: gzip, zstd and Brotli."""

import sys
import zlib
from collections.abc import Callable
from importlib import import_module
from threading import local
from typing import Any, Final, Literal, Protocol

from anyio import CapacityLimiter, to_thread
from anyio.lowlevel import RunVar

Coding = Literal["zstd", "gzip", "br"]

_GZIP_LEVEL: Final = 3
_GZIP_WINDOW: Final = 31
"""A window of 32 KiB, and the format of gzip instead of zlib's."""
_ZSTD_LEVEL: Final = 1
_ZSTD_STREAM_WINDOW: Final = 18
"""A window of 256 KiB for bodies of unknown size: that of the level, 2 MiB, would be kept for each stream.
RFC 9659 allows 8 MiB."""
_BROTLI_QUALITY: Final = 4
_OFF_LOOP_BYTES: Final = 32 * 1024
"""Size from which a thread encodes a part: up to 1 ms of work, several times what a thread costs."""
_THREADS: Final = 2
"""More would compete with the event loop for processors."""
_thread: Final = local()
_limiter: Final = RunVar[CapacityLimiter]("starkeel_http.compression")


class _Stream(Protocol):
    def __call__(self, part: bytes, is_last: bool, /) -> bytes:
        """Return the encoded part with everything that the compressor holds."""


class StreamEncoder:
    """Encodes one body, large parts in a thread.

    Args:
        coding: The coding.
        size: Bytes of the whole body; `None` if it is not known.
    """

    __slots__ = ("_step",)

    def __init__(self, coding: Coding, size: int | None) -> None:
        self._step = _STREAMS[coding](size)

    async def encode(self, part: bytes, *, is_last: bool) -> bytes:
        """Return the encoded part, which the client can decode before the next one."""
        if not part and not is_last:
            return b""
        if len(part) < _OFF_LOOP_BYTES:
            return self._step(part, is_last)
        try:
            limiter = _limiter.get()
        except LookupError:
            _limiter.set(limiter := CapacityLimiter(_THREADS))
        return await to_thread.run_sync(self._step, part, is_last, abandon_on_cancel=True, limiter=limiter)


def _gzip(_: int | None) -> _Stream:
    compressor = zlib.compressobj(_GZIP_LEVEL, zlib.DEFLATED, _GZIP_WINDOW)

    def step(part: bytes, is_last: bool, /) -> bytes:
        mode = zlib.Z_FINISH if is_last else zlib.Z_SYNC_FLUSH
        return compressor.compress(part) + compressor.flush(mode)

    return step


def _zstd(size: int | None) -> _Stream:
    compressor: Any = None

    def step(part: bytes, is_last: bool, /) -> bytes:
        nonlocal compressor
        if compressor is None and is_last:
            return _zstd_whole(part)
        if compressor is None:
            compressor = _zstd_compressor(size)
        mode = compressor.FLUSH_FRAME if is_last else compressor.FLUSH_BLOCK
        encoded: bytes = compressor.compress(part, mode)
        return encoded

    return step


def _zstd_whole(body: bytes) -> bytes:
    """Return a body as one frame, by a compressor that each thread keeps: its tables cost 40 us."""
    compressor: Any = getattr(_thread, "zstd", None) or _zstd_compressor(len(body))
    # If this raises, the compressor holds a part of the body.
    _thread.zstd = None
    compressor.set_pledged_input_size(len(body))
    encoded: bytes = compressor.compress(body, compressor.FLUSH_FRAME)
    _thread.zstd = compressor
    return encoded


def _zstd_compressor(size: int | None) -> Any:
    # In the standard library since Python 3.14.
    zstd: Any = import_module("compression.zstd" if sys.version_info >= (3, 14) else "backports.zstd")
    options = {zstd.CompressionParameter.compression_level: _ZSTD_LEVEL}
    if size is None:
        options[zstd.CompressionParameter.window_log] = _ZSTD_STREAM_WINDOW
    return zstd.ZstdCompressor(options=options)


def _brotli(_: int | None) -> _Stream:
    compressor: Any = import_module("brotli").Compressor(quality=_BROTLI_QUALITY)

    def step(part: bytes, is_last: bool, /) -> bytes:
        encoded: bytes = compressor.process(part) + (compressor.finish() if is_last else compressor.flush())
        return encoded

    return step


_STREAMS: Final[dict[Coding, Callable[[int | None], _Stream]]] = {
    "br": _brotli,
    "gzip": _gzip,
    "zstd": _zstd,
}
