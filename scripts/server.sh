# Starts and stops a throw-away server that has pg_keep. Used inside of scripts/sandbox.
# shellcheck shell=bash

# Sockets live in a directory of their own, so that the number is free in any case.
SERVER_PORT=65432

# server_start DIR [name=value...]: creates a server in the new directory DIR and starts it. Sets PGHOST and so on.
server_start() {
	local dir=$1 setting
	shift
	mkdir -m 700 "$dir" "$dir/socket"
	"$PGKEEP_BIN/initdb" -D "$dir/data" -U postgres -A trust -E UTF8 --locale=C.UTF-8 --no-sync \
		>"$dir/initdb.log" 2>&1 || { cat "$dir/initdb.log" >&2; return 1; }
	{
		echo "listen_addresses = ''"
		echo "unix_socket_directories = '$dir/socket'"
		echo "port = $SERVER_PORT"
		echo "fsync = off"
		echo "log_line_prefix = '%m [%p] %e '"		# with the SQLSTATE, for scripts/check-log
		for setting in "$@"; do
			echo "${setting%%=*} = '${setting#*=}'"
		done
	} >>"$dir/data/postgresql.conf"
	"$PGKEEP_BIN/pg_ctl" -D "$dir/data" -l "$dir/server.log" -w -s start ||
		{ cat "$dir/server.log" >&2; return 1; }
	export PGHOST=$dir/socket PGPORT=$SERVER_PORT PGUSER=postgres PGDATABASE=postgres PGKEEP_DATA=$dir/data
}

# server_stop DIR: stops the server that server_start created there, if it runs.
server_stop() {
	[ -f "$1/data/postmaster.pid" ] || return 0
	"$PGKEEP_BIN/pg_ctl" -D "$1/data" -w -s -m fast -t 30 stop ||
		"$PGKEEP_BIN/pg_ctl" -D "$1/data" -w -s -m immediate stop
}
