"""Rows about the configuration of a service."""

import re
import secrets
from functools import partial

from .._drill.drill import Drill
from .._drill.starts import FailedStart, failing_start
from .._rows.row import Category, Remedy, Row, Severity
from .._rows.verdict import Evidence, Judgement, Undecided, failed, passed

_SECRET_NAME = re.compile(r"SECRET|PASSWORD|TOKEN|API_?KEY|PRIVATE_?KEY|DATABASE_URL|_DSN$", re.IGNORECASE)
_WRONG_PORT = "not-a-port"
_SHORTEST_SECRET = 6
_TWELVE_FACTOR = "https://12factor.net/config"


def _named(start: FailedStart, cause: str, name: str) -> Judgement:
    if problem := start.problem(cause):
        return problem
    if not start.mentions(name):
        return failed(f"With {cause}, its message does not name {name}.", start.output)
    return passed(f"With {cause}, it exits with {start.exit_code} and names {name}.", start.output)


def _missing_variable(drill: Drill) -> Judgement:
    name = drill.keys.required_variable
    if not name:
        raise Undecided("Set drill.required_variable to a variable without which the service must not start.")
    return _named(failing_start(drill, without=[name]), f"{name} not set", name)


def _wrong_value(drill: Drill) -> Judgement:
    wrong = drill.keys.wrong_values or {drill.keys.port_variable: _WRONG_PORT}
    evidence = []
    for name, value in wrong.items():
        found = _named(failing_start(drill, {name: value}), f"a wrong value of {name}", name)
        if found.verdict == "fail":
            return found
        evidence += [Evidence(name, found.evidence[0].text)]
    return passed(f"Wrong values of {', '.join(wrong)} end the start, and are named.", *evidence)


def _no_secret(drill: Drill) -> Judgement:
    names = drill.keys.secret_variables or tuple(filter(_SECRET_NAME.search, drill.keys.env))
    if not names:
        raise Undecided("Set drill.secret_variables to the variables that contain a secret in seatrial.toml.")
    secret = f"seatrial-{secrets.token_hex(8)}"
    for name in names:
        # Short enough to be refused, or long enough to be accepted: what it prints is read in both cases.
        for value in (secret, f"{secret}-{'x' * 40}"):
            start = failing_start(drill, {name: value})
            if secret.encode() in start.written:
                return failed(
                    f"It prints the value of {name}.",
                    Evidence("output", start.output.text.replace(secret, "[the secret]")),
                )
    known = {
        name: drill.keys.env[name] for name in names if len(drill.keys.env.get(name, "")) >= _SHORTEST_SECRET
    }
    outputs = [*drill.outputs, drill.calm.written]
    for name, value in known.items():
        if any(value.encode() in output for output in outputs):
            return failed(f"It prints the value of {name}.")
    return passed(f"The values of {', '.join(names)} are not in the output of {len(outputs)} starts.")


_row = partial(Row[Drill], category=Category.CONFIG, command="drill", source=_TWELVE_FACTOR)
_PYDANTIC = "FastAPI/uvicorn"

ROWS = (
    _row(
        id="config-missing-variable",
        title="A missing variable is named, and ends the start",
        severity=Severity.HIGH,
        why="A service that starts without a setting fails later, in requests. "
        "A message without the name costs the search for it.",
        how="The service is started without drill.required_variable: it exits with another code than 0, "
        "names the variable, and prints no traceback.",
        fix="Read all settings at the start, and print one line for each that is missing.",
        remedies=(
            Remedy(_PYDANTIC, "Catch the ValidationError of pydantic-settings, print its fields, exit."),
        ),
        lane="beside",
        judge=_missing_variable,
    ),
    _row(
        id="config-wrong-value",
        title="A wrong value is named, and ends the start",
        severity=Severity.HIGH,
        why="A value that is ignored is noticed when its default is wrong. "
        "The name of the variable is what an operator can act on.",
        how="The service is started with each of drill.wrong_values, or with a port that is no number: it "
        "exits with another code than 0, names the variable, and prints no traceback.",
        fix="Validate all settings at the start; refuse what cannot be parsed.",
        remedies=(Remedy("Fastify", "env-schema, whose errors name the variable."),),
        lane="beside",
        judge=_wrong_value,
    ),
    _row(
        id="config-no-secret",
        title="No secret is printed",
        severity=Severity.CRITICAL,
        why="Output is collected, kept and read by many. "
        "A message that quotes a wrong password publishes most of it.",
        source="OWASP Logging Cheat Sheet: Data to exclude",
        how="The service is started with another value of each secret variable; neither these values nor the "
        "configured ones are in the output of any start.",
        fix="Keep secrets in a type whose text is masked, and leave values out of messages about them.",
        remedies=(Remedy(_PYDANTIC, "SecretStr, and hide_input_in_errors=True."),),
        lane="beside",
        judge=_no_secret,
    ),
)
