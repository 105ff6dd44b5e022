"""The quick start of the README, run as written."""

import re
from pathlib import Path

from starkeel_testing import running

README = Path(__file__).parents[2] / "README.md"


def test_the_quick_start_of_the_readme_serves_its_endpoint(tmp_path: Path) -> None:
    files = re.findall(r"(?ms)^```python\n# (\w+\.py)\n(.*?)^```$", README.read_text("utf-8"))
    assert [name for name, _ in files] == ["api.py", "hello.py"]
    for name, content in files:
        (tmp_path / name).write_text(content, encoding="utf-8")

    with running("hello", {"PYTHONPATH": str(tmp_path)}) as service:
        response = service.client.get("/hello/Ada")

        assert (response.status_code, response.json()) == (200, {"message": "Hello, Ada!"})
        assert response.headers["RateLimit-Policy"] == '"greetings";q=60;w=60'
        logged = service.wait_for_log("greeting sent", name="Ada")
        assert logged["request_id"] == response.headers["X-Request-ID"]
        assert service.metric("greetings_total") == 1
