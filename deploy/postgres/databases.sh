#!/bin/bash
# Run once, when PostgreSQL makes its files: a database for each service, that its own role alone may use.
set -euo pipefail
for service in accounts orders; do
  # By standard input: an argument could be seen in the list of processes.
  psql --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<SQL
CREATE ROLE $service LOGIN PASSWORD '$(cat "/run/secrets/$service-database-password")';
CREATE DATABASE $service OWNER $service;
REVOKE ALL ON DATABASE $service FROM PUBLIC;
SQL
done
