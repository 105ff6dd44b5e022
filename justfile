set positional-arguments
# What fails has reported why.
set no-exit-message

[private]
default:
    @just --list --unsorted

# Run every service, restarted on code changes (just dev 4000: other ports; --postgres --redis: servers; --no-dashboard)
[group('run')]
dev *args:
    @uv sync --quiet --frozen --check 2>/dev/null || uv sync --frozen
    @exec .venv/bin/python -m tools.dev "$@"

# Run the curl tour against the running services and print each exchange
[group('run')]
tour *args:
    @uv run --quiet --frozen python -m tools.tour "$@"

# Show the slowest and failed requests as waterfalls (just traces --limit 10 --trace ID)
[group('run')]
traces *args:
    @uv run --quiet --frozen python -m tools.traces "$@"

# Show log lines of just dev, or follow those of containers (just logs orders --level error --follow)
[group('run')]
logs *args:
    @uv run --quiet --frozen python -m tools.logs "$@"

# Show the state, rate, errors and latency of the running services
[group('run')]
status *args:
    @uv run --quiet --frozen python -m tools.status "$@"

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

# Generate a migration from changes of a service's models (just revision orders "add a note"; --empty: for data)
[group('database')]
revision service message *options:
    @name="$1"; shift; uv run --quiet --frozen python -m tools.service "$name" revision "$@"
    @uv run --quiet --frozen ruff format --quiet "services/$1/src/$1/migrations"

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
    @uv run --frozen python -m tools.test "$@"

# Run failure tests under load and print their figures (just drill lifecycle --count 10)
[group('quality')]
drill *args:
    @uv run --quiet --frozen python -m tools.drill "$@"

# Compare with other stacks, or print the cost of a part: just bench telemetry (dashboard, database, seatrial and more)
[group('quality')]
bench *args:
    @uv run --quiet --frozen python -m tools.bench "$@"

# Judge services, manifests and images by seatrial's checklist (just trial --drill --image orders=orders.tar)
[group('quality')]
trial *args:
    @uv run --quiet --frozen python -m tools.trial "$@"

# Run every check but the tests, side by side: format, lint, types, layers, words and more (just check lint types)
[group('quality')]
check *args:
    @uv run --quiet --frozen python -m tools.check "$@"

# Check for plain technical words in names, comments, messages and documentation (just words packages/db docs)
[private]
words *paths:
    @uv run --quiet --frozen python -m tools.checks.words "$@"

# Format the code and apply the linter's safe fixes
[group('quality')]
fmt:
    uv run --frozen ruff format .
    uv run --frozen ruff check --fix .
    uv run --frozen ruff format .

# Write docs/configuration.md, .env.example and docs/reference from the source
[group('generate')]
reference *args:
    @uv run --quiet --frozen python -m tools.generate reference "$@"

# Write every service's OpenAPI and AsyncAPI document, docs/openapi and docs/asyncapi, and docs/errors.md
[group('generate')]
openapi *args:
    @uv run --quiet --frozen python -m tools.generate openapi "$@"

# Write the typed clients of other services from docs/openapi, as declared in services/*/pyproject.toml
[group('generate')]
clients *args:
    @uv run --quiet --frozen python -m tools.generate clients "$@"

# Write what may be imported from each package, packages/NAME/api.txt
[group('generate')]
api *args:
    @uv run --quiet --frozen python -m tools.generate api "$@"

# Build the documentation site with all links checked (just docs serve; just docs screenshots)
[group('generate')]
docs *args:
    @uv run --quiet --frozen --isolated --only-group docs python -m tools.site "$@"

# Make the current OpenAPI and AsyncAPI documents the released ones, with which later changes are compared
[group('generate')]
release-openapi:
    @uv run --quiet --frozen python -m tools.checks.api_compatibility --release

# Write Grafana's dashboards and the PrometheusRule of the alerts
[group('generate')]
dashboards *args:
    @uv run --quiet --frozen python -m tools.generate dashboards "$@"

# Write what follows from the registry of services: compose, proxy, Kubernetes and more (docs/fleet.md; --force)
[group('generate')]
fleet *args:
    @uv run --quiet --frozen python -m tools.generate fleet "$@"

# Remove a service with all that is generated for it; its development data is kept (just remove-service orders)
[group('generate')]
remove-service *args:
    @.venv/bin/python -m tools.remove_service "$@"

# Build the wheels that examples/ install, and lock the examples (just examples --wheels: build only)
[group('generate')]
examples *args:
    @uv run --quiet --frozen python -m tools.examples "$@"

# Write the diffs of docs/adopt.md and the settings of packages/*/README.md
[group('generate')]
guides *args:
    @uv run --quiet --frozen python -m tools.generate guides "$@"

# Write the tables of verdicts in README.md and docs/checklist.md from the results of `just trial --write`
[group('generate')]
checklist *args:
    @uv run --quiet --frozen python -m tools.generate checklist "$@"

# Make a service from the template (just new-service inventory --needs database,redis --calls accounts)
[group('generate')]
new-service *args:
    @uv run --quiet --frozen python -m tools.new_service "$@"

# Merge later versions of the template into the services made from it (--check: list them)
[group('generate')]
update-services *args:
    @uv run --quiet --frozen python -m tools.update_services "$@"

# Write the metadata of the packages for an index: licence, classifiers, links ([tool.starkeel-release])
[group('generate')]
metadata *args:
    @uv run --quiet --frozen python -m tools.generate metadata "$@"

# Rename packages, images, metrics and documentation after your company (just rename-workspace NAME)
[group('generate')]
rename-workspace name:
    @uv run --quiet --frozen python -m tools.rename "$1"

# Remove caches and builds (just clean --data: databases, keys and logs of development, too)
[group('generate')]
clean *args:
    @uv run --quiet --frozen python -m tools.clean "$@"

# Make the commit and the tag of a version from changes/, without pushing them (just release 0.2.0 --dry-run)
[group('release')]
release *args:
    @uv run --quiet --frozen python -m tools.release "$@"

# Docker Compose's command and file; another command by COMPOSE="podman compose" just up
composer := env("COMPOSE", "docker compose")
compose := composer + " --file deploy/compose.yaml"

[private]
needs-compose:
    @{{ composer }} version >/dev/null 2>&1 || { echo "this needs \`{{ composer }}\`, which does not run here: see uv run just doctor" >&2; exit 69; }

# Build every service's image
[group('images')]
images: needs-compose
    {{ compose }} build

# Start everything in containers, built from this tree (just up prod: HTTPS, images by VERSION)
[group('images')]
[arg("profile", pattern="dev|prod")]
up profile="dev": needs-compose
    @uv run --quiet --frozen python deploy/make_secrets.py deploy/secrets
    {{ compose }} --profile "$1" up --detach --wait {{ if profile == "dev" { "--build" } else { "--no-build" } }}

# Stop the containers and keep their data (just down dev --volumes: remove it, too)
[group('images')]
[arg("profile", pattern="dev|prod")]
down profile="dev" *args: needs-compose
    {{ compose }} --profile "$1" down {{ args }}

# Follow the output of the containers (just container-logs orders)
[group('images')]
container-logs *args: needs-compose
    {{ compose }} --profile dev --profile prod logs --follow "$@"

# List the containers and their state
[group('images')]
ps: needs-compose
    {{ compose }} --profile dev --profile prod ps

# Run the first steps of the tour through the proxy (just smoke https://api.example.com)
[group('images')]
smoke url="http://127.0.0.1:8080":
    @bash deploy/smoke.sh "$1"

# Replace a service's containers one at a time without failing a request
[group('images')]
[arg("profile", pattern="dev|prod")]
roll service profile="dev": needs-compose
    @uv run --quiet --frozen python deploy/roll.py "$1" --profile "$2" --compose "${COMPOSE:-docker compose}"
