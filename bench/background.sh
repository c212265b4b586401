# background.sh: the scenarios of the reaper, of waiting and of statistics; bench/run reads it. They need
# servers with and without shared_preload_libraries, so they start servers of their own.
# shellcheck shell=bash disable=SC2154,SC2034

background_scenarios=(put_preload put_statistics wait_for expire_million churn)
churn_seconds=${CHURN_SECONDS:-600}		# the run with the reaper
churn_pairs=${CHURN_PAIRS:-9}			# then phases with and without it in turn
churn_phase=${CHURN_PHASE:-20}			# seconds of one
churn_rate=${CHURN_RATE:-2000}			# sessions a second
churn_clients=8
churn_gets=${CHURN_GETS:-200}			# a second, in the foreground
million=${MILLION_ENTRIES:-1000000}
million_before=30						# seconds of the foreground before they expire
million_gets=${MILLION_GETS:-500}
ends_wait=300							# seconds to wait at most until all have gone
wait_rounds=${WAIT_ROUNDS:-30}			# of eight waits each

# ---- servers of our own ------------------------------------------------------

PGKEEP_BIN=${PGKEEP_BIN:-$bindir}
. "$here/../scripts/server.sh"
declare -A own_servers

end_servers() {
	local dir
	for dir in "${own_servers[@]}"; do
		server_stop "$dir" >&2 || true
	done
	rm -rf "$work"
}
trap end_servers EXIT

# own_server NAME [setting...]: starts a server with the settings of server.conf, unless it runs
own_server() {
	local dir=$work/$1
	[[ ${own_servers[$1]:-} ]] && return
	own_servers[$1]=$dir
	shift
	(server_start "$dir" "include=$here/server.conf" fsync=on "$@")
}

preloaded_server() {
	own_server preloaded shared_preload_libraries=pg_keep
}

# on NAME COMMAND [ARGUMENT...]: runs the command with that server
on() {
	local name=$1
	shift
	PGHOST=${own_servers[$name]}/socket PGPORT=$SERVER_PORT PGUSER=postgres PGDATABASE=postgres "$@"
}

# with_setting NAME=VALUE COMMAND [ARGUMENT...]: runs the command with that setting in its sessions
with_setting() {
	local setting=$1
	shift
	PGOPTIONS="$PGOPTIONS -c $setting" "$@"
}

# ---- what preloading and counting cost ---------------------------------------

filled_store() {
	fresh write
	settle bench.sessions
}

# own_duels WHAT: put and get of our_side against rival_side, with turns enough to see three percent, and
# without waiting for the disk, which would hide them
own_duels() {
	local script
	for script in put get; do
		rounds=$((rounds * 3)) with_setting synchronous_commit=off duel "$script, $1" "$here/scripts/$script.keep.sql" "$here/scripts/$script.keep.sql" 0.97 1
	done
}

scenario_put_preload() {
	preloaded_server
	own_server plain
	on preloaded filled_store
	on plain filled_store
	our_side='on preloaded' rival_side='on plain' own_duels preloaded
}

scenario_put_statistics() {
	preloaded_server
	on preloaded filled_store
	our_side='on preloaded with_setting pg_keep.track_statistics=on' \
		rival_side='on preloaded with_setting pg_keep.track_statistics=off' own_duels counted
}

# ---- wait_for ----------------------------------------------------------------

scenario_wait_for() {
	preloaded_server
	own_server plain
	on preloaded wait_times preloaded 5
	on plain wait_times 'not preloaded' 100
}

# wait_times WHAT AT_MOST: milliseconds from a commit until wait_for returns
wait_times() {
	wait_driver
	fresh write
	sql -c "SELECT FROM bench.create_store('bench.wait', 'write')"
	"$work/wait_driver" "$wait_rounds" >"$work/rounds"
	line "wait_for us, $1" "$(column '$1 * 1000')" "$(column '$2 * 1000')" "$(column '$1')" "$2" \
		"$(column '$1' | spread) ms" at_most
	printf '%28s p50/p99 ms %s / %s   of COMMIT alone %s / %s;   %d waits\n' '' \
		"$(column '$1' | percentile 50)" "$(column '$1' | percentile 99)" \
		"$(column '$2' | percentile 50)" "$(column '$2' | percentile 99)" "$(wc -l <"$work/rounds")"
}

wait_driver() {
	local pg_config=${PG_CONFIG:-pg_config} libdir
	[[ -x $work/wait_driver ]] && return
	libdir=$("$pg_config" --libdir)
	"${CC:-cc}" -O2 -I"$("$pg_config" --includedir)" "$here/wait_driver.c" -o "$work/wait_driver" \
		-L"$libdir" -Wl,-rpath,"$libdir" -lpq
}

# ---- load and foreground -----------------------------------------------------

# pgbench_at RATE SECONDS [options]: calls that fall due at that rate, however fast the server is
pgbench_at() {
	"$bindir/pgbench" -n -M prepared -R "$1" -T "$2" "${@:3}"
}

# foreground RATE SECONDS SCRIPT [options]: gets at that rate in the background, logged; sets foreground_pid
foreground() {
	rm -f "$work"/foreground.*
	pgbench_at "$1" "$2" -c 2 -j 1 -l --log-prefix="$work/foreground" "${@:4}" -f "$here/scripts/$3.sql" \
		>"$work/foreground.output" 2>&1 &
	foreground_pid=$!
}

# foreground_times FROM: seconds since FROM, and milliseconds, of each get. Latencies count from the time
# that a get was due, so that one that is late because of the one before it counts as slow.
foreground_times() {
	awk -v from="$1" '{ printf "%.3f %.3f\n", $5 + $6 / 1e6 - from, $3 / 1000 }' "$work"/foreground.[0-9]*
}

# bins WIDTH: of lines "second milliseconds": start of each WIDTH seconds, p50, p99
bins() {
	awk -v w="$1" '$1 >= 0 { print int($1 / w) * w, $2 }' | sort -k1,1n -k2,2g | awk '
		function put() { if (n) print bin, a[int(n * 0.5 + 0.5)], a[int(n * 0.99 + 0.5)] }
		$1 != bin { put(); n = 0; bin = $1 }
		{ a[++n] = $2 }
		END { put() }'
}

# sample EVERY PID FILE SQL: runs a query each EVERY seconds while the process lives. One psql and no other process
# does so: on two cores, to start a process and a connection is seen in the p99 of what is measured.
sample() {
	local every=$1 pid=$2 file=$3 query=$4 nothing
	exec 9<> <(:)
	while kill -0 "$pid" 2>/dev/null; do
		echo "$query"
		read -r -t "$every" -u 9 nothing || true
	done | sql -F ' ' >"$file"
	exec 9>&-
}

clock() {
	sql -c 'SELECT round(extract(epoch FROM clock_timestamp()), 3)'
}

# reaper on|off
reaper() {
	sql -c "ALTER SYSTEM SET pg_keep.reaper = $1" -c 'SELECT FROM pg_reload_conf()'
}

# ---- churn -------------------------------------------------------------------

scenario_churn() {
	preloaded_server
	on preloaded churn
}

churn() {
	fresh_churn
	churn_series
	fresh_churn
	churn_phases
}

fresh_churn() {
	fresh write
	sql -c 'DROP TABLE bench.sessions' -c "SELECT FROM keep.create_store('bench.churn', ttl => '30 s', expire_after => 'access')"
}

# churn_load SECONDS: sessions begin at churn_rate, half as many puts and as many touches meanwhile; sets load_pid
churn_load() {
	foreground "$churn_gets" "$1" churn_get -D n=0 -D per_second="$churn_rate" \
		-D per_get=$((churn_rate * 2 / churn_gets))
	pgbench_at $((churn_rate * 5 / 2)) "$1" -c "$churn_clients" -j 2 -D n=0 -D doc="$doc" \
		-D clients="$churn_clients" -D window=$((churn_rate / churn_clients * 20)) \
		-f "$here/scripts/churn_create.sql@2" -f "$here/scripts/churn_put.sql@1" \
		-f "$here/scripts/churn_touch.sql@2" >"$work/load.output" 2>&1 &
	load_pid=$!
}

# Sizes and counts without reading the table, which would tidy its pages: rows from the statistics, and of
# overdue ones only those that the index finds. Dead rows are PostgreSQL's estimate.
churn_sample="
	SELECT round(extract(epoch FROM clock_timestamp()), 3), pg_table_size(relid), pg_relation_size('bench.churn_pkey'),
		pg_relation_size('bench.churn_reap_at_idx'), n_tup_ins - n_tup_del, overdue.*, n_dead_tup,
		(SELECT count(*) FROM pg_stat_progress_vacuum AS v WHERE v.relid = s.relid)
	FROM pg_stat_user_tables AS s, LATERAL (
		SELECT count(*), coalesce(round(extract(epoch FROM clock_timestamp() - min(expires_at)), 2), 0) FROM bench.churn
		WHERE reap_at <= now() AND expires_at <= now()) AS overdue
	WHERE relid = 'bench.churn'::regclass;"

churn_series() {
	local began
	began=$(clock)
	churn_load "$churn_seconds"
	with_setting enable_seqscan=off with_setting enable_bitmapscan=off \
		sample 5 "$load_pid" "$work/samples" "$churn_sample"
	fresh_size
	wait "$load_pid" || cat "$work/load.output" >&2
	wait "$foreground_pid" || cat "$work/foreground.output" >&2
	foreground_times "$began" | bins 5 >"$work/gets"
	awk -v began="$began" '
		NR == FNR { p50[$1] = $2; p99[$1] = $3; next }
		{ s = $1 - began; bin = int(s / 5) * 5
		  printf "%.0f %.1f %.1f %.1f %d %d %d %.1f %d %d %.2f %.2f\n", s, $2 / 1e6, $3 / 1e6, $4 / 1e6,
			$5 - $6, $6, $8, $7, $9, $2 + $3 + $4, p50[bin], p99[bin] }' "$work/gets" "$work/samples" >"$work/series"
	echo "      seconds  table MB  key MB  reap_at MB    live  overdue    dead  lag s  vacuum  get p50 ms  p99 ms"
	awk '{ printf "churn %7d %9.1f %7.1f %11.1f %7d %8d %7d %6.1f %7d %11.2f %7.2f\n", $1, $2, $3, $4, $5, $6, $7, $8, $9, $11, $12 }' \
		"$work/series"
	churn_verdict
}

# fresh_size: what is live now, in a new table; sets fresh_bytes, fresh_rows
fresh_size() {
	read -r fresh_rows fresh_bytes < <(sql -F ' ' <<-'SQL'
		SELECT FROM keep.create_store('bench.churn_fresh', ttl => '30 s', expire_after => 'access');
		INSERT INTO bench.churn_fresh (key, value, created_at, updated_at, expires_at, reap_at)
		SELECT key, value, created_at, updated_at, expires_at, expires_at FROM bench.churn
		WHERE expires_at > now() ORDER BY created_at;
		SELECT count(*), pg_total_relation_size('bench.churn_fresh') FROM bench.churn_fresh;
	SQL
	)
}

# of_series LAST EXPRESSION: it, for the samples of the last so many seconds
of_series() {
	awk -v after=$((churn_seconds - $1)) "\$1 >= after { print $2 }" "$work/series"
}

churn_verdict() {
	local most
	echo
	load_report
	most=$(of_series 60 '$10' | sort -g | tail -n 1)
	printf '%28s live: %d rows; new table of them %s MB\n' '' "$fresh_rows" "$(awk -v b="$fresh_bytes" 'BEGIN { printf "%.1f", b / 1e6 }')"
	line 'size kB, last minute' $((most / 1000)) $((fresh_bytes / 1000)) \
		"$(awk -v m="$most" -v f="$fresh_bytes" 'BEGIN { print m / f }')" 2.5 \
		"$(of_series "$churn_seconds" "\$10 / $fresh_bytes" | spread) in all" at_most
	line 'lag ms, longest' "$(awk '{ print $8 * 1000 }' "$work/series" | sort -g | tail -n 1)" 0 \
		"$(awk '{ print $8 }' "$work/series" | sort -g | tail -n 1)" 5 \
		"$(awk '{ print $8 }' "$work/series" | spread) s" at_most
}

# load_report: whether the load was what it should be
load_report() {
	awk '/actually processed/ { split($6, n, "/"); done = n[1] } /^tps/ { tps = $3 } /rate limit schedule lag/ { lag = $6 }
		END { printf "%28s load: %d transactions, %.0f a second; schedule lag %s ms on average\n", "", done, tps, lag }' "$work/load.output"
}

# churn_phases: the same load with the reaper on and off in turn, and the p99 of get in each
churn_phases() {
	local i began total=$((churn_pairs * 2 * churn_phase + 40))
	churn_load "$total"
	sleep 40
	for ((i = 0; i < churn_pairs; i++)); do
		began=$(clock)
		sleep "$churn_phase"
		reaper off
		echo "on $began $(clock)"
		began=$(clock)
		sleep "$churn_phase"
		reaper on
		echo "off $began $(clock)"
	done >"$work/phases"
	wait "$load_pid" || cat "$work/load.output" >&2
	wait "$foreground_pid" || cat "$work/foreground.output" >&2
	foreground_times 0 | awk '
		NR == FNR { what[NR] = $1; from[NR] = $2 + ($1 == "off" ? 2 : 0); till[NR] = $3; n = NR; next }
		{ for (i = 1; i <= n; i++) if ($1 >= from[i] && $1 < till[i]) print i, $2 }' "$work/phases" - | bins 1 >"$work/phase_times"
	awk 'NR == FNR { what[NR] = $1; next } what[$1] == "on" { p50 = $2; p99 = $3; next }
		{ print p99 * 1000, $3 * 1000, p50 * 1000, $2 * 1000 }' "$work/phases" "$work/phase_times" >"$work/rounds"
	echo
	load_report
	line 'p99 of get us: on, off' "$(column '$1')" "$(column '$2')" "$(column '$1 / $2')" 1.5 \
		"$(column '$1 / $2' | spread)" at_most
	line 'p50 of get us: on, off' "$(column '$3')" "$(column '$4')" "$(column '$3 / $4')" - "$(column '$3 / $4' | spread)"
}

# ---- a million at once -------------------------------------------------------

scenario_expire_million() {
	preloaded_server
	on preloaded expire_million
}

# fresh_million: five entries of six expire at once, the sixth lives on; sets ends, the time of that
fresh_million() {
	local lead=$((20 + million / 15000 + million_before))
	fresh write
	sql -c 'DROP TABLE bench.sessions' -c "SELECT FROM keep.create_store('bench.million', ttl => '1 hour')"
	ends=$(sql -c "SELECT round(extract(epoch FROM clock_timestamp())) + $lead")
	sql -v ends="$ends" <<-SQL
		INSERT INTO bench.million (key, value, created_at, updated_at, expires_at, reap_at)
		SELECT bench.key(i), bench.value(i, :'doc'), now(), now(), e, e
		FROM generate_series(1, $million / 5 * 6) AS i,
			LATERAL (SELECT CASE WHEN i % 6 = 0 THEN now() + interval '1 hour' ELSE to_timestamp(:ends) END) AS l(e);
		CHECKPOINT;
	SQL
	settle bench.million
}

million_sample="
	SELECT round(extract(epoch FROM clock_timestamp()), 3), expired, pg_table_size(relid), pg_indexes_size(relid),
		(SELECT count(*) FROM pg_stat_progress_vacuum AS v WHERE v.relid = s.relid)
	FROM keep.stat_stores AS s WHERE relid = 'bench.million'::regclass;"

expire_million() {
	local ends began began_at lsn
	fresh_million
	began=$((ends - million_before))
	(($(date +%s) < began)) || { echo 'bench/run: loading took too long' >&2; exit 1; }
	sleep $((began - $(date +%s)))
	lsn=$(sql -c 'SELECT pg_current_wal_insert_lsn()')
	began_at=$SECONDS
	: >"$work/samples"
	foreground "$million_gets" $((million_before + ends_wait)) million_get -D entries=$((million / 5))
	end_when_gone &
	sample 1 "$foreground_pid" "$work/samples" "$million_sample"
	wait "$foreground_pid" || true
	foreground_times "$began" >"$work/times"
	bins 1 <"$work/times" >"$work/gets"
	awk -v began="$began" -v ends="$ends" -v all="$million" '
		NR == FNR { p50[$1] = $2; p99[$1] = $3; next }
		{ bin = int($1 - began)
		  printf "%.0f %d %.1f %.1f %d %.2f %.2f\n", $1 - ends, all - $2, $3 / 1e6, $4 / 1e6, $5, p50[bin], p99[bin] }' \
		"$work/gets" "$work/samples" >"$work/series"
	echo "               seconds  to go    table MB  indexes MB  vacuum  get p50 ms  p99 ms"
	awk '{ printf "expire_million %7d %8d %9.1f %11.1f %7d %11.2f %7.2f\n", $1, $2, $3, $4, $5, $6, $7 }' "$work/series"
	million_verdict "$lsn"
}

# end_when_gone: ends the foreground ten seconds after the samples say that all is gone. Without its server pgbench
# stops, and writes its log to the end. Until then no process is started, see sample.
end_when_gone() {
	local rows gone=0 nothing
	exec 9<> <(:)
	while ((gone < million && SECONDS < began_at + million_before + ends_wait)); do
		read -r -t 1 -u 9 nothing || true
		mapfile -t rows <"$work/samples"
		((${#rows[@]})) || continue
		read -r nothing gone nothing <<<"${rows[-1]}"
	done
	sleep 10
	sql -c "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = 'pgbench'" >"$work/ended"
}

# million_verdict LSN: where the WAL was at the beginning
million_verdict() {
	local gone end before while largest
	gone=$(awk '{ last = $1 } $2 <= 0 { exit } END { print last }' "$work/series")
	end=$((gone + million_before))
	before=$(million_time 99 0 "$million_before")
	while=$(million_time 99 "$million_before" "$end")
	largest=$(largest_batch "$1" "$(sql -c 'SELECT pg_current_wal_insert_lsn()')")
	echo
	printf '%28s all gone %d s after their end; rows left: %s\n' '' "$gone" \
		"$(sql -c 'SELECT count(*) FROM bench.million')"
	line 'p99 of get us: while, before' "$while" "$before" "$(awk -v w="$while" -v b="$before" 'BEGIN { print w / b }')" 2 \
		"p50 $(million_time 50 "$million_before" "$end") / $(million_time 50 0 "$million_before")" at_most
	line 'rows in a transaction, most' "${largest:-0}" 1000 "$(awk -v l="${largest:-0}" 'BEGIN { print l / 1000 }')" 1 \
		'by the WAL; reaper_batch' at_most
}

# million_time PERCENT FROM TILL: microseconds, of the gets due in these seconds
million_time() {
	awk -v f="$2" -v t="$3" '$1 >= f && $1 < t { print $2 * 1000 }' "$work/times" | percentile "$1"
}

# largest_batch FROM TILL: the most rows that one transaction has deleted between two positions in the WAL;
# nothing where the server has no pg_walinspect
largest_batch() {
	sql <<-SQL || true
		CREATE EXTENSION IF NOT EXISTS pg_walinspect;
		SELECT max(n) FROM (
			SELECT count(*) AS n FROM pg_get_wal_records_info('$1', '$2')
			WHERE resource_manager = 'Heap' AND record_type LIKE 'DELETE%' GROUP BY xid) AS t;
	SQL
}
