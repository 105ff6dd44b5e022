#!/bin/bash
# Create the missing database and role of each service, and set the role's password: databases.sh FOLDER
#
# FOLDER has a file NAME-database-password for each service, from deploy/make_secrets.py or another source.
# The server is that of PGHOST, PGPORT, PGUSER, PGPASSWORD (or PGPASSWORD_FILE) and PGSSLMODE; the user needs
# CREATEDB and CREATEROLE. It can be repeated: what exists is kept, also a database that has no file any more.
set -euo pipefail
folder=${1:?databases.sh FOLDER: a folder with the files NAME-database-password}
if [ -n "${PGPASSWORD_FILE:-}" ]; then
  PGPASSWORD=$(cat "$PGPASSWORD_FILE")
  export PGPASSWORD
fi
shopt -s nullglob
files=("$folder"/*-database-password)
if [ ${#files[@]} -eq 0 ]; then
  echo "$folder has no file NAME-database-password: create them, for instance by deploy/make_secrets.py" >&2
  exit 66
fi
for file in "${files[@]}"; do
  service=$(basename "$file" -database-password)
  # The password is read by psql: arguments are visible in the process list.
  export SERVICE="$service" PASSWORD_FILE="$file"
  psql --no-psqlrc --quiet --tuples-only --no-align --set ON_ERROR_STOP=1 --dbname postgres <<'SQL'
\getenv service SERVICE
\set password `cat "$PASSWORD_FILE"`
-- Runs at the same time take turns.
SELECT pg_advisory_lock(hashtext('databases.sh')) \g /dev/null
SELECT NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'service') AS lacks_role,
       NOT EXISTS (SELECT FROM pg_database WHERE datname = :'service') AS lacks_database,
       NOT (SELECT rolsuper FROM pg_roles WHERE rolname = current_user) AS is_limited \gset
\if :lacks_role
  CREATE ROLE :"service" LOGIN;
  \echo created role :service
\endif
ALTER ROLE :"service" LOGIN PASSWORD :'password';
\if :lacks_database
  \if :is_limited
    -- Only a member of a role may create a database that the role owns.
    GRANT :"service" TO CURRENT_USER;
  \endif
  CREATE DATABASE :"service" OWNER :"service";
  \echo created database :service
\endif
REVOKE ALL ON DATABASE :"service" FROM PUBLIC;
SQL
done
