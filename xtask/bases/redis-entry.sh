#!/bin/sh
# As upstream's entry point: options and a configuration file are for
# redis-server, which does not run as root and answers other containers.
set -e
case "${1-}" in
-* | *.conf) set -- redis-server "$@" ;;
esac
if [ "${1-}" = redis-server ]; then
  if [ "$(id -u)" = 0 ]; then
    chown -R redis:redis /data 2>/dev/null || true
    exec setpriv --reuid=redis --regid=redis --init-groups "$0" "$@"
  fi
  shift
  # Debian's build is guarded where upstream's is not; a file comes first.
  file=
  case "${1-}" in *.conf) file=$1; shift ;; esac
  set -- redis-server ${file:+"$file"} --protected-mode no "$@"
fi
exec "$@"
