#!/bin/sh
# As upstream's: templates are filled in and scripts are run, then nginx
# becomes process 1.
set -e
case "${1-}" in
nginx | nginx-debug)
  if [ -d /etc/nginx/templates ]; then
    names=$(env | sed -n 's/^\([A-Za-z_][A-Za-z0-9_]*\)=.*/${\1}/p')
    for file in /etc/nginx/templates/*.template; do
      [ -f "$file" ] || continue
      out=/etc/nginx/conf.d/$(basename "$file" .template)
      envsubst "$names" <"$file" >"$out"
    done
  fi
  for file in /docker-entrypoint.d/*.sh; do
    [ -x "$file" ] || continue
    "$file" >&2
  done
  ;;
esac
exec "$@"
