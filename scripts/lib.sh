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

# Writes this source tree, without what was built, as an archive.
archive_sources() {
	tar -cf - --exclude=./.git --exclude=./.demo --exclude=./.check --exclude='*.o' --exclude='*.bc' --exclude='*.so' \
		--exclude='./sql/pg_keep--?.?.?.sql' --exclude=./results --exclude=./output_iso --exclude=./tmp_check .
}

# read_results STATUS LOG: sets $good and $bad to what the last "N passed, N failed" in the log says. A command that
# failed without a failed test, or that ran none at all, counts as one that failed.
# shellcheck disable=SC2034  # for the caller
read_results() {
	local line
	good=0
	bad=0
	line=$(grep -E '^[0-9]+ passed, [0-9]+ failed$' "$2" | tail -n 1 || true)
	if [ -n "$line" ]; then
		read -r good _ bad _ <<<"$line"
	fi
	if { [ "$1" -ne 0 ] || [ "$good" -eq 0 ]; } && [ "$bad" -eq 0 ]; then
		bad=1
	fi
}

# The lines of logs that name failed tests: of TAP, of pg_regress before and since version 16, of a file that ended early.
failed_tests() {
	grep -hE '^not ok\b|^(test|  ) .* \.\.\. (FAILED|failed)|^[^ ]+\.pl +\(Wstat: [^0].*Failed: 0\)' "$@" || true
}

# run_logged LOG COMMAND...: runs a command whose output goes to a log as well. The script can be interrupted
# meanwhile: its trap has to call end_logged.
logged_child=
run_logged() {
	local log=$1 status=0 tee
	shift
	exec 5> >(tee "$log")
	tee=$!
	"$@" >&5 2>&1 5>&- &
	logged_child=$!
	exec 5>&-
	wait "$logged_child" || status=$?
	logged_child=
	wait "$tee"
	return $status
}

end_logged() {
	trap '' INT TERM HUP
	if [ -n "$logged_child" ]; then
		kill -TERM "$logged_child" 2>/dev/null || true
		wait "$logged_child" 2>/dev/null || true
	fi
}
