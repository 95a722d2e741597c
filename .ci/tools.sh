#!/usr/bin/env bash
# Installs the programs that HTTP-lite is tested with, where that can be done unasked: as root, by apt-get. Called by .ci/run
# only. What cannot be had is named, and its tests are skipped; the status is 0 whatever happens.
set -u
export DEBIAN_FRONTEND=noninteractive PATH="$PATH:/usr/sbin:/sbin"
TOOLS=(curl:curl ab:apache2-utils h2load:nghttp2-client wrk:wrk haproxy:haproxy nginx:nginx chromium:chromium)  # PROGRAM:PACKAGE
UPDATE_SECONDS=60 DOWNLOAD_SECONDS=120 POLICY=/usr/sbin/policy-rc.d

missing=()
for tool in "${TOOLS[@]}"; do
    command -v "${tool%:*}" >/dev/null || missing+=("$tool")
done
[ "${#missing[@]}" -gt 0 ] && [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null || exit 0

# Nobody asked for a web server on port 80: 101 is "do not start it" (invoke-rc.d(8)).
if [ ! -e "$POLICY" ]; then
    trap 'rm -f "$POLICY"' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$POLICY" && chmod +x "$POLICY"
fi

apt() { timeout "$1" apt-get -qq -o DPkg::Lock::Timeout=30 "${@:2}" </dev/null >/dev/null 2>&1; }

apt "$UPDATE_SECONDS" update
for tool in "${missing[@]}"; do
    # The download alone may take too long: dpkg is not to be stopped in the middle of its work.
    wanted=(install --yes --no-install-recommends "${tool#*:}")
    apt "$DOWNLOAD_SECONDS" "${wanted[@]}" --download-only && apt 0 "${wanted[@]}" --no-download
    command -v "${tool%:*}" >/dev/null || echo "${tool%:*} cannot be installed; its tests are skipped"
done
exit 0
