# Shell functions shared by the scripts: messages, finding PostgreSQL, the user that servers run as.
# shellcheck shell=bash

# The oldest major version that pg_keep supports.
OLDEST_MAJOR=15

die() {
	printf '%s: %s\n' "${0##*/}" "$*" >&2
	exit 1
}

is_root() {
	[ "$(id -u)" = 0 ]
}

# Does this pg_config belong to a PostgreSQL with a server and the files to build for it?
usable_pg_config() {
	local bindir version
	command -v "$1" >/dev/null || return 1
	bindir=$("$1" --bindir) || return 1
	version=$("$1" --version)
	version=${version#PostgreSQL }
	[ "${version%%[!0-9]*}" -ge "$OLDEST_MAJOR" ] || return 1
	[ -x "$bindir/postgres" ] && [ -x "$bindir/initdb" ] && [ -x "$bindir/psql" ] &&
		[ -f "$("$1" --pgxs)" ]
}

# Prints the pg_config to use: the one asked for by $PG_CONFIG, else the one in the PATH, else the
# newest of Debian's. Prints nothing where there is none.
find_pg_config() {
	local candidate
	if [ "${PG_CONFIG:-pg_config}" != pg_config ]; then
		if usable_pg_config "$PG_CONFIG"; then
			realpath -s "$(command -v "$PG_CONFIG")"
		fi
		return 0
	fi
	for candidate in pg_config $(printf '%s\n' /usr/lib/postgresql/*/bin/pg_config | sort -Vr); do
		if usable_pg_config "$candidate"; then
			command -v "$candidate"
			return 0
		fi
	done
}

# The user that builds and runs servers where the caller is root.
server_user() {
	if getent passwd postgres >/dev/null; then
		echo postgres
	else
		echo nobody
	fi
}

# Runs a command, as another user where the caller is root. PostgreSQL refuses to run as root.
as_server_user() {
	local user
	if is_root; then
		user=$(server_user)
		setpriv --reuid="$user" --regid="$(id -g "$user")" --init-groups -- "$@"
	else
		"$@"
	fi
}
