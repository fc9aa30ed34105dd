#!/bin/sh
# As upstream's: options and what is no program are for node.
set -e
if [ "${1#-}" != "${1-}" ] || [ -z "$(command -v "${1-}")" ] || { [ -f "${1-}" ] && ! [ -x "${1-}" ]; }; then
  set -- node "$@"
fi
exec "$@"
