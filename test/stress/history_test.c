/*
 * history_test.c
 *		Histories of which it is known whether they are good: the checker must say the same.
 *
 * A line is a call: who, when (milliseconds), which, with what : what it answered.
 *
 *	1 0-2 put w=7 ttl=5 : created v=1 w=7 e=6
 *	2 3-9 delete : ?						no answer; it may have happened
 *	2 3-9 get_entry tx=1 part=1 undone : nothing
 *	tx=1 20-21 commit						or: abort; rr: at REPEATABLE READ
 *	3 30-31 expire : swept n=2
 *
 * e is when the entry ends (none: never), exp the version or token expected, c when it was
 * created.
 */
#include "history.h"

#include <stdlib.h>
#include <string.h>

#define MOST_OPS 20
#define MOST_TXNS 4
#define BASE INT64_C(1000000000)	/* microseconds: the time 0 of the lines */

enum
{
	PLAIN, ACCESS, CREATE, LEASES, CAPPED
};

typedef struct Case
{
	const char *name;
	int			rule;
	bool		good;
	const char *lines[MOST_OPS];
} Case;

static const StoreRule rules[] = {
	{.name = "plain"}, {.name = "access", .ttl = 10000, .access = true},
	{.name = "create", .ttl = 10000, .fixed = true}, {.name = "leases", .leases = true},
	{.name = "capped", .longest = 20000}
};

static const Case cases[] = {
	{"one after the other", PLAIN, true, {
		"1 0-1 get_entry : nothing", "1 2-3 put w=1 n=1 : created v=1 w=1 n=1",
		"1 4-5 get_entry : entry v=1 w=1 n=1 c=2.5", "1 6-7 increment by=4 : updated v=3 w=1 n=5",
		"1 8-9 merge w=2 m=9 : updated v=4 w=2 n=5 m=9",
		"1 10-11 merge w=3 drop : updated v=5 w=3 n=5",
		"1 12-13 compare_and_swap w=4 exp=5 : updated v=6 w=4",
		"1 14-15 compare_and_swap w=5 exp=5 : stale v=6 w=4",
		"1 16-17 touch ttl=50 : fresh v=6 w=4",
		"1 18-19 delete : deleted v=6 w=4", "1 20-21 delete : absent",
		"1 22-23 put_if_absent w=6 : created v=9 w=6", "1 24-25 get : entry w=6"}},
	{"a read beside a write sees either state", PLAIN, true, {
		"1 0-1 put w=1 : created v=1 w=1", "1 2-9 put w=2 : updated v=2 w=2",
		"2 3-4 get_entry : entry v=2 w=2", "3 1.5-8 get_entry : entry v=1 w=1",
		"2 5-6 get_entry : entry v=2 w=2"}},
	{"an unknown write that was seen", PLAIN, true, {
		"1 0-1 put w=1 : created v=1 w=1", "2 2-8 put w=2 : ?", "3 3-4 get_entry : entry v=5 w=2",
		"3 5-6 compare_and_swap w=3 exp=5 : updated v=6 w=3"}},
	{"an unknown write that nobody saw", PLAIN, true, {
		"1 0-1 put w=1 : created v=1 w=1", "2 2-8 delete : ?",
		"3 9-10 put_if_absent w=2 : created v=2 w=2"}},
	{"an unknown increment", PLAIN, true, {
		"1 0-1 put w=1 n=1 : created v=1 w=1 n=1", "2 2-8 increment by=40 : ?",
		"3 9-10 increment by=3 : updated v=5 w=1 n=44"}},
	{"two unknown calls", PLAIN, true, {
		"1 0-1 put w=1 n=1 : created v=1 w=1 n=1", "2 2-8 increment by=40 : ?",
		"4 2-8 increment by=500 : ?", "3 9-10 increment by=3 : updated v=5 w=1 n=544"}},
	{"an unknown delete that only reads tell of", PLAIN, true, {
		"1 0-1 put w=1 : created v=1 w=1", "2 2-8 delete : ?", "3 9-10 get : nothing"}},
	{"an unknown call that has not happened", PLAIN, true, {
		"1 0-1 put w=1 : created v=1 w=1", "2 2-8 delete : ?", "3 9-10 get : entry w=1"}},
	{"a savepoint that was rolled back", PLAIN, true, {
		"1 0-1 put w=1 tx=1 : created v=1 w=1",
		"1 2-3 put w=2 tx=1 part=1 undone : updated v=2 w=2",
		"1 4-5 get_entry tx=1 part=1 undone : entry v=2 w=2",
		"1 6-7 get_entry tx=1 : entry v=1 w=1", "tx=1 8-9 commit",
		"2 10-11 get_entry : entry v=1 w=1"}},
	{"put and deleted in one transaction", PLAIN, true, {
		"1 0-1 put w=1 tx=1 : created v=1 w=1", "1 2-3 delete tx=1 : deleted v=1 w=1",
		"2 2-3 get : nothing", "tx=1 8-9 commit", "2 10-11 put w=2 : created v=2 w=2"}},
	{"over, before a touch is committed", PLAIN, true, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5",
		"1 4-5 touch ttl=9 tx=1 : touched v=1 w=1 e=13.5",
		"2 6-7 get : nothing", "tx=1 8-9 commit", "2 10-11 get_entry : entry v=1 w=1 e=13.5"}},
	{"over, and made anew", ACCESS, true, {
		"1 0-1 put w=1 : created v=1 w=1 e=10.5", "1 5-6 touch : touched v=1 w=1 e=15.5",
		"2 16-17 get : nothing", "2 18-19 put w=2 : created v=4 w=2 e=28.5",
		"2 19-20 touch : fresh v=4 w=2 e=28.5"}},
	{"an old snapshot", PLAIN, true, {
		"1 0-1 put w=1 : created v=1 w=1", "2 2-3 get tx=1 : entry w=1",
		"1 4-5 put w=2 : updated v=2 w=2",
		"2 6-7 get_entry tx=1 : entry v=1 w=1", "tx=1 8-9 rr commit"}},
	{"a lease passed on", LEASES, true, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5", "2 2-3 acquire ttl=5 : taken o=1 e=5.5",
		"1 3-4 acquire ttl=9 : acquired v=1 e=12.5",
		"1 5-6 renew ttl=3 exp=1 : renewed v=1 o=1 e=8.5",
		"1 6-7 assert_lease exp=1 : passed", "2 9-10 acquire ttl=50 : acquired v=2 e=59.5",
		"1 11-12 assert_lease exp=1 : refused", "1 11-12 release exp=1 : stale v=2 o=2 e=59.5",
		"2 13-14 release exp=2 : released v=2 o=2 e=59.5",
		"1 15-16 acquire ttl=5 : acquired v=3 e=20.5"}},
	{"an unknown acquire, asked for again", LEASES, true, {
		"1 0-5 acquire ttl=50 : ?", "1 6-7 acquire ttl=2 : acquired v=4 e=53",
		"2 8-9 acquire ttl=5 : taken o=1 e=53"}},

	{"no longer than the longest life", CAPPED, true, {
		"1 0-1 put w=1 : created v=1 w=1 e=20.5", "1 2-3 put w=2 ttl=5 : updated v=2 w=2 e=7.5",
		"1 4-5 persist : persisted v=2 w=2 e=20.5", "1 6-7 touch ttl=50 : fresh v=2 w=2 e=20.5",
		"1 8-9 put w=3 : updated v=3 w=3 e=20.5", "1 21-22 get : nothing"}},

	{"persisted, and persisted again while waiting", PLAIN, true, {
		"1 0-1 put w=1 ttl=20 : created v=1 w=1 e=20.5",
		"2 2-5 persist tx=1 : persisted v=1 w=1", "3 3-4 persist : persisted v=1 w=1",
		"4 6-7 get_entry : entry v=1 w=1", "tx=1 8-9 commit"}},
	{"waits for a row that then still lives", PLAIN, true, {
		"1 0-1 put w=1 ttl=20 : created v=1 w=1 e=20.5",
		"1 2-3 merge w=2 tx=1 : updated v=2 w=2 e=20.5",
		"2 4-31 delete : deleted v=2 w=2 e=20.5", "tx=1 10-11 commit"}},
	{"locked by who has asserted the lease that is over", LEASES, true, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5", "1 2-3 assert_lease exp=1 tx=1 : passed",
		"2 6-7 acquire ttl=5 : locked", "tx=1 8-9 commit",
		"2 10-11 acquire ttl=5 : acquired v=2 e=15.5"}},
	{"locked by a transaction that then rolls back", LEASES, true, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5",
		"3 6-7 acquire ttl=5 tx=1 : acquired v=2 e=11.5", "2 6.5-8 acquire ttl=5 : locked",
		"tx=1 9-10 abort", "2 11-12 acquire ttl=5 : acquired v=4 e=16.5"}},
	{"locked by one who takes it at the same time", LEASES, true, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5", "3 6-8 acquire ttl=5 : acquired v=2 e=12.5",
		"2 6-7 acquire ttl=5 : locked"}},
	{"locked by an expire", LEASES, true, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5", "3 6-9 expire : swept n=1",
		"2 7-8 acquire ttl=5 : locked"}},
	{"locked by a call of which nobody knows", LEASES, true, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5", "3 5-8 release exp=1 : ?",
		"2 6-7 acquire ttl=5 : locked"}},
	{"swept when it is over", PLAIN, true, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5", "3 6-7 expire : swept n=1",
		"1 8-9 put w=2 ttl=5 : created v=2 w=2 e=13.5", "3 15-16 expire : swept n=1",
		"3 17-18 expire : swept n=0"}},
	{"swept beside its end and a new one", PLAIN, true, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5", "3 5-9 expire : swept n=1",
		"1 6-7 put w=2 ttl=50 : created v=2 w=2 e=56.5"}},
	{"two swept, by the one that could", PLAIN, true, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5", "3 2-30 expire : swept n=1",
		"4 6-7 expire : swept n=1", "1 8-9 put w=2 ttl=5 : created v=2 w=2 e=13.5"}},
	{"swept what an unknown call has left", PLAIN, true, {
		"1 0-3 put w=1 ttl=5 : ?", "3 9-10 expire : swept n=1"}},
	{"created where what came later is gone again", PLAIN, true, {
		"2 0-1 get tx=1 : nothing", "1 2-3 put w=1 : created v=1 w=1",
		"1 4-5 delete : deleted v=1 w=1", "2 6-7 put w=2 tx=1 : created v=2 w=2",
		"tx=1 8-9 rr commit"}},
	{"created where what the snapshot saw may have been swept", PLAIN, true, {
		"1 0-1 put w=1 ttl=2 : created v=1 w=1 e=2.5", "2 3-4 get tx=1 : nothing",
		"1 5-6 put w=1 : created v=2 w=1", "1 7-8 delete : deleted v=2 w=1",
		"2 9-10 put w=2 tx=1 : created v=3 w=2", "tx=1 11-12 rr commit"}},
	{"deleted at REPEATABLE READ, as an unknown call had left it", CAPPED, true, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5", "2 2-3 touch ttl=50 : ?",
		"3 4-5 get tx=1 : entry w=1", "3 6-7 delete tx=1 : deleted v=1 w=1 e=20.5",
		"4 8-9 get_and_touch ttl=50 : entry v=1 w=1 e=20.5 c=0.5", "tx=1 10-11 rr commit"}},
	{"updated what an unknown call had made anew", PLAIN, true, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5", "2 3-8 put w=2 ttl=20 : ?",
		"4 5-5.2 put w=3 ttl=30 : ?",
		"3 9-10 put w=4 : updated v=4 w=4", "3 11-12 get_entry : entry v=4 w=4 c=7"}},
	{"renewed to the same end", LEASES, true, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5",
		"1 2-3 renew ttl=3 exp=1 : renewed v=1 o=1 e=5.5",
		"2 6-7 acquire ttl=5 : acquired v=2 e=11.5"}},
	{"persisted before its end, and again after it, by one who waited", CAPPED, true, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5",
		"2 2-3 persist tx=1 : persisted v=1 w=1 e=20.5",
		"3 6-9 persist : persisted v=1 w=1 e=20.5", "tx=1 7-8 commit"}},
	{"two renew at the same time, and one of them releases", LEASES, true, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5",
		"2 2-5 renew ttl=50 exp=1 : renewed v=1 o=1 e=54",
		"3 3-5 renew ttl=90 exp=1 : renewed v=1 o=1 e=93.5",
		"2 6-7 release exp=1 : released v=1 o=1 e=54"}},

	{"created where the snapshot has what was deleted since", PLAIN, false, {
		"1 0-1 put w=1 : created v=1 w=1", "2 2-3 get tx=1 : entry w=1",
		"1 4-5 delete : deleted v=1 w=1", "2 6-7 put w=2 tx=1 : created v=2 w=2",
		"tx=1 8-9 rr commit"}},
	{"acquired where the snapshot has what was released since", LEASES, false, {
		"1 0-1 acquire ttl=50 : acquired v=1 e=50.5", "2 2-3 get_entry tx=1 : entry v=1 o=1 e=50.5",
		"1 4-5 release exp=1 : released v=1 o=1 e=50.5",
		"2 6-7 acquire ttl=5 tx=1 : acquired v=2 e=11.5", "tx=1 8-9 rr commit"}},
	{"waits for a row that is over by then", PLAIN, false, {
		"1 0-1 put w=1 ttl=20 : created v=1 w=1 e=20.5",
		"1 2-3 merge w=2 tx=1 : updated v=2 w=2 e=20.5",
		"2 4-31 delete : deleted v=2 w=2 e=20.5", "tx=1 29-30 commit"}},
	{"longer than the longest life", CAPPED, false, {
		"1 0-1 put w=1 : created v=1 w=1 e=20.5",
		"1 2-3 put w=2 ttl=50 : updated v=2 w=2 e=52.5"}},
	{"the longest life begins anew", CAPPED, false, {
		"1 0-1 put w=1 : created v=1 w=1 e=20.5", "1 2-3 put w=2 : updated v=2 w=2 e=22.5"}},
	{"an old entry is read", PLAIN, false, {
		"1 0-1 put w=1 : created v=1 w=1", "1 2-3 put w=2 : updated v=2 w=2",
		"2 4-5 get_entry : entry v=1 w=1"}},
	{"an old value is read", PLAIN, false, {
		"1 0-1 put w=1 : created v=1 w=1", "1 2-3 put w=2 : updated v=2 w=2",
		"2 4-5 get : entry w=1"}},
	{"one read sees the write, a later one does not", PLAIN, false, {
		"1 0-1 put w=1 : created v=1 w=1", "1 2-20 put w=2 : updated v=2 w=2",
		"2 4-5 get_entry : entry v=2 w=2", "3 6-7 get_entry : entry v=1 w=1"}},
	{"read before it was written", PLAIN, false, {
		"2 0-1 get_entry : entry v=1 w=1", "1 2-3 put w=1 : created v=1 w=1"}},
	{"read before it was committed", PLAIN, false, {
		"1 0-1 put w=1 tx=1 : created v=1 w=1", "2 2-3 get_entry : entry v=1 w=1",
		"tx=1 4-5 commit"}},
	{"what was rolled back is read", PLAIN, false, {
		"1 0-1 put w=1 tx=1 : created v=1 w=1", "tx=1 2-3 abort",
		"2 4-5 get_entry : entry v=1 w=1"}},
	{"what was overwritten in the same transaction is read", PLAIN, false, {
		"1 0-1 put w=1 tx=1 : created v=1 w=1", "1 2-3 put w=2 tx=1 : updated v=2 w=2",
		"tx=1 4-9 commit", "2 5-6 get_entry : entry v=1 w=1"}},
	{"what a savepoint took back is read", PLAIN, false, {
		"1 0-1 put w=1 tx=1 part=1 undone : created v=1 w=1", "tx=1 4-5 commit",
		"2 6-7 get_entry : entry v=1 w=1"}},
	{"its own write is not seen", PLAIN, false, {
		"1 0-1 put w=1 tx=1 : created v=1 w=1", "1 2-3 get tx=1 : nothing", "tx=1 4-5 commit"}},
	{"two swaps of one version", PLAIN, false, {
		"1 0-1 put w=1 : created v=1 w=1", "1 2-5 compare_and_swap w=2 exp=1 : updated v=2 w=2",
		"2 2-5 compare_and_swap w=3 exp=1 : updated v=3 w=3"}},
	{"a swap of an old version", PLAIN, false, {
		"1 0-1 put w=1 : created v=1 w=1", "1 2-3 put w=2 : updated v=2 w=2",
		"2 4-5 compare_and_swap w=3 exp=1 : updated v=3 w=3"}},
	{"stale, but it is the version", PLAIN, false, {
		"1 0-1 put w=1 : created v=1 w=1", "2 4-5 compare_and_swap w=3 exp=1 : stale v=1 w=1"}},
	{"created over a live entry", PLAIN, false, {
		"1 0-1 put w=1 : created v=1 w=1", "2 4-5 put_if_absent w=3 : created v=2 w=3"}},
	{"updated, and nothing is there", PLAIN, false, {"1 0-1 put w=1 : updated v=1 w=1"}},
	{"exists after it was deleted", PLAIN, false, {
		"1 0-1 put w=1 : created v=1 w=1", "1 2-3 delete : deleted v=1 w=1",
		"2 4-5 put_if_absent w=3 : exists v=1 w=1"}},
	{"deleted twice", PLAIN, false, {
		"1 0-1 put w=1 : created v=1 w=1", "1 2-5 delete : deleted v=1 w=1",
		"2 2-5 delete : deleted v=1 w=1"}},
	{"an increment is lost", PLAIN, false, {
		"1 0-1 put w=1 n=5 : created v=1 w=1 n=5", "1 2-5 increment by=2 : updated v=2 w=1 n=7",
		"2 2-5 increment by=3 : updated v=3 w=1 n=8"}},
	{"a patch is lost", PLAIN, false, {
		"1 0-1 put w=1 n=5 : created v=1 w=1 n=5", "1 2-5 merge w=2 m=4 : updated v=2 w=2 n=5 m=4",
		"2 2-5 merge w=3 : updated v=3 w=3 n=5"}},
	{"absent, but it lives", PLAIN, false, {
		"1 0-1 put w=1 ttl=50 : created v=1 w=1 e=50.5", "2 4-5 get : nothing"}},
	{"absent for a touch, but it lives", PLAIN, false, {
		"1 0-1 put w=1 : created v=1 w=1", "2 4-5 touch ttl=3 : absent"}},
	{"returned when it is over", PLAIN, false, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5", "2 6-7 get_entry : entry v=1 w=1 e=5.5"}},
	{"its value returned when it is over", PLAIN, false, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5", "2 6-7 get : entry w=1"}},
	{"updated when it is over", PLAIN, false, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5", "2 6-7 put w=2 : updated v=2 w=2"}},
	{"swapped when it is over", PLAIN, false, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5",
		"2 6-7 compare_and_swap w=2 exp=1 : updated v=2 w=2 e=5.5"}},
	{"lives too long", PLAIN, false, {"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=7"}},
	{"lives too short", PLAIN, false, {"1 1-2 put w=1 ttl=5 : created v=1 w=1 e=5.9"}},
	{"a swap loses the end of the life", PLAIN, false, {
		"1 0-1 put w=1 ttl=50 : created v=1 w=1 e=50.5",
		"2 2-3 compare_and_swap w=2 exp=1 : updated v=2 w=2"}},
	{"a write prolongs what nothing should", CREATE, false, {
		"1 0-1 put w=1 : created v=1 w=1 e=10.5", "2 2-3 put w=2 : updated v=2 w=2 e=12.5"}},
	{"a touch shortens", PLAIN, false, {
		"1 0-1 put w=1 ttl=50 : created v=1 w=1 e=50.5",
		"2 2-3 touch ttl=5 : touched v=1 w=1 e=7.5"}},
	{"a touch revives", PLAIN, false, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5",
		"2 6-7 touch ttl=5 : touched v=1 w=1 e=11.5"}},
	{"a touch changes the version", PLAIN, false, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5",
		"2 2-3 touch ttl=9 : touched v=2 w=1 e=11.5"}},
	{"fresh, but a touch is due", PLAIN, false, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5", "2 2-3 touch ttl=9 : fresh v=1 w=1 e=5.5"}},
	{"fresh, but a tenth of the life has passed", ACCESS, false, {
		"1 0-1 put w=1 : created v=1 w=1 e=10.5", "2 5-6 touch : fresh v=1 w=1 e=10.5"}},
	{"touched, but it is not due", ACCESS, false, {
		"1 0-1 put w=1 : created v=1 w=1 e=10.9", "2 1-1.1 touch : touched v=1 w=1 e=11.05"}},
	{"a touch is lost", PLAIN, false, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5",
		"1 2-3 touch ttl=9 : touched v=1 w=1 e=11.5",
		"2 4-5 get_entry : entry v=1 w=1 e=5.5"}},
	{"get_and_touch does not touch", PLAIN, false, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5",
		"2 2-3 get_and_touch ttl=9 : entry v=1 w=1 e=5.5"}},
	{"persisted, with an end", PLAIN, false, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5", "2 2-3 persist : persisted v=1 w=1 e=5.5"}},
	{"persisted when it is over", PLAIN, false, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5", "2 6-7 persist : persisted v=1 w=1"}},
	{"versions fall", PLAIN, false, {
		"1 0-1 put w=1 : created v=5 w=1", "1 2-3 put w=2 : updated v=3 w=2"}},
	{"versions fall over a delete", PLAIN, false, {
		"1 0-1 put w=1 : created v=5 w=1", "1 2-3 delete : deleted v=5 w=1",
		"1 4-5 put w=2 : created v=3 w=2"}},
	{"a version twice", PLAIN, false, {
		"1 0-1 put w=1 : created v=5 w=1", "1 2-3 put w=2 : updated v=5 w=2"}},
	{"an entry that nobody wrote", PLAIN, false, {
		"1 0-1 put w=1 : created v=5 w=1", "1 2-3 get_entry : entry v=7 w=9"}},
	{"an entry that no unknown call can have written", PLAIN, false, {
		"1 0-1 put w=1 : created v=5 w=1", "2 2-8 put w=2 : ?",
		"1 2-3 get_entry : entry v=7 w=9"}},
	{"seen before the unknown call began", PLAIN, false, {
		"1 0-1 put w=1 : created v=5 w=1", "1 2-3 get_entry : entry v=7 w=2",
		"2 4-8 put w=2 : ?"}},
	{"one unknown call happens twice", PLAIN, false, {
		"1 0-1 put w=1 n=1 : created v=1 w=1 n=1", "2 2-8 increment by=40 : ?",
		"3 9-10 increment by=3 : updated v=5 w=1 n=84"}},
	{"another value under the same version", PLAIN, false, {
		"1 0-1 put w=1 : created v=5 w=1", "1 2-3 get_entry : entry v=5 w=2"}},
	{"created anew by an update", PLAIN, false, {
		"1 0-1 put w=1 : created v=1 w=1", "1 2-3 put w=2 : updated v=2 w=2",
		"1 4-5 get_entry : entry v=2 w=2 c=2.5"}},
	{"wait_for returns what is not newer", PLAIN, false, {
		"1 0-1 put w=1 : created v=5 w=1", "1 2-3 wait_for exp=5 : entry v=5 w=1"}},
	{"wait_for does not see what is newer", PLAIN, false, {
		"1 0-1 put w=1 : created v=5 w=1", "1 2-3 wait_for exp=4 : nothing"}},
	{"an update is lost at REPEATABLE READ", PLAIN, false, {
		"1 0-1 put w=1 n=1 : created v=1 w=1 n=1", "2 2-3 get_entry tx=1 : entry v=1 w=1 n=1",
		"1 4-5 increment by=1 : updated v=2 w=1 n=2",
		"2 6-7 increment by=1 tx=1 : updated v=3 w=1 n=3",
		"tx=1 8-9 rr commit"}},
	{"a snapshot moves", PLAIN, false, {
		"1 0-1 put w=1 : created v=1 w=1", "2 2-3 get tx=1 : entry w=1",
		"1 4-5 put w=2 : updated v=2 w=2",
		"2 6-7 get_entry tx=1 : entry v=2 w=2", "tx=1 8-9 rr commit"}},
	{"two holders", LEASES, false, {
		"1 0-1 acquire ttl=50 : acquired v=1 e=50.5", "2 2-3 acquire ttl=5 : acquired v=2 e=7.5"}},
	{"two holders, one by a renewal", LEASES, false, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5",
		"1 2-3 renew ttl=50 exp=1 : renewed v=1 o=1 e=52.5",
		"2 6-7 acquire ttl=5 : acquired v=2 e=11.5"}},
	{"a lease is renewed when it is over", LEASES, false, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5",
		"1 6-7 renew ttl=50 exp=1 : renewed v=1 o=1 e=56.5"}},
	{"a lease is renewed under another's token", LEASES, false, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5", "2 6-7 acquire ttl=50 : acquired v=2 e=56.5",
		"1 8-9 renew ttl=50 exp=1 : renewed v=2 o=2 e=58.5"}},
	{"taken, but it was released", LEASES, false, {
		"1 0-1 acquire ttl=50 : acquired v=1 e=50.5",
		"1 2-3 release exp=1 : released v=1 o=1 e=50.5",
		"2 4-5 acquire ttl=5 : taken o=1 e=50.5"}},
	{"taken by oneself", LEASES, false, {
		"1 0-1 acquire ttl=50 : acquired v=1 e=50.5", "1 4-5 acquire ttl=5 : taken o=1 e=50.5"}},
	{"the same owner gets another token", LEASES, false, {
		"1 0-1 acquire ttl=50 : acquired v=1 e=50.5",
		"1 4-5 acquire ttl=90 : acquired v=2 e=94.5"}},
	{"a token twice", LEASES, false, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5", "2 6-7 acquire ttl=5 : acquired v=1 e=11.5"}},
	{"a lower token", LEASES, false, {
		"1 0-1 acquire ttl=5 : acquired v=9 e=5.5", "2 6-7 acquire ttl=5 : acquired v=8 e=11.5"}},
	{"asserted when it is over", LEASES, false, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5", "1 6-7 assert_lease exp=1 : passed"}},
	{"asserted under an old token", LEASES, false, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5", "2 6-7 acquire ttl=50 : acquired v=2 e=56.5",
		"1 8-9 assert_lease exp=1 : passed"}},
	{"refused, but it is held", LEASES, false, {
		"1 0-1 acquire ttl=50 : acquired v=1 e=50.5", "1 6-7 assert_lease exp=1 : refused"}},
	{"an asserted lease changes hands", LEASES, false, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5", "1 2-3 assert_lease exp=1 tx=1 : passed",
		"2 6-7 acquire ttl=5 : acquired v=2 e=11.5", "tx=1 8-9 commit"}},
	{"locked, but nothing is there", LEASES, false, {
		"2 0-9 delete : absent", "1 2-3 acquire ttl=5 : locked"}},
	{"locked, but it was released", LEASES, false, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5", "1 2-3 release exp=1 : released v=1 o=1 e=5.5",
		"3 6-9 renew ttl=5 exp=1 : absent", "2 7-8 acquire ttl=5 : locked"}},
	{"locked, but it is held", LEASES, false, {
		"1 0-1 acquire ttl=50 : acquired v=1 e=50.5",
		"1 2-3 renew ttl=60 exp=1 tx=1 : renewed v=1 o=1 e=62.5", "2 6-7 acquire ttl=5 : locked",
		"tx=1 8-9 commit"}},
	{"locked by nobody", LEASES, false, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5", "2 6-7 acquire ttl=5 : locked"}},
	{"locked by a transaction that has ended", LEASES, false, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5", "1 2-3 assert_lease exp=1 tx=1 : passed",
		"tx=1 6-7 commit", "2 8-9 acquire ttl=5 : locked"}},
	{"locked by a call that has not begun", LEASES, false, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5", "2 6-7 acquire ttl=5 : locked",
		"3 8-9 acquire ttl=5 tx=1 : acquired v=2 e=13.5", "tx=1 10-11 commit"}},
	{"locked by a read", LEASES, false, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5", "3 6-9 get_entry : nothing",
		"3 6-9 wait_for : nothing", "2 7-8 acquire ttl=5 : locked"}},
	{"locked by one another", LEASES, false, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5", "2 6-9 acquire ttl=5 : locked",
		"3 6-9 acquire ttl=5 : locked"}},
	{"locked by oneself", LEASES, false, {
		"1 0-1 acquire ttl=5 : acquired v=1 e=5.5", "1 2-3 assert_lease exp=1 tx=1 : passed",
		"1 7-8 acquire ttl=5 tx=1 : locked", "tx=1 9-10 commit"}},
	{"swept, but it lives", PLAIN, false, {
		"1 0-1 put w=1 ttl=50 : created v=1 w=1 e=50.5", "3 6-9 expire : swept n=1"}},
	{"swept, but it never ends", PLAIN, false, {
		"1 0-1 put w=1 : created v=1 w=1", "3 6-9 expire : swept n=1"}},
	{"swept twice", PLAIN, false, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5", "3 6-7 expire : swept n=1",
		"3 8-9 expire : swept n=1"}},
	{"two swept of one", PLAIN, false, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5", "3 6-7 expire : swept n=2"}},
	{"swept what was deleted", PLAIN, false, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5",
		"1 2-3 delete : deleted v=1 w=1 e=5.5", "3 6-7 expire : swept n=1"}},
	{"swept what was rolled back", PLAIN, false, {
		"1 0-1 put w=1 ttl=5 tx=1 : created v=1 w=1 e=5.5", "tx=1 2-3 abort",
		"3 6-7 expire : swept n=1"}},
	{"swept what was prolonged", PLAIN, false, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5",
		"1 2-3 touch ttl=50 : touched v=1 w=1 e=52.5", "3 4-5 expire : swept n=1"}},
	{"swept before it was there", PLAIN, false, {
		"3 0-1 expire : swept n=1", "1 2-3 put w=1 ttl=5 : created v=1 w=1 e=7.5"}},
	{"swept what had made room for a new one", PLAIN, false, {
		"1 0-1 put w=1 ttl=5 : created v=1 w=1 e=5.5", "1 6-7 put w=2 : created v=2 w=2",
		"3 8-9 expire : swept n=1"}},
};

static StoreCall
call_number(const char *name)
{
	for (int call = 0; call < STORE_CALLS; call++)
		if (strcmp(name, store_call_name(call)) == 0)
			return call;
	die("no call \"%s\"", name);
}

/* The milliseconds of a line as nanoseconds */
static int64_t
nanos(double ms)
{
	return (int64_t) (ms * 1e6 + 0.5);
}

static int64_t
micros(double ms)
{
	return BASE + (int64_t) (ms * 1e3 + 0.5);
}

/* A word of the form name=number, of the arguments or of the answer */
static void
read_number(StoreOp *op, bool answer, const char *name, double number)
{
	StoreValue *value = answer ? &op->answer : &op->value;

	if (strcmp(name, "w") == 0)
		*value = (StoreValue) {value->has | HAS_W, value->n, number, value->m, value->owner};
	else if (strcmp(name, "n") == 0)
		*value = (StoreValue) {value->has | HAS_N, number, value->w, value->m, value->owner};
	else if (strcmp(name, "m") == 0)
		*value = (StoreValue) {value->has | HAS_M, value->n, value->w, number, value->owner};
	else if (strcmp(name, "o") == 0)
		*value = (StoreValue) {.has = HAS_OWNER, .owner = number};
	else if (strcmp(name, "v") == 0)
		op->version = number;
	else if (strcmp(name, "e") == 0)
		op->expires = micros(number);
	else if (strcmp(name, "c") == 0)
		op->created = micros(number);
	else if (strcmp(name, "exp") == 0)
		op->expected = number;
	else if (strcmp(name, "ttl") == 0)
		op->ttl = number * 1000;
	else if (strcmp(name, "by") == 0)
		op->by = number;
	else if (strcmp(name, "part") == 0)
		op->part = number;
	else
		die("what is \"%s\"?", name);
}

static void
read_word(StoreOp *op, Txn *txns, bool answer, const char *word)
{
	char		name[24];
	double		number;

	if (sscanf(word, "%23[a-z]=%lf", name, &number) == 2 && strcmp(name, "tx") == 0)
		op->txn = &txns[(int) number];
	else if (sscanf(word, "%23[a-z]=%lf", name, &number) == 2)
		read_number(op, answer, name, number);
	else if (strcmp(word, "undone") == 0)
		op->undone = true;
	else if (strcmp(word, "drop") == 0)
		op->value.has |= DROPS_M;
	else if (strcmp(word, "?") == 0)
		op->unknown = true;
	else
	{
		for (op->said = 0; op->said < SAIDS; op->said++)
			if (strcmp(word, said_name(op->said)) == 0)
				break;
		if (op->said == SAIDS)
			die("what is \"%s\"?", word);
		op->answered = true;
	}
}

/* The end of a transaction */
static void
read_end(const char *line, Txn *txns)
{
	int			number;
	double		inv;
	double		comp;

	if (sscanf(line, "tx=%d %lf-%lf", &number, &inv, &comp) != 3)
		die("not a line: %s", line);
	txns[number].end_inv = nanos(inv);
	txns[number].end_comp = nanos(comp);
	txns[number].repeatable = strstr(line, " rr") != NULL;
	txns[number].fate = strstr(line, " commit") ? COMMITTED : ABORTED;
}

static StoreOp *
read_call(const char *line, Txn *txns, Txn *single)
{
	StoreOp    *op = allot(sizeof(StoreOp));
	char		name[40];
	char		rest[200];
	double		inv;
	double		comp;
	bool		answer = false;
	char	   *next;

	op->expected = ANY_VERSION;
	op->expires = FOREVER;
	if (sscanf(line, "%d %lf-%lf %39s %199[^\n]", &op->worker, &inv, &comp, name, rest) != 5)
		die("not a line: %s", line);
	op->call = call_number(name);
	op->inv = nanos(inv);
	op->comp = nanos(comp);
	op->from = micros(inv);
	op->to = micros(comp);
	if (op->call == DO_ACQUIRE)
		op->value = op->answer = (StoreValue) {.has = HAS_OWNER, .owner = op->worker};
	op->txn = single;
	for (char *word = strtok_r(rest, " ", &next); word; word = strtok_r(NULL, " ", &next))
		if (strcmp(word, ":") == 0)
			answer = true;
		else
			read_word(op, txns, answer, word);
	*single = (Txn) {.fate = COMMITTED, .single = true, .end_inv = op->inv, .end_comp = op->comp};
	if (op->txn != single && op->txn->snapshot_comp == 0)
	{
		op->txn->snapshot_inv = op->inv;
		op->txn->snapshot_comp = op->comp;
	}
	return op;
}

/* The calls of one worker after the other, as a load brings them */
static int
compare_ops(const void *a, const void *b)
{
	const StoreOp *left = *(StoreOp *const *) a;
	const StoreOp *right = *(StoreOp *const *) b;

	if (left->worker != right->worker)
		return left->worker < right->worker ? -1 : 1;
	return left->inv < right->inv ? -1 : left->inv > right->inv;
}

static bool
run_case(const Case *test)
{
	StoreOp    *ops[MOST_OPS];
	Txn			txns[MOST_TXNS] = {{0}};
	Txn			singles[MOST_OPS];
	History		history = {.rules = rules, .rule_of = &test->rule, .keys = 1, .ops = ops};
	bool		right;

	for (int i = 0; i < MOST_OPS && test->lines[i] != NULL; i++)
		if (strncmp(test->lines[i], "tx=", 3) == 0)
			read_end(test->lines[i], txns);
		else
		{
			ops[history.count] = read_call(test->lines[i], txns, &singles[i]);
			history.count++;
		}
	qsort(ops, history.count, sizeof(StoreOp *), compare_ops);
	check_history(&history);
	right = test->good == (history.findings.count == 0);
	if (!right)
		complain("%s history \"%s\": %s", test->good ? "good" : "bad", test->name,
				 test->good ? history.findings.first : "nothing found");
	for (long i = 0; i < history.count; i++)
		free(ops[i]);
	return right;
}

int
history_selftest(void)
{
	int			good = 0;
	int			bad = 0;
	int			right = 0;

	for (int i = 0; i < lengthof(cases); i++)
	{
		good += cases[i].good;
		bad += !cases[i].good;
		right += run_case(&cases[i]);
	}
	printf("%d good and %d bad histories, %d of %d judged right\n", good, bad, right, good + bad);
	return right < good + bad;
}
