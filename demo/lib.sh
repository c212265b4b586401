# Shell functions for the chapters of the demo. Each call runs in a connection of its own, as the calls
# of a stateless service do.
# shellcheck shell=bash

CLAIMS=0
ANSWER=

# chapter TITLE
chapter() {
	printf '\n\n== %s\n' "$1"
}

# ask SQL: one connection, one call; prints the answer, or the error with its SQLSTATE
ask() {
	{ psql -X -v VERBOSITY=verbose -c "$1" 2>&1 || true; } | grep -v -e '^LOCATION: ' -e '^$' || true
}

# sql WHO SQL: makes a call and shows it with its answer, which stays in ANSWER
sql() {
	printf '\n%s> %s\n' "$1" "$2"
	ANSWER=$(ask "$2")
	printf '%s\n' "$ANSWER" | sed 's/^/    /'
}

# at_once SQL WHO...: the same call from many connections at the same time; @ stands for the caller's name.
# Shows the first line of each result, all of which stay in ANSWER.
at_once() {
	local statement=$1 who dir pids=()
	shift
	dir=$(mktemp -d)
	printf '\n%s ... %s, all at once> %s\n' "$1" "${!#}" "$statement"
	for who in "$@"; do
		psql -X -q -A -t -c "${statement//@/$who}" >"$dir/$who" 2>&1 &
		pids+=($!)
	done
	wait "${pids[@]}" || true
	ANSWER=$(for who in "$@"; do head -n 1 "$dir/$who"; done)
	rm -rf "$dir"
	printf '%s\n' "$ANSWER" | sed 's/^/    /'
}

# lose_reply WHO SQL: makes a call whose client is killed before the reply comes; the server carries it out
lose_reply() {
	local client
	printf '\n%s> %s\n' "$1" "$2"
	PGAPPNAME=lost psql -X -q -c "$2; SELECT pg_sleep(2)" >/dev/null 2>&1 &
	client=$!
	await 1 "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lost' AND wait_event = 'PgSleep'"
	kill -KILL "$client"
	{ wait "$client" || true; } 2>/dev/null
	await 0 "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'lost'"
	ANSWER=
	printf '    (the client is killed, the reply goes nowhere)\n'
}

# cut_off WHO SQL: makes a call whose connection breaks before it commits. What came before is lost with it.
cut_off() {
	printf '\n%s> %s\n' "$1" "$2"
	ANSWER=$({ psql -X -q -c "$2; SELECT pg_terminate_backend(pg_backend_pid())" 2>&1 >/dev/null || true; } | grep -v '^[[:blank:]]')
	printf '%s\n' "$ANSWER" | sed 's/^/    /'
}

# await RESULT QUERY: waits until the query answers so, for 10 seconds at most
await() {
	for _ in $(seq 100); do
		[ "$(psql -X -q -A -t -c "$2")" != "$1" ] || return 0
		sleep 0.1
	done
	printf 'Waited in vain for %s: %s\n' "$1" "$2"
	exit 1
}

# field COLUMN: that column of the first row in ANSWER
field() {
	awk -F '|' -v name="$1" '
		function trim(text) { gsub(/^ +| +$/, "", text); return text }
		NR == 1 { for (i = 1; i <= NF; i++) if (trim($i) == name) column = i }
		NR == 3 && column && !/^\(/ { print trim($column) }
	' <<<"$ANSWER"
}

# shows TEXT TEST...: says what the last answer shows, after checking it as test(1) does
shows() {
	local text=$1
	shift
	if ! test "$@"; then
		printf '  NOT AS CLAIMED: %s\n  (%s)\n' "$text" "$*"
		exit 1
	fi
	CLAIMS=$((CLAIMS + 1))
	printf '  => %s\n' "$text"
}

# pause SECONDS: time goes by
pause() {
	printf '\n    ... %s seconds later\n' "$1"
	sleep "$1"
}
