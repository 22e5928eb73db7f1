#!/bin/bash
# Installs, starts, upgrades, removes and purges the package in a Debian 12 root of its own: a copy of
# IJEPAD_DEB_ROOT (a root that has the package's dependencies), else one made by debootstrap. Needs root;
# skips with a reason where something is missing. Nothing runs outside namespaces of its own.
set -euo pipefail
cd "$(dirname "$0")/../.."

skip() { echo "skipped: $*"; exit 0; }
[ "$(id -u)" -eq 0 ] || skip "needs root for chroot"
for tool in dpkg-buildpackage dpkg-deb dh unshare chroot; do
    command -v "$tool" >/dev/null || skip "$tool is not installed"
done
unshare --mount --pid --fork --net true 2>/dev/null || skip "no namespaces here"
[ -n "${IJEPAD_DEB_INSIDE:-}" ] || IJEPAD_DEB_INSIDE=1 exec unshare --mount --propagation private -- "$0"

work=$(mktemp -d)
root=$work/root
trap 'umount -q "$root" "$work/layer" 2>/dev/null; rm -rf --one-file-system "$work"' EXIT
step() { echo "--- $*"; }
fail() { echo "FAILED: $*" >&2; exit 1; }
in_root() { # COMMAND... in the root, with a /proc and a (cut off) network of its own
    unshare --mount --pid --fork --net -- bash -c \
        'mount -t proc proc "$0/proc" && exec chroot "$0" "$@"' "$root" "$@"
}
states() { dpkg-query --admindir="$root/var/lib/dpkg" -W -f '${db:Status-Abbrev}' ijepad 2>/dev/null || true; }

step "the package"
${MAKE:-make} deb >"$work/build.log" 2>&1 || { tail -20 "$work/build.log"; fail "make deb"; }
deb=$(ls -t build/deb/ijepad_*_amd64.deb | head -1)
version=$(dpkg-deb -f "$deb" Version)
if command -v lintian >/dev/null; then
    lintian --fail-on error "$deb" 2>&1 | grep -v '^running with root' || true
fi

step "a Debian root"
if [ -n "${IJEPAD_DEB_ROOT:-}" ]; then
    mkdir -p "$root" "$work/layer"
    mount -t tmpfs layer "$work/layer" && mkdir "$work/layer/upper" "$work/layer/work"
    mount -t overlay root -o "lowerdir=$IJEPAD_DEB_ROOT,upperdir=$work/layer/upper,workdir=$work/layer/work" "$root" 2>/dev/null ||
        { rmdir "$root" && cp -a --one-file-system "$IJEPAD_DEB_ROOT" "$root"; }
else
    command -v debootstrap >/dev/null || skip "debootstrap is not installed, and IJEPAD_DEB_ROOT is not set"
    depends=$(dpkg-deb -f "$deb" Depends | sed 's/([^)]*)//g; s/|[^,]*//g; s/ //g')
    debootstrap --variant=minbase --include="$depends,curl" bookworm "$root" >"$work/bootstrap.log" 2>&1 ||
        skip "debootstrap cannot make a root here: $(tail -1 "$work/bootstrap.log")"
fi
cp "$deb" "$root/first.deb"

step "install"
in_root env DEBIAN_FRONTEND=noninteractive dpkg -i /first.deb >"$work/install.log" 2>&1 ||
    { cat "$work/install.log"; fail "dpkg -i"; }
[ "$(states)" = "ii " ] || fail "not installed: $(states)"
grep -q '^ijepad:' "$root/etc/passwd" || fail "no user ijepad"
grep -q '^ijepad-admin:' "$root/etc/group" || fail "no group ijepad-admin"
in_root stat -c '%U:%G %a' /var/lib/ijepad | grep -qx 'ijepad:ijepad 750' || fail "the state directory's owner"
in_root stat -c '%U:%G %a' /etc/ijepad/ijepad.conf | grep -qx 'root:ijepad 640' || fail "the configuration's owner"
for unit in multi-user.target.wants/ijepad.service sockets.target.wants/ijepad.socket \
    sockets.target.wants/ijepad-http.socket sockets.target.wants/ijepad-webhook.socket; do
    [ -L "$root/etc/systemd/system/$unit" ] || fail "not enabled: $unit"
done
in_root runuser -u ijepad -- ijepad --check-config || fail "ijepad --check-config"
[ -f "$root/usr/share/man/man8/ijepad.8.gz" ] || fail "no manual page"

step "a wrong configuration is told with its line"
cp -a "$root/etc/ijepad/ijepad.conf" "$work/original.conf"
echo 'slotz = 3' >>"$root/etc/ijepad/ijepad.conf"
line=$(wc -l <"$root/etc/ijepad/ijepad.conf")
code=0
said=$(in_root ijepad --check-config 2>&1) || code=$?
[ "$code" -eq 78 ] || fail "exit $code instead of 78"
case "$said" in *"/etc/ijepad/ijepad.conf:$line: "*slots*) ;; *) fail "unclear: $said" ;; esac

step "start by hand, with an edited configuration"
{ cat "$work/original.conf"; echo '# edited by the administrator'; echo 'listen = off'; } >"$root/etc/ijepad/ijepad.conf"
cat >"$root/start.sh" <<'IN'
set -eu
setpriv --reuid ijepad --regid ijepad --init-groups /usr/bin/ijepad --config /etc/ijepad/ijepad.conf 2>/tmp/ijepad.log &
daemon=$!
for _ in $(seq 600); do
    curl -sf --unix-socket /var/lib/ijepad/ijepad.sock http://localhost/readyz && break
    kill -0 $daemon 2>/dev/null || { cat /tmp/ijepad.log; exit 1; }
    sleep 0.1
done
curl -sf --unix-socket /var/lib/ijepad/ijepad.sock http://localhost/v1/session | grep -q '"role":"admin"'
kill -TERM $daemon
wait $daemon
IN
in_root sh /start.sh || { cat "$root/tmp/ijepad.log" || true; fail "start by hand"; }
echo
[ -s "$root/var/lib/ijepad/state.db" ] || fail "no database"

repack() { # VERSION [SED for the configuration] -> the same package under another version
    rm -rf "$work/repack"
    dpkg-deb -R "$deb" "$work/repack"
    sed -i "s/^Version: .*/Version: $1/" "$work/repack/DEBIAN/control"
    [ -z "${2:-}" ] || sed -i "$2" "$work/repack/etc/ijepad/ijepad.conf"
    dpkg-deb --root-owner-group -b "$work/repack" "$root/next.deb" >/dev/null
}

step "upgrade: an edited configuration stays"
repack "$version+1"
in_root env DEBIAN_FRONTEND=noninteractive dpkg -i /next.deb </dev/null >"$work/upgrade.log" 2>&1 ||
    { cat "$work/upgrade.log"; fail "upgrade"; }
grep -q '^# edited by the administrator' "$root/etc/ijepad/ijepad.conf" || fail "the configuration was overwritten"
grep -q "deb-systemd-invoke.*restart\|_dh_action=restart" "$root/var/lib/dpkg/info/ijepad.postinst" || fail "an upgrade does not restart"
[ -s "$root/var/lib/ijepad/state.db" ] || fail "the upgrade lost the database"

step "upgrade: a new default is put beside it"
repack "$version+2" 's/^slots = 1/slots = 2/'
in_root env DEBIAN_FRONTEND=noninteractive dpkg --force-confold -i /next.deb </dev/null >"$work/upgrade.log" 2>&1 ||
    { cat "$work/upgrade.log"; fail "second upgrade"; }
grep -q '^# edited by the administrator' "$root/etc/ijepad/ijepad.conf" || fail "the configuration was overwritten"
grep -q '^slots = 2' "$root/etc/ijepad/ijepad.conf.dpkg-dist" || fail "no ijepad.conf.dpkg-dist"
in_root sh /start.sh || fail "start after the upgrade"
echo

step "remove: data and configuration stay"
in_root dpkg -r ijepad >/dev/null 2>&1 || fail "remove"
[ "$(states)" = "rc " ] || fail "state after removal: $(states)"
[ ! -e "$root/usr/bin/ijepad" ] || fail "the program is still there"
[ -s "$root/var/lib/ijepad/state.db" ] || fail "removal deleted the database"
[ -f "$root/etc/ijepad/ijepad.conf" ] || fail "removal deleted the configuration"

step "purge: everything goes"
in_root dpkg -P ijepad >/dev/null 2>&1 || fail "purge"
[ -z "$(states | tr -d 'un ')" ] || fail "state after the purge: $(states)"
[ ! -e "$root/var/lib/ijepad" ] || fail "the purge left the state directory"
[ ! -e "$root/etc/ijepad/ijepad.conf" ] || fail "the purge left the configuration"
[ -z "$(find "$root/etc/systemd/system" -name 'ijepad*' 2>/dev/null)" ] || fail "the purge left units enabled"

echo "passed: install, start, two upgrades, remove, purge of ijepad $version"
