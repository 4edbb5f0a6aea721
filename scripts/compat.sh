#!/bin/sh
# Run the tests on the newer dependency family: Debian 13 with Python 3.13, in a root of its own under .compat.
# Arguments go to pytest. Mounts live in a namespace of their own and are gone when it ends, however it ends.
set -eu
cd "$(dirname "$0")/.."
root=$PWD/.compat/trixie

fail() {
    echo "compat: $1" >&2
    exit 1
}
[ "$(id -u)" = 0 ] || fail "making a Debian root takes the rights of root: sudo make test-compat"
for tool in debootstrap unshare flock tar git; do
    command -v "$tool" >/dev/null || fail "no $tool: apt-get install debootstrap util-linux tar git"
done

mkdir -p .compat
exec 9>.compat/lock
flock --nonblock 9 || fail "another run is under way in this folder: wait for it"
if [ ! -d "$root" ]; then
    echo "compat: making a Debian 13 root in .compat (once, a minute)"
    rm -rf "$root.partial"
    debootstrap --variant=minbase --include=ca-certificates,curl,g++,git,make,python3,python3-dev,python3-venv \
        trixie "$root.partial" ${DEBIAN_MIRROR:+"$DEBIAN_MIRROR"} >.compat/debootstrap.log 2>&1 ||
        fail "debootstrap failed: see .compat/debootstrap.log (DEBIAN_MIRROR names another mirror)"
    mv "$root.partial" "$root"
fi

# The root reaches the package index as this machine does: names, certificates and pip's settings.
for file in /etc/resolv.conf /etc/hosts /etc/pip.conf /etc/ssl/certs/ca-certificates.crt; do
    [ ! -f "$file" ] || cp -L "$file" "$root$file"
done
[ ! -f "$HOME/.config/pip/pip.conf" ] || install -D "$HOME/.config/pip/pip.conf" "$root/root/.config/pip/pip.conf"

# The working tree, without what git ignores; the environment made there by an earlier run stays.
mkdir -p "$root/src"
find "$root/src" -mindepth 1 -maxdepth 1 ! -name .venv -exec rm -rf {} +
git -c safe.directory="$PWD" ls-files -z --cached --others --exclude-standard |
    tar --create --null --files-from=- --ignore-failed-read 2>/dev/null | tar --extract --directory="$root/src"

# A process namespace of its own as well: what a test leaves running ends with it.
exec unshare --mount --pid --fork --kill-child sh -euc '
    root=$1
    shift
    mount --rbind /dev "$root/dev"
    mount -t proc proc "$root/proc"
    mount -t tmpfs tmpfs "$root/tmp"
    unset VIRTUAL_ENV PYTHON PYTHONPATH PYENV_VERSION
    exec chroot "$root" /usr/bin/env HOME=/root LC_ALL=C.UTF-8 PATH=/usr/local/bin:/usr/bin:/usr/sbin:/bin:/sbin \
        sh -euc "cd /src && make torch && exec .venv/bin/python -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder tests \"\$@\"" sh "$@"
' sh "$root" "$@"
