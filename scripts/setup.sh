#!/bin/sh
# For a machine without Rust: installs it, then hands over to `cargo xtask setup`,
# which knows the rest. `scripts/setup.sh --yes` installs without asking.
set -eu
cd "$(dirname "$0")/.."
if ! command -v cargo >/dev/null 2>&1 && [ -f "$HOME/.cargo/env" ]; then
    . "$HOME/.cargo/env"
fi
if ! command -v cargo >/dev/null 2>&1; then
    echo "installing Rust with rustup (https://rustup.rs)" >&2
    installer=$(mktemp)
    trap 'rm -f "$installer"' EXIT
    curl --proto '=https' --tlsv1.2 -fsSL -o "$installer" https://sh.rustup.rs
    sh "$installer" -y --profile minimal
    rm -f "$installer"
    trap - EXIT
    . "$HOME/.cargo/env"
fi
exec cargo xtask setup "$@"
