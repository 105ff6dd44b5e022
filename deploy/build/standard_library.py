"""Compile the modules of the standard library that services import: `standard_library.py LAYER`.

The complete library would take 10 MB, most of it never imported by a service.
"""

import importlib.util
import py_compile
import sys
from pathlib import Path
from types import ModuleType

# Modules imported by the services and their libraries; their own imports are included. A module missing in
# this list is compiled at each start, which tests/drills/images detects.
_IMPORTED = (
    "argparse asyncio asyncio.unix_events base64 calendar code codeop concurrent.futures.thread "
    "configparser contextvars ctypes dataclasses datetime decimal email.generator email.header "
    "email.iterators email.message email.parser email.policy encodings.ascii encodings.idna "
    "encodings.latin_1 encodings.raw_unicode_escape encodings.unicode_escape encodings.utf_8 "
    "getpass gettext glob gzip hashlib hmac html http.client http.cookiejar http.cookies http.server "
    "importlib.metadata._adapters "
    "importlib.metadata._text importlib.readers importlib.resources._adapters importlib.resources.readers "
    "ipaddress json logging.config logging.handlers mimetypes multiprocessing.connection "
    "multiprocessing.util numbers pathlib pdb pickle platform pprint queue quopri random rlcompleter "
    "runpy secrets selectors shlex shutil signal site socketserver sqlite3 ssl stringprep subprocess "
    "sysconfig tempfile textwrap timeit tomllib typing urllib.request uuid wsgiref.simple_server zipfile "
    "zoneinfo"
)


def main(layer: Path) -> None:
    """Compile the modules into the layer, at their path in the image."""
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


def _source(module: ModuleType) -> Path | None:
    file = getattr(module, "__file__", None)
    is_ours = module.__name__ == "__main__"
    return Path(file) if file and file.endswith(".py") and not is_ours else None


if __name__ == "__main__":
    main(Path(sys.argv[1]))
