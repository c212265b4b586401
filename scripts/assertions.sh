# Where the PostgreSQL that is built with assertions is kept. Shared by the scripts that build and use it.
# shellcheck shell=bash

# $PGKEEP_ASSERTIONS names the directory; it is worth keeping, as building takes minutes.
assertions_dir() {
	echo "${PGKEEP_ASSERTIONS:-/var/tmp/pg_keep_assertions}"
}

# Prints its pg_config, or nothing where it is not built.
find_assertions() {
	local pg_config
	pg_config=$(assertions_dir)/bin/pg_config
	if [ -x "$pg_config" ]; then
		echo "$pg_config"
	fi
}
