# Shell functions that set up another Debian in a temporary directory and run commands in it. Shared
# by the scripts that test pg_keep elsewhere than here, which have read scripts/lib.sh before. All that they make and start ends with the script.
# shellcheck shell=bash
#
# $DEBIAN_MIRROR names the mirror, $DEBIAN_CACHE a directory that keeps the packages from run to run.

DEBIAN_MIRROR=${DEBIAN_MIRROR:-http://deb.debian.org/debian}
debian_root=
debian_child=
debian_log=

# skip WHY: ends the script with status 3
skip() {
	echo "skipped: $*"
	exit 3
}

debian_finish() {
	local status=$?
	trap - EXIT
	trap '' INT TERM HUP
	if [ -n "$debian_child" ]; then
		kill -KILL "$debian_child" 2>/dev/null || true		# and with it all processes inside
		wait "$debian_child" 2>/dev/null || true
	fi
	[ -z "$debian_root" ] || rm -rf --one-file-system "$debian_root"
	[ -z "$debian_log" ] || rm -f "$debian_log"
	exit $status
}

# new_root SUITE PACKAGE,...: sets up a minimal Debian with these packages; sets $debian_root
new_root() {
	local suite=$1 include=$2 cache=
	is_root || skip 'this needs root'
	trap debian_finish EXIT
	trap 'exit 143' INT TERM HUP
	debian_log=$(mktemp)
	if ! command -v debootstrap >/dev/null; then
		{ apt-get -q update || true
			apt-get -q -y install --no-install-recommends --no-upgrade debootstrap debian-archive-keyring
		} >"$debian_log" 2>&1 || { cat "$debian_log"; skip 'debootstrap cannot be installed'; }
	fi
	debian_root=$(mktemp -d /tmp/pg_keep_root.XXXXXX)
	chmod 755 "$debian_root"
	if [ -n "${DEBIAN_CACHE:-}" ]; then
		cache=$(realpath -m "$DEBIAN_CACHE")/$suite
		mkdir -p "$cache/partial"
	fi
	echo "Setting up Debian $suite"
	debootstrap --variant=minbase --include="$include" ${cache:+--cache-dir="$cache"} \
		"$suite" "$debian_root" "$DEBIAN_MIRROR" >"$debian_log" 2>&1 ||
		{ tail -n 20 "$debian_log"; skip "Debian $suite cannot be set up"; }
	if [ -n "$cache" ]; then
		mkdir -p "$debian_root/var/cache/apt/archives"
		rm -f "$debian_root/etc/apt/apt.conf.d/docker-clean"
		debian_cache=$cache
	fi
	inside true || skip 'no namespaces for mounts and processes here'
}

# inside [--offline] COMMAND...: runs a command in the other Debian, with --offline in a network of
# its own that has nothing but itself. Its mounts and processes end with it.
inside() {
	local status=0 net=
	if [ "$1" = --offline ]; then
		net=--net
		shift
	fi
	# shellcheck disable=SC2016  # for the inner shell
	env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 HOME=/root DEBIAN_FRONTEND=noninteractive \
		CI="${CI:-}" COPT="${COPT:-}" STRESS_SCALE="${STRESS_SCALE:-1}" STRESS_SEED="${STRESS_SEED:-}" UPGRADE_WAYS="${UPGRADE_WAYS:-}" \
		CACHE="${debian_cache:-}" \
		unshare --mount --pid --fork --kill-child ${net:+"$net"} bash -c '
			set -e
			mount -t proc proc "$0/proc"
			mount --rbind /dev "$0/dev"
			[ -z "$CACHE" ] || mount --bind "$CACHE" "$0/var/cache/apt/archives"
			unset CACHE
			exec chroot "$0" "$@"
		' "$debian_root" "$@" </dev/null &
	debian_child=$!
	wait "$debian_child" || status=$?
	debian_child=
	return $status
}

# copy_sources DIRECTORY: copies this source tree, without what was built, to a directory in there
copy_sources() {
	mkdir -p "$debian_root$1"
	archive_sources | tar -xf - --no-same-owner -C "$debian_root$1"
}
