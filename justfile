set positional-arguments

[private]
default:
    @just --list --unsorted

# Run every service, restarted on code changes (just dev 4000 9190: other ports; --postgres --redis: servers)
[group('run')]
dev *args:
    @uv sync --quiet --frozen
    @exec .venv/bin/python -m tools.dev "$@"

# Run the curl tour against the running services and print each exchange
[group('run')]
tour *args:
    @uv run --quiet --frozen python -m tools.tour "$@"

# Show the slowest and failed requests of the last minute as waterfalls (just traces --limit 10 --trace ID)
[group('run')]
traces *args:
    @uv run --quiet --frozen python -m tools.traces "$@"

# Show what this machine has and lacks for each command, and how to install it
[group('run')]
doctor:
    @uv run --quiet --frozen python -m tools.doctor

# Print a service's effective settings and their sources, without secrets
[group('run')]
config service:
    @uv run --quiet --frozen python -m tools.service "$1" config

# Apply a service's migrations
[group('database')]
migrate service:
    @uv run --quiet --frozen python -m tools.service "$1" migrate

# Generate a migration from changes of a service's models (just revision orders "add a note")
[group('database')]
revision service message:
    @uv run --quiet --frozen python -m tools.service "$1" revision "$2"

# Back up a service's embedded database to a file, also while it runs (just backup orders orders-copy.db)
[group('database')]
backup service file:
    @uv run --quiet --frozen python -m tools.service "$1" backup "$2"

# Restore such a backup; the service must be stopped, and the replaced database is kept
[group('database')]
restore service file:
    @uv run --quiet --frozen python -m tools.service "$1" restore "$2"

# Run all tests, or those of a path (just test packages/db -k commit)
[group('quality')]
test *args:
    @uv run --frozen pytest --numprocesses auto --dist loadfile "$@"

# Run failure tests under load and print their figures (just drill lifecycle --count 10)
[group('quality')]
drill *args:
    @uv run --quiet --frozen python -m tools.drill "$@"

# Compare with other stacks, or print the cost of a part: just bench telemetry (database, startup, limits, compression)
[group('quality')]
bench name *args:
    @name="$1"; shift; uv run --quiet --frozen python -m "benchmarks.$name.run" "$@"

# Run every check but the tests: format, lint, types, layers, dead code, words, generated files
[group('quality')]
check:
    uv lock --check
    uv run --frozen ruff format --check .
    uv run --frozen ruff check .
    uv run --frozen mypy --strict packages/*/src services/*/src tools
    uv run --frozen lint-imports
    uv run --frozen vulture
    uv run --frozen python -m tools.checks.module_length
    uv run --frozen python -m tools.checks.words
    uv run --frozen python -m tools.generate --check
    uv run --frozen python -m tools.checks.api_compatibility
    uv run --frozen python -m tools.tour --check

# Check for plain technical words in names, comments, messages and documentation (just words packages/db docs)
[private]
words *paths:
    @uv run --quiet --frozen python -m tools.checks.words "$@"

# Format the code and apply the linter's safe fixes
[group('quality')]
fmt:
    uv run --frozen ruff check --fix .
    uv run --frozen ruff format .

# Write docs/configuration.md and .env.example from the settings
[group('generate')]
reference:
    uv run --frozen python -m tools.generate reference

# Write every service's OpenAPI document, docs/openapi/NAME.json, and docs/errors.md
[group('generate')]
openapi:
    uv run --frozen python -m tools.generate openapi

# Write the typed clients of other services from docs/openapi, as declared in services/*/pyproject.toml
[group('generate')]
clients:
    uv run --frozen python -m tools.generate clients

# Make the current OpenAPI documents the released ones, with which later changes are compared
[group('generate')]
release-openapi:
    uv run --frozen python -m tools.checks.api_compatibility --release

# Write Grafana's dashboards and the PrometheusRule of the alerts
[group('generate')]
dashboards:
    uv run --frozen python -m tools.generate dashboards

# Write what the registry of services decides in compose, proxy, monitoring and workflows (docs/fleet.md)
[group('generate')]
fleet:
    uv run --frozen python -m tools.generate fleet

# Remove development databases, logs, caches and builds
[group('generate')]
clean:
    rm -rf .data dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
    find packages services tests tools benchmarks -name __pycache__ -prune -exec rm -rf {} +

# Docker Compose's command and file; another command by COMPOSE="podman compose" just up
compose := env("COMPOSE", "docker compose") + " --file deploy/compose.yaml"

# Build every service's image
[group('images')]
images:
    {{ compose }} build

# Start everything in containers, built from this tree (just up prod: HTTPS, images by VERSION)
[group('images')]
up profile="dev":
    @uv run --quiet --frozen python deploy/make_secrets.py deploy/secrets
    {{ compose }} --profile "$1" up --detach --wait {{ if profile == "dev" { "--build" } else { "--no-build" } }}

# Stop the containers and keep their data (just down dev --volumes: remove it, too)
[group('images')]
down profile="dev" *args:
    {{ compose }} --profile "$1" down {{ args }}

# Follow the output of the containers (just logs orders)
[group('images')]
logs *args:
    {{ compose }} --profile dev --profile prod logs --follow "$@"

# List the containers and their state
[group('images')]
ps:
    {{ compose }} --profile dev --profile prod ps

# Run the first steps of the tour through the proxy (just smoke https://api.example.com)
[group('images')]
smoke url="http://127.0.0.1:8080":
    @bash deploy/smoke.sh "$1"

# Replace a service's containers one at a time without failing a request
[group('images')]
roll service profile="dev":
    @uv run --quiet --frozen python deploy/roll.py "$1" --profile "$2" --compose "${COMPOSE:-docker compose}"
