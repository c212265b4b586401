# requests.sh: the scenarios of request logs and sagas; bench/run reads it.
# shellcheck shell=bash disable=SC2154,SC2034

request_scenarios=(request request_replay call_once call_once_replay saga)
request=$(tr -d '\n' <"$here/request.json")
response='{"charge": 4711, "status": "paid"}'
args='{"customer": "c-20391", "amount": 5999}'		# of functions that insert one row

# fresh_requests: an empty schema, an empty request log, and the rivals' tables
fresh_requests() {
	sql <<-SQL
		DROP SCHEMA IF EXISTS bench CASCADE;
		CREATE EXTENSION IF NOT EXISTS pg_keep;
		CREATE SCHEMA bench;
		CHECKPOINT;
	SQL
	sql -f "$here/setup.sql" -f "$here/request_setup.sql" -f "$here/request_rivals.sql"
	sql -c "SELECT FROM bench.create_request_log()"
}

# fill_requests REQUEST CALLS: completed requests, of call_once where CALLS is true
fill_requests() {
	sql -v request="$1" -v response="$response" <<-SQL
		CALL bench.fill_requests($entries, :'request', :'response', $2);
	SQL
	settle bench.requests bench.request
}

# request_duel WHAT OURS RIVAL AT_LEAST: a duel of two scripts
request_duel() {
	request_variables
	duel "$1" "$here/scripts/$2.sql" "$here/scripts/$3.sql" "$4" 1 "${variables[@]}"
}

# request_variables: what the scripts expect of pgbench
request_variables() {
	variables=(-D request="$request" -D answer="$response" -D args="$args" -D customer=c-20391 -D amount=5999)
}

# ---- scenarios ---------------------------------------------------------------

scenario_request() {
	fresh_requests
	clients=16 request_duel 'request' request.keep request.rival 0.9
}

scenario_request_replay() {
	fresh_requests
	fill_requests "$request" false
	request_duel 'request_replay' request_replay.keep replay.rival 0.9
}

scenario_call_once() {
	fresh_requests
	clients=16 request_duel 'call_once' call_once.keep call_once.rival 0.7
	clients=16 request_duel 'call_once, LANGUAGE sql' call_once_sql.keep call_once.rival -
}

scenario_call_once_replay() {
	fresh_requests
	fill_requests "$args" true
	request=$args request_duel 'call_once_replay' call_once_replay.keep replay.rival 0.9
}

scenario_saga() {
	fresh_requests
	sql -c "SELECT FROM bench.create_saga_log()"
	clients=16 request_duel 'saga of three steps' saga.keep saga.rival -
}

# profile_request SCRIPT: one of the scripts above
profile_request() {
	fresh_requests
	sql -c "SELECT FROM bench.create_saga_log()"
	case $1 in
		call_once_replay.*) fill_requests "$args" true ;;
		*replay.*) fill_requests "$request" false ;;
		*) clients=16 ;;
	esac
	seconds=60
	echo "running $1 for $seconds seconds"
	request_variables
	turn "$here/scripts/$1.sql" profile "${variables[@]}"
	echo "$rate a second, $wal bytes of WAL each"
}
