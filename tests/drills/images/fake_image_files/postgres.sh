#!/bin/bash
# The part of the public image's entrypoint that the tests and the compose file use.
set -eu
if [ ! -f "$PGDATA/PG_VERSION" ]; then
  password=${POSTGRES_PASSWORD:-$(cat "${POSTGRES_PASSWORD_FILE:?}")}
  file=$(mktemp)
  printf '%s' "$password" > "$file"
  initdb -D "$PGDATA" -U "${POSTGRES_USER:-postgres}" --pwfile="$file" -A scram-sha-256 >/dev/null
  rm -f "$file"
  echo "host all all all scram-sha-256" >> "$PGDATA/pg_hba.conf"
  pg_ctl -D "$PGDATA" -w -o '-c listen_addresses=' start >/dev/null
  export PGPASSWORD=$password PGUSER=${POSTGRES_USER:-postgres}
  psql -qd postgres -c "CREATE DATABASE ${POSTGRES_DB:-$PGUSER}" || true
  for script in /docker-entrypoint-initdb.d/*.sql; do
    [ ! -f "$script" ] || psql -qd "${POSTGRES_DB:-$PGUSER}" -f "$script"
  done
  for script in /docker-entrypoint-initdb.d/*.sh; do
    [ ! -f "$script" ] || bash "$script"
  done
  pg_ctl -D "$PGDATA" -w stop >/dev/null
fi
exec "$@" -c listen_addresses='*'
