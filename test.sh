#!/usr/bin/env bash
# Runs every test of the workspace: unit, integration, compile-time and documentation tests. Installs the
# servers that they start, if they are missing and it may; else says which packages to install.
set -euo pipefail
cd "$(dirname "$0")"

.ci/servers

if cargo nextest --version >/dev/null 2>&1; then
    cargo nextest run --workspace --all-features --no-fail-fast
    # nextest does not run documentation tests.
    cargo test --workspace --all-features --doc
else
    cargo test --workspace --all-features --no-fail-fast
fi
