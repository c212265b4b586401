# Shell functions to find the programs that the clients' tests need. Used by scripts/bootstrap and scripts/check-clients.
# shellcheck shell=bash

# shellcheck disable=SC2034  # for the scripts
JDBC_DRIVER=/usr/share/java/postgresql.jar
NODE_MODULES=/usr/share/nodejs		# of Debian's packages

# Prints where a program is: first where every user can run it, and where Debian puts daemons.
find_program() {
	PATH=/usr/local/bin:/usr/bin:/usr/sbin:$PATH command -v "$1"
}

# Prints the Python that has psycopg2, if there is one.
find_python() {
	local candidate
	for candidate in /usr/bin/python3 python3; do
		if "$candidate" -c 'import psycopg2' 2>/dev/null; then
			command -v "$candidate"
			return 0
		fi
	done
}
