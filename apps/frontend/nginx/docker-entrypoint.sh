#!/bin/sh
# Writes down for nginx what only the start can tell, and becomes nginx.
#
#   GATEWAY_URL   where /api goes, as http://backend:8000; without it /api answers 503
set -eu

run=/tmp/nginx
conf_dir=$(cd -- "$(dirname -- "$0")" && pwd)

fail() {
    printf '%s\n' "docker-entrypoint.sh: GATEWAY_URL $1" >&2
    exit 2
}

# The URL as "scheme host port authority", or nothing if it is none that may stand in nginx's
# configuration: no path (the request's own is kept), no user, no character of meaning to nginx.
split_url() {
    awk 'BEGIN {
        url = ENVIRON["GATEWAY_URL"]
        host = "(\\[[0-9A-Fa-f:.]+\\]|[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?)"
        if (url !~ ("^https?://" host "(:[0-9]+)?/?$")) exit

        scheme = url ~ /^https:/ ? "https" : "http"
        authority = substr(url, length(scheme "://") + 1)
        sub("/$", "", authority)
        port = scheme == "https" ? 443 : 80
        host = authority
        if (match(host, /:[0-9]+$/)) {
            port = substr(host, RSTART + 1) + 0
            host = substr(host, 1, RSTART - 1)
        }
        if (port >= 1 && port <= 65535) print scheme, host, port, authority
    }'
}

# The address that /etc/hosts has for a name: nginx itself asks name servers alone.
hosts_address() {
    awk -v name="$1" '
        { sub(/#.*/, "") }
        $1 !~ /%/ {
            for (i = 2; i <= NF; i++) if (tolower($i) == tolower(name)) {
                print $1 ~ /:/ ? "[" $1 "]" : $1
                exit
            }
        }' /etc/hosts 2>/dev/null || :
}

# The name servers, as nginx writes their addresses.
name_servers() {
    awk '
        $1 != "nameserver" { next }
        $2 ~ /^[0-9.]+$/ { printf "%s ", $2 }
        $2 ~ /^[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*$/ { printf "[%s] ", $2 }
        ' /etc/resolv.conf 2>/dev/null || :
}

# For a gateway behind TLS: whom nginx trusts to vouch for it.
ca_bundle() {
    for file in /etc/ssl/certs/ca-certificates.crt /etc/ssl/cert.pem; do
        [ -r "$file" ] && printf '%s' "$file" && return
    done
    fail "is an https URL, but there is no bundle of CA certificates in /etc/ssl to trust"
}

settings() {
    [ -e /proc/net/if_inet6 ] && echo "listen [::]:8080 default_server;"

    if [ -z "${GATEWAY_URL:-}" ]; then
        echo 'set $gateway "";'
        echo 'set $gateway_host "";'
        return
    fi

    parts=$(split_url)
    [ -n "$parts" ] || fail "is not a URL of the form http(s)://host[:port]"
    read -r scheme host port authority <<END
$parts
END
    address=$(hosts_address "$host")
    [ "$host" != localhost ] || address=${address:-127.0.0.1}
    servers=$(name_servers)
    [ -z "$servers" ] || echo "resolver ${servers}valid=5s;"
    echo "resolver_timeout 3s;"
    echo "set \$gateway \"$scheme://${address:-$host}:$port\";"
    echo "set \$gateway_host \"$authority\";"

    if [ "$scheme" = https ]; then
        bundle=$(ca_bundle)
        echo "proxy_ssl_verify on;"
        echo "proxy_ssl_verify_depth 4;"
        echo "proxy_ssl_trusted_certificate $bundle;"
    fi
}

mkdir -p "$run"
settings >"$run/runtime.conf"
exec nginx -e stderr -c "$conf_dir/nginx.conf" -g 'daemon off;'
