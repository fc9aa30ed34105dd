#!/bin/sh
# As upstream's entry point, for tests: the same variables, the same files in
# docker-entrypoint-initdb.d, and nothing is ever flushed to disk.
set -eu
case "${1-}" in
-*) set -- postgres "$@" ;;
postgres) ;;
*) exec "$@" ;;
esac
if [ "$(id -u)" = 0 ]; then
  mkdir -p "$PGDATA" && chmod 0700 "$PGDATA" && chown -R postgres:postgres "$PGDATA"
  chown postgres:postgres /run/postgresql 2>/dev/null || true
  exec setpriv --reuid=postgres --regid=postgres --init-groups "$0" "$@"
fi
quick="-c fsync=off -c full_page_writes=off -c synchronous_commit=off"
if [ ! -s "$PGDATA/PG_VERSION" ]; then
  user=${POSTGRES_USER:-postgres} base=${POSTGRES_DB:-${POSTGRES_USER:-postgres}}
  method=${POSTGRES_HOST_AUTH_METHOD:-scram-sha-256}
  if [ -n "${POSTGRES_PASSWORD_FILE-}" ]; then POSTGRES_PASSWORD=$(cat "$POSTGRES_PASSWORD_FILE"); fi
  if [ -z "${POSTGRES_PASSWORD-}" ] && [ "$method" != trust ]; then
    echo "Error: Database is uninitialized and superuser password is not specified." >&2
    echo "       Set POSTGRES_PASSWORD, or POSTGRES_HOST_AUTH_METHOD=trust for a test." >&2
    exit 1
  fi
  mkdir -p "$PGDATA" && chmod 0700 "$PGDATA"
  secret=
  if [ -n "${POSTGRES_PASSWORD-}" ]; then
    # With a read-only root only the folder of the socket may be writable.
    secret=$(mktemp /run/postgresql/pw.XXXXXX 2>/dev/null || mktemp)
    printf '%s\n' "$POSTGRES_PASSWORD" >"$secret"
  fi
  initdb --username="$user" --encoding=UTF8 --auth-local=trust --auth-host=trust --no-sync \
    ${secret:+--pwfile="$secret"} ${POSTGRES_INITDB_ARGS-} >/dev/null
  rm -f "$secret"
  echo "host all all all $method" >>"$PGDATA/pg_hba.conf"
  if [ "$base" != postgres ]; then
    printf 'CREATE DATABASE "%s"\n' "$base" | postgres --single -j -F postgres >/dev/null
  fi
  found=$(find /docker-entrypoint-initdb.d -type f 2>/dev/null | sort)
  if [ -n "$found" ]; then
    # shellcheck disable=SC2086
    pg_ctl -D "$PGDATA" -w -s -o "-c listen_addresses='' $quick" start
    export PGUSER="$user" PGDATABASE="$base" PGHOST=/run/postgresql
    for file in $found; do
      echo "$0: running $file" >&2
      case "$file" in
      *.sh) if [ -x "$file" ]; then "$file"; else . "$file"; fi ;;
      *.sql) psql -q -v ON_ERROR_STOP=1 --no-password -f "$file" ;;
      *.sql.gz) gunzip -c "$file" | psql -q -v ON_ERROR_STOP=1 --no-password ;;
      esac
    done
    pg_ctl -D "$PGDATA" -w -s -m fast stop
  fi
fi
shift
# shellcheck disable=SC2086
exec postgres -c listen_addresses='*' $quick "$@"
