"""Compiles what services import of the standard library: `standard_library.py LAYER`.

The whole of it would be 10 MB, most of it for debuggers, mail and games.
"""

import importlib.util
import py_compile
import sys
from pathlib import Path
from types import ModuleType

# What is imported by the services and their libraries; what these import comes with them. A module that is
# missing here is compiled at each start: drills/images finds it.
_IMPORTED = (
    "argparse asyncio asyncio.unix_events base64 calendar code codeop concurrent.futures.thread "
    "configparser contextvars ctypes dataclasses datetime decimal email.header email.iterators "
    "email.message email.parser encodings.ascii encodings.idna encodings.latin_1 "
    "encodings.raw_unicode_escape encodings.unicode_escape encodings.utf_8 getpass gettext glob gzip "
    "hashlib hmac html http.client http.cookiejar http.cookies http.server importlib.metadata._adapters "
    "importlib.metadata._text importlib.readers importlib.resources._adapters importlib.resources.readers "
    "ipaddress json logging.config logging.handlers mimetypes multiprocessing.connection "
    "multiprocessing.util numbers pathlib pdb pickle platform pprint queue quopri random rlcompleter "
    "runpy secrets selectors shlex shutil signal site socketserver sqlite3 ssl stringprep subprocess "
    "sysconfig tempfile textwrap timeit tomllib typing urllib.request uuid wsgiref.simple_server zipfile "
    "zoneinfo"
)


def main(layer: Path) -> int:
    """Compile the modules into the layer, below the path that they have in the image; the exit code."""
    for name in _IMPORTED.split():
        importlib.import_module(name)
    for module in list(sys.modules.values()):
        source = _source(module)
        if source is not None:
            compiled = Path(importlib.util.cache_from_source(str(source)))
            py_compile.compile(
                str(source),
                cfile=str(layer / compiled.relative_to("/")),
                dfile=str(source),
                doraise=True,
                invalidation_mode=py_compile.PycInvalidationMode.CHECKED_HASH,
            )
    return 0


def _source(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    is_ours = module.__name__ == "__main__"
    return Path(file) if file and file.endswith(".py") and not is_ours else None


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
