"""Litestar's router is recognized by its compiled code, which is all that an image contains."""

import py_compile
from importlib.machinery import SourcelessFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path

import starkeel_asgi._compat as compat
from litestar._asgi import asgi_router


def test_the_router_in_use_is_known_with_and_without_its_source(tmp_path: Path) -> None:
    source = tmp_path / "router.py"
    source.write_text(
        Path(asgi_router.__file__)
        .read_text(encoding="utf-8")
        .replace("self._app_except", "self._other_except"),
        encoding="utf-8",
    )
    compiled = tmp_path / "changed.pyc"
    py_compile.compile(str(source), cfile=str(compiled), doraise=True)
    py_compile.compile(asgi_router.__file__, cfile=str(tmp_path / "same.pyc"), doraise=True)
    source.unlink()

    assert compat._code_digest(asgi_router.ASGIRouter.__call__) in compat._KNOWN_ROUTERS
    for name, is_known in (("same", True), ("changed", False)):
        loader = SourcelessFileLoader(name, str(tmp_path / f"{name}.pyc"))
        spec = spec_from_loader(name, loader)
        assert spec is not None
        router = module_from_spec(spec)
        loader.exec_module(router)
        digest = compat._code_digest(router.ASGIRouter.__call__)
        assert (digest in compat._KNOWN_ROUTERS) is is_known
