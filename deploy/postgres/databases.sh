#!/bin/bash
# Runs once, when PostgreSQL is initialized: create a database for each service, accessible only to its own role.
set -euo pipefail
for file in /run/secrets/*-database-password; do
  service=$(basename "$file" -database-password)
  # Through standard input: arguments are visible in the process list.
  psql --quiet --set ON_ERROR_STOP=1 --username "${POSTGRES_USER:-postgres}" --dbname postgres <<SQL
CREATE ROLE $service LOGIN PASSWORD '$(cat "$file")';
CREATE DATABASE $service OWNER $service;
REVOKE ALL ON DATABASE $service FROM PUBLIC;
SQL
done
