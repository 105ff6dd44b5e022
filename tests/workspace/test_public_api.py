"""The snapshots of the packages' public names, and the check for breaking changes in both directions."""

import subprocess
import sys
from pathlib import Path

import pytest

from tools.checks.public_api import breaking_changes
from tools.generate.public_api import files
from tools.registry import ROOT

FIRST = "class shop.Cart()\ndef shop.Cart.add(item: str) -> None\n"


@pytest.mark.parametrize(
    ("old", "new", "problem", "problem_backwards"),
    [
        ("def shop.f() -> int", "def shop.f() -> str", None, None),
        ("def shop.f()", "def shop.g()", "shop.f: is removed", "shop.g: is removed"),
        ("def shop.f()", "async def shop.f()", "shop.f: is now `async def`, not `def`", ...),
        ("def shop.f()", "class shop.f()", "shop.f: is now `class`, not `def`", ...),
        ("field shop.C.x: int", "property shop.C.x: int", None, None),
        ("def shop.f(a, b=1)", "def shop.f(a)", "parameter `b` is removed, or no longer accepted by", None),
        ("def shop.f(a)", "def shop.f(a, b)", "parameter `b` is new and required", ...),
        ("def shop.f(a=1)", "def shop.f(a)", "parameter `a` no longer has a default", None),
        ("def shop.f(a, b)", "def shop.f(b, a)", "parameter 1 is `b`, not `a`", ...),
        ("def shop.f(a)", "def shop.f(*, a)", "no longer accepted by position", None),
        ("def shop.f(a)", "def shop.f(a, /)", "no longer accepted by name", None),
        ("def shop.f(a, /)", "def shop.f(b, /)", None, None),
        ("def shop.f(*, a=1)", "def shop.f(*, b=1)", "parameter `a` is removed", ...),
        ("def shop.f(*, a=1)", "def shop.f(**options)", None, "`**options` is removed"),
        ("def shop.f(a)", "def shop.f(*values)", "parameter `a` is removed, or no longer accepted by n", ...),
        ("class shop.E(shop.Base)", "class shop.E(Exception)", "no longer inherits from shop.Base", ...),
        ("class shop.E(_Base)", "class shop.E()", None, None),
        ("class shop.S(Struct)\nfield shop.S.a: int = 1", "class shop.S(Struct)\nfield shop.S.a: int",
         "shop.S.a: no longer has a default", None),
        ("class shop.S(Settings, frozen=True)", "class shop.S(Settings, frozen=True)\nfield shop.S.a: int",
         "shop.S.a: is a new field without a default", "shop.S.a: is removed"),
        ("class shop.S(Struct)", "class shop.S(Struct)\nfield shop.S.a: int = 1", None, ...),
        ("class shop.P(Protocol)", "class shop.P(Protocol)\ndef shop.P.f()", "is new in a protocol", ...),
        (FIRST, "deprecated shop.Cart = shop.Basket\nclass shop.Basket()", None, ...),
        ("deprecated shop.Cart = shop.Basket", "", "shop.Cart: is removed", None),
    ],
)  # fmt: skip
def test_a_change_is_breaking_in_one_direction_both_or_none(
    old: str, new: str, problem: str | None, problem_backwards: str | None
) -> None:
    """Compare two snapshots; `...` stands for a problem that the opposite direction has as well."""
    assert_problem(old, new, problem)
    if problem_backwards is ...:
        assert [*breaking_changes(new, old)] != []
    else:
        assert_problem(new, old, problem_backwards)


def assert_problem(old: str, new: str, problem: str | None) -> None:
    found = [f"{change.path}: {change.problem}" for change in breaking_changes(old, new)]
    if problem is None:
        assert found == []
    else:
        assert any(problem in each for each in found), found


def test_a_removed_class_is_one_change() -> None:
    assert [change.path for change in breaking_changes(FIRST, "")] == ["shop.Cart"]


def check(root: Path, *options: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "tools.checks.public_api", "--root", str(root), *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)
    return done.returncode, done.stderr


def test_a_breaking_change_needs_a_fragment_that_names_it(tmp_path: Path) -> None:
    package = tmp_path / "packages/shop"
    package.mkdir(parents=True)
    (package / "api.txt").write_text(FIRST)
    assert check(tmp_path) == (0, "")  # never released: nothing depends on it
    assert check(tmp_path, "--release") == (0, "")
    assert (package / "api.released.txt").read_text() == FIRST

    (package / "api.txt").write_text("class shop.Cart()\n")
    status, message = check(tmp_path)
    assert status == 1
    assert (
        "packages/shop/api.txt: shop.Cart.add: is removed: keep it, or write changes/NAME.breaking.md"
        in message
    )

    fragment = tmp_path / "changes/cart.breaking.md"
    fragment.parent.mkdir()
    fragment.write_text("`shop.Cart` lost a method.\n")
    assert check(tmp_path, "--release")[0] == 1
    assert (package / "api.released.txt").read_text() == FIRST

    fragment.write_text("`shop.Cart.add` is removed: use `shop.Basket.add`.\n")
    assert check(tmp_path) == (0, "")


SOURCE = """
from dataclasses import dataclass
from starkeel_config import lazy_exports
if TYPE_CHECKING:
    from ._cart import Cart, Line, total, LIMIT
else:
    __getattr__, __dir__ = lazy_exports(__name__, {}, renamed={"Basket": "Cart"})
__all__ = ["Cart", "Line", "LIMIT", "total"]
"""
CART = """
from dataclasses import dataclass
class _Base:
    def inherited(self, by: int = 1, *, name: "str | None" = None) -> None: ...
    def _private(self) -> None: ...
class Cart(_Base):
    def __init__(self, /, size: int) -> None:
        self.size = size
        self._lines = []
    def __repr__(self) -> str: ...
    @property
    def lines(self) -> "list[Line]": ...
    @classmethod
    def parse(cls, text: str, *values: int, **options: str) -> "Cart": ...
@dataclass
class Line:
    name: str
    price: float = 0.0
async def total(cart: Cart, /, at: str) -> float: ...
LIMIT: int = 3
HIDDEN = 1
"""


def test_a_snapshot_has_every_public_name_with_its_parameters(tmp_path: Path) -> None:
    package = tmp_path / "packages/shop/src/shop"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(SOURCE)
    (package / "_cart.py").write_text(CART)
    (package / "fixtures.py").write_text(
        "import pytest\n@pytest.fixture\ndef shop_url(): ...\ndef helper(): ...\n"
    )

    ((path, text),) = files(tmp_path).items()

    assert path == tmp_path / "packages/shop/api.txt"
    assert text is not None
    assert text.splitlines()[1:] == [
        "class shop.Cart(_Base)",
        "def shop.Cart.inherited(by: int = 1, *, name: str | None = None) -> None",
        "def shop.Cart.__init__(size: int) -> None",
        "field shop.Cart.size",
        "property shop.Cart.lines: list[Line]",
        "classmethod def shop.Cart.parse(text: str, *values: int, **options: str) -> Cart",
        "field shop.LIMIT: int",
        "dataclass shop.Line()",
        "field shop.Line.name: str",
        "field shop.Line.price: float = 0.0",
        "def shop.Line.__init__(name: str, price: float = 0.0) -> None",
        "async def shop.total(cart: Cart, /, at: str) -> float",
        "fixture shop.fixtures.shop_url",
        "deprecated shop.Basket = shop.Cart",
    ]
