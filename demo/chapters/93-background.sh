# Chapters: a handler waits for the answer of a worker; the reaper tidies up and undoes an order; statistics.
# shellcheck shell=bash
chapter 'A request that is answered by a worker'

# The handler's call, in the background: its answer goes to a file, and is shown by answered().
answer_file=$(mktemp)
waits() {
	printf '\n%s> %s\n    (it waits)\n' "$1" "$2"
	ask "$2" >"$answer_file" &
	waiter=$!
	await 1 "SELECT count(*) FROM pg_stat_activity WHERE query LIKE '%keep.wait_for(%' AND state = 'active' AND pid <> pg_backend_pid()"
}
answered() {
	wait "$waiter"
	ANSWER=$(cat "$answer_file")
	printf '\n%s, still in the same call, gets\n' "$1"
	printf '%s\n' "$ANSWER" | sed 's/^/    /'
}

sql setup "SELECT keep.create_store('answers', ttl => '10 minutes')"
shows 'A store for answers, under the ids of the jobs.' "$(field create_store)" = answers
sql app-1 "SELECT count(*) AS answers FROM keep.wait_for('answers', 'job-1', timeout => '200 ms')"
shows 'A handler hands a job to a queue and waits for the answer. There is none in time: it answers 202, ask again.' "$(field answers)" = 0

waits app-1 "SELECT key, value FROM keep.wait_for('answers', 'job-1', timeout => '1 minute')"
sql worker-1 "SELECT status FROM keep.put('answers', 'job-1', '{\"report\": 12}')"
shows 'The client has asked again, and a worker is done.' "$(field status)" = created
answered app-1
shows 'The handler has what the worker wrote, and answers 200.' "$(field key) $(field value)" = 'job-1 {"report": 12}'
sql app-2 "SELECT value, version FROM keep.wait_for('answers', 'job-1', timeout => '1 minute')"
version=$(field version)
shows 'Who comes later need not wait.' "$(field value)" = '{"report": 12}'

waits app-2 "SELECT key, value FROM keep.wait_for('answers', 'job-1', after_version => $version, timeout => '1 minute')"
sql worker-1 "SELECT status FROM keep.merge('answers', 'job-1', '{\"report\": 13}')"
shows 'A second handler waits for what is newer, and the worker corrects the report.' "$(field status)" = updated
answered app-2
shows 'It has the correction.' "$(field value)" = '{"report": 13}'
rm -f "$answer_file"

chapter 'The reaper, which tidies up by itself'

sql setup "SELECT keep.create_store('codes', ttl => '1 second')"
sql app-1 "SELECT count(*) FROM keep.put_batch('codes', (SELECT jsonb_object_agg('code-' || i, i) FROM generate_series(1, 3000) i))"
shows '3000 codes, each good for a second.' "$(field count)" = 3000
sql app-1 "SELECT state FROM keep.begin_saga('order_sagas', 'order-3', deadline => '1 second')"
sql app-1 "$(stock_step order-3)"
shows 'An order that reserves a lamp, whose handler then dies.' "$(field status)" = 'done'
pause 1.2
sql auditor "SELECT count(keep.get('codes', key)) AS good, count(*) AS rows FROM codes"
shows 'All codes are absent from now on, and all their rows are there: so far the reaper of this server was off.' \
	"$(field good) $(field rows)" = '0 3000'

sql admin "ALTER SYSTEM SET pg_keep.naptime = '500 ms'"
sql admin "ALTER SYSTEM SET pg_keep.reaper = on"
sql admin "SELECT pg_reload_conf()"
shows 'It is switched on. Nobody calls anything from here on.' "$(field pg_reload_conf)" = t
await 0 'SELECT count(*) FROM codes'
sql auditor "SELECT count(*) AS rows FROM codes"
shows 'A moment later it has deleted them.' "$(field rows)" = 0
await compensated "SELECT state FROM order_sagas WHERE saga = 'order-3'"
effects
shows 'It has undone the order as well: five lamps again.' "$(field in_stock) $(field dora)" = '5 100'
await 0 'SELECT count(*) FROM sessions'
sql auditor "SELECT count(*) AS rows FROM sessions"
shows 'And it has found what the other chapters left, such as the session of the first.' "$(field rows)" = 0
await 't|3000|1' "SELECT NOT bool_or(behind), sum(reaped) FILTER (WHERE table_name = 'codes'), sum(reaped) FILTER (WHERE table_name = 'order_sagas')
	FROM keep.stat_reaper"
sql auditor "SELECT table_name, kind, reaped, errors, behind FROM keep.stat_reaper WHERE reaped > 0 ORDER BY table_name"
shows 'This is what it did; nothing went wrong.' \
	"$(grep -c '^ codes .*| store .*| *3000 | *0 | f$' <<<"$ANSWER") $(grep -c '^ order_sagas .*| saga_log .*| *1 | *0 | f$' <<<"$ANSWER")" = '1 1'

chapter 'What has been counted'

sql auditor "SELECT store_name, creates, hits, misses, expired FROM keep.stat_stores WHERE store_name = 'sessions'"
shows 'The session of the first chapter: created once, found twice, looked for twice when it was over.' \
	"$(field creates) $(field hits) $(field misses) $(field expired)" = '1 2 2 1'
sql auditor "SELECT posted, (SELECT count(*) FROM tills_transfers WHERE status = 'posted') AS stored FROM keep.stat_ledgers WHERE ledger_name = 'tills'"
shows 'The payments of the orders, each once. What was rolled back is not among them.' \
	"$(field posted) $(field stored)" = "5 5"
sql auditor "SELECT store_name, hits, misses, creates, updates, condition_failures FROM keep.stat_stores ORDER BY store_name"
shows 'And the rest of this demo.' "$(grep -c '^ answers ' <<<"$ANSWER")" = 1
