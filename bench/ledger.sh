# ledger.sh: the scenarios of ledgers; bench/run reads it. Batches go through ledger_driver.c, single
# transfers through pgbench.
# shellcheck shell=bash disable=SC2154,SC2034

ledger_scenarios=(transfer_many transfer_many_exceptions transfer_many_sql transfer transfer_hot transfer_memory)
batch=8190
batch_calls=5                  # in one turn: the tenth of a second or two
batch_rounds=$((rounds * 3))   # turns are short, so there are more of them
warm=

# Fills shared_buffers once and makes the server recycle its WAL files from then on, as a server does that
# has been running for an hour. On a new one the first touch of each page costs as much as COPY does.
warm_up() {
	[[ $warm ]] && return
	warm=1
	sql <<-SQL
		CREATE TABLE bench.warm (filler text);
		ALTER TABLE bench.warm ALTER filler SET STORAGE PLAIN;
		INSERT INTO bench.warm SELECT repeat('x', 7000)
		FROM generate_series(1, (SELECT setting::int FROM pg_settings WHERE name = 'shared_buffers'));
		DROP TABLE bench.warm;
		CHECKPOINT;
	SQL
}

driver() {
	if [[ ! -x $work/ledger_driver ]]; then
		local pg_config=${PG_CONFIG:-pg_config} libdir
		libdir=$("$pg_config" --libdir)
		"${CC:-cc}" -O2 -I"$("$pg_config" --includedir)" "$here/ledger_driver.c" -o "$work/ledger_driver" \
			-L"$libdir" -Wl,-rpath,"$libdir" -lpq -lpthread
	fi
	"$work/ledger_driver" "$@"
}

# fresh_ledger ACCOUNTS: an empty schema, the ledger with its accounts, and the rivals' tables
fresh_ledger() {
	sql <<-SQL
		DROP SCHEMA IF EXISTS bench CASCADE;
		CREATE EXTENSION IF NOT EXISTS pg_keep;
		CREATE SCHEMA bench;
	SQL
	warm_up
	sql -c CHECKPOINT
	sql -f "$here/setup.sql" -f "$here/ledger_setup.sql"
	sql <<-SQL
		CALL bench.open_ledger($1);
		CALL bench.copy_table('bench.ledger_transfers', 'copied_transfers');
		CALL bench.copy_table('bench.ledger_transfers', 'by_hand_transfers');
		CALL bench.copy_table('bench.ledger', 'by_hand');
	SQL
	sql -f "$here/ledger_rivals.sql"
	settle bench.ledger bench.ledger_transfers bench.copied_transfers bench.by_hand bench.by_hand_transfers
}

# batch_duel WHAT RIVAL AT_LEAST [options of the driver]
batch_duel() {
	local what=$1 rival=$2 at_least=$3
	shift 3
	driver -b "$batch" -c "$batch_calls" -r "$batch_rounds" "$@" duel "$rival" >"$work/output"
	awk '/^round/ { print $2, $3, $4, $5, 1 }' "$work/output" >"$work/rounds"
	awk '/^call ours/ { print $3 }' "$work/output" >"$work/ours.latency"
	awk '/^call rival/ { print $3 }' "$work/output" >"$work/rival.latency"
	line "$what" "$(column '$1')" "$(column '$2')" "$(column '$1 / $2')" "$at_least" "$(column '$1 / $2' | spread)"
	details
}

# ---- scenarios ---------------------------------------------------------------

scenario_transfer_many() {
	batch_ladder 0.45 0.7 0.75
}

scenario_transfer_many_exceptions() {
	batch_ladder 0.5 0.9 1.0 -e
}

# batch_ladder AT_LEAST AT_LEAST AT_LEAST [options]: against COPY, over fewer and fewer accounts
batch_ladder() {
	local accounts at_least=("${@:1:3}") report=' accounts'
	[[ ${4:-} ]] && report=', exceptions'
	for accounts in 10000 1000 2; do
		fresh_ledger "$accounts"
		batch_duel "COPY, $accounts$report" copy "${at_least[0]}" "${@:4}"
		at_least=("${at_least[@]:1}")
	done
}

scenario_transfer_many_sql() {
	fresh_ledger 10000
	batch_duel 'SQL, 10000 accounts' sql 2.4
	fresh_ledger 10000
	batch_duel 'SQL, pg_keep through SPI' sql 1.3 -s 'SET pg_keep.direct_access = off'
}

scenario_transfer() {
	fresh_ledger 10000
	clients=16 duel 'transfer: plpgsql' "$here/scripts/transfer.keep.sql" \
		"$here/scripts/transfer.rival.sql" 1.0 1 -D accounts=10000
	clients=16 duel 'transfer: five statements' "$here/scripts/transfer.keep.sql" \
		"$here/scripts/transfer.client.sql" 1.5 1 -D accounts=10000
}

# All three scripts are ours here: what is compared is the ledger with itself.
scenario_transfer_hot() {
	fresh_ledger 10000
	sql <<-SQL
		SELECT FROM keep.open_account('bench.ledger', 'hot', 'EUR', 0, 1000000000000000);
		SELECT FROM keep.open_account('bench.ledger', 'sharded', 'EUR', 0, 1000000000000000, shards => 16);
	SQL
	sed "s/:to,/'hot',/" "$here/scripts/transfer.keep.sql" >"$work/hot.sql"
	sed "s/:to,/'sharded',/" "$here/scripts/transfer.keep.sql" >"$work/sharded.sql"
	clients=16 duel '16 shards: one hot row' "$work/sharded.sql" "$work/hot.sql" 2.5 1 -D accounts=10000
	clients=16 duel '16 shards: uniform' "$work/sharded.sql" "$here/scripts/transfer.keep.sql" 0.8 1 -D accounts=10000
}

scenario_transfer_memory() {
	local round
	fresh_ledger 10000
	for ((round = 0; round < 3; round++)); do
		echo "$(driver -b 100000 -c 1 memory keep) $(driver -b 100000 -c 1 memory sql)"
	done | awk '{ print $2, $5 }' >"$work/rounds"
	line 'MB of a call of 100000' "$(column '$1')" "$(column '$2')" "$(column '$1')" 100 "$(column '$1' | spread)" at_most
}

# profile_ledger SCRIPT: one of scripts/transfer.*.sql, or transfer_many.keep, .copy, .sql for batches
profile_ledger() {
	fresh_ledger 10000
	if [[ $1 == transfer_many.* ]]; then
		driver -b "$batch" -c "$batch_calls" -t 60 alone "${1#*.}"
		return
	fi
	seconds=60
	echo "running $1 for $seconds seconds"
	clients=16 turn "$here/scripts/$1.sql" profile -D accounts=10000
	echo "$rate a second, $wal bytes of WAL each"
}
