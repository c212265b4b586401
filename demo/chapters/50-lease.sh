# Chapter: a lease passes to the next holder, and the former one can no longer commit its work.
# shellcheck shell=bash
chapter 'A lease that passes on'

sql setup "SELECT keep.create_store('leases')"
shows 'Leases are entries of a store.' "$(field create_store)" = leases
sql setup "CREATE TABLE report (written_by text)"
shows 'And this is the work to be done once.' "$ANSWER" = 'CREATE TABLE'

sql worker-1 "SELECT * FROM keep.acquire('leases', 'nightly-report', 'worker-1', '3 seconds')"
shows 'The first worker holds the lease, for 3 seconds.' "$(field acquired)" = t
first=$(field token)

sql worker-2 "SELECT * FROM keep.acquire('leases', 'nightly-report', 'worker-2', '3 seconds')"
shows 'The second does not get it, and learns who has it and until when.' "$(field acquired) $(field owner)" = 'f worker-1'

pause 3.2
sql worker-2 "SELECT * FROM keep.acquire('leases', 'nightly-report', 'worker-2', '1 minute')"
second=$(field token)
shows 'The first worker was lost in a long pause. The lease passes on, and its token is greater.' "${second:-0}" -gt "$first"

work() {
	printf "BEGIN; SELECT keep.assert_lease('leases', 'nightly-report', %s); INSERT INTO report VALUES ('%s'); COMMIT" "$1" "$2"
}

sql worker-1 "$(work "$first" worker-1)"
shows 'The first wakes up and goes on where it was. Its token is refused (KP412), and its transaction with it.' \
	"$(grep -c '^ERROR:  KP412: ' <<<"$ANSWER")" = 1

sql worker-2 "$(work "$second" worker-2)"
shows 'The present holder does the same, and commits.' "$(tail -n 1 <<<"$ANSWER")" = COMMIT
sql worker-2 "SELECT string_agg(written_by, ', ') AS written_by FROM report"
shows 'The report is written once, by the one who holds the lease.' "$(field written_by)" = worker-2

sql worker-2 "SELECT * FROM keep.release('leases', 'nightly-report', $second)"
shows 'And the lease is free for the next.' "$(field status)" = released
