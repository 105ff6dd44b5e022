"""Decompression of layers and archives in a stream, with a limit for the result."""

import sys
import zlib
from hashlib import sha256
from typing import BinaryIO, Final, Protocol

if sys.version_info >= (3, 14):
    from compression.zstd import DecompressionParameter, ZstdDecompressor, ZstdError
else:
    from backports.zstd import DecompressionParameter, ZstdDecompressor, ZstdError

from .errors import ImageError

_CHUNK: Final = 1 << 18
_ZSTD_WINDOW_LOG: Final = 26
"""Memory of a decoder is at most 2^26 bytes; RFC 8878 recommends to support 2^23."""
_GZIP = b"\x1f\x8b"
_ZSTD = b"\x28\xb5\x2f\xfd"


class _Decoder(Protocol):
    """One frame of compressed data."""

    @property
    def eof(self) -> bool:
        """Whether the frame is complete."""
        ...

    def feed(self, data: bytes, size: int) -> bytes:
        """Return at most `size` bytes, and keep the input that is left over."""
        ...

    def rest(self) -> bytes:
        """Return the input after the frame."""
        ...


class _Gzip:
    def __init__(self) -> None:
        self._decoder = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    def feed(self, data: bytes, size: int) -> bytes:
        return self._decoder.decompress(self._decoder.unconsumed_tail + data, size)

    def rest(self) -> bytes:
        return self._decoder.unused_data


class _Zstd:
    def __init__(self) -> None:
        self._decoder = ZstdDecompressor(options={DecompressionParameter.window_log_max: _ZSTD_WINDOW_LOG})

    @property
    def eof(self) -> bool:
        return self._decoder.eof

    def feed(self, data: bytes, size: int) -> bytes:
        return self._decoder.decompress(data, size)

    def rest(self) -> bytes:
        return self._decoder.unused_data


class Decompressed:
    """Uncompressed bytes of a file that is gzip, zstd or neither, with their number and digest.

    Args:
        file: Positioned at the start of the data.
        name: Name of the data for messages.
        limit: Largest number of uncompressed bytes.
    """

    def __init__(self, file: BinaryIO, *, name: str, limit: int) -> None:
        self._file = file
        self._name = name
        self._limit = limit
        self._head = file.read(len(_ZSTD))
        self._make: type[_Gzip | _Zstd] | None = (
            _Gzip if self._head.startswith(_GZIP) else _Zstd if self._head == _ZSTD else None
        )
        self._decoder: _Decoder | None = self._make() if self._make else None
        self._digest = sha256()
        self.is_compressed = self._make is not None
        self.size = 0

    @property
    def digest(self) -> str:
        """Digest of what has been read, as `sha256:HEX`."""
        return f"sha256:{self._digest.hexdigest()}"

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes, and none at the end.

        Raises:
            ImageError: The data is damaged or larger than the limit.
        """
        try:
            data = self._decompress(size) if self._make else self._raw(size)
        except (zlib.error, ZstdError) as error:
            raise ImageError(f"{self._name} cannot be decompressed: {error}") from error
        self._digest.update(data)
        self.size += len(data)
        if self.size > self._limit:
            raise ImageError(f"{self._name} has more than {self._limit} bytes, the limit of the reader")
        return data

    def drain(self) -> None:
        """Read to the end, so that the number of bytes and the digest are those of everything."""
        while self.read(_CHUNK):
            pass

    def _raw(self, size: int) -> bytes:
        head, self._head = self._head[:size], self._head[size:]
        return head or self._file.read(size)

    def _decompress(self, size: int) -> bytes:
        data = b""
        while self._decoder is not None and not data:
            data = self._decoder.feed(self._head, size)
            self._head = b""
            if self._decoder.eof:
                self._decoder = self._next_frame(self._decoder.rest())
            elif not data:
                self._head = self._file.read(_CHUNK)
                if not self._head:
                    raise ImageError(f"{self._name} is cut off: its compressed data does not end")
        return data

    def _next_frame(self, rest: bytes) -> _Decoder | None:
        """Return the decoder of the next frame, if there is one: parallel compressors write several."""
        assert self._make is not None
        self._head = rest or self._file.read(_CHUNK)
        if self._make is _Gzip:
            # gzip(1) ignores zeros after the last member, with which tapes are padded.
            self._head = self._head.lstrip(b"\0")
        return self._make() if self._head else None
