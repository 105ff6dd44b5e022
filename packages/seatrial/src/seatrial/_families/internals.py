"""Detection of internals in responses."""

import re

_PATTERNS = {
    "a traceback": re.compile(
        r"Traceback \(most recent call last\)|^\s+at [\w.$<>]+ ?\(.+:\d+(?::\d+)?\)|File \"[^\"]+\", line \d+"
        r"|goroutine \d+ \[|\bat [\w.$]+\([\w]+\.java:\d+\)|^#\d+ "
        r"/\S+\.php\(\d+\)|/node_modules/|node:internal/",
        re.MULTILINE,
    ),
    "a path of the file system": re.compile(
        r"(?<![\w/])(?:/(?:usr|home|app|srv|opt|var|root|tmp)/[\w.-]+/[\w./-]+|[A-Z]:\\\\?[\w\\.-]+\\)"
    ),
    "SQL": re.compile(
        r"\b(?:SELECT\s+.{1,200}\s+FROM|INSERT\s+INTO\s+\w+\s*\(|UPDATE\s+\w+\s+SET|DELETE\s+FROM\s+\w)\b"
        r"|syntax error at or near|SQLSTATE|ORA-\d{5}|psycopg|asyncpg\.|sqlalchemy\.exc|near \"\w*\": "
        r"syntax error",
        re.DOTALL,
    ),
    "a connection URL": re.compile(
        r"\b(?:postgres(?:ql)?|mysql|redis|rediss|amqps?|mongodb)(?:\+\w+)?://\S+"
    ),
    "a private address": re.compile(
        r"(?<![\d.])(?:10(?:\.\d{1,3}){3}|192\.168(?:\.\d{1,3}){2}|172\.(?:1[6-9]|2\d|3[01])(?:\.\d{1,3}){2})(?![\d.])"
    ),
    "the name and version of a library": re.compile(
        r"\b(?:nginx|Apache|openresty|uvicorn|gunicorn|granian|hypercorn|Werkzeug|Django|Flask|FastAPI|Litestar"
        r"|Starlette|Express|Fastify|Node\.js|CPython|Python|PHP|Jetty|Tomcat|PostgreSQL|Redis|MySQL)"
        r"[/ ]v?\d+\.\d+",
        re.IGNORECASE,
    ),
    "the name of an exception of a library": re.compile(
        r"\b(?:[a-z_]+\.)+[A-Z]\w*(?:Error|Exception)\b|\bjava\.\w+\.[\w.]*Exception\b|\bECONNREFUSED\b"
    ),
}


def find_internals(text: str) -> str:
    """Return what a text discloses, with the excerpt, or an empty text."""
    for name, pattern in _PATTERNS.items():
        if match := pattern.search(text):
            return f"{name}: {match[0][:80]!r}"
    return ""
