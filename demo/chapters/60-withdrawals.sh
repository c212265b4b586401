# Chapter: two withdrawals of all that an account has, at the same time; one is paid.
# shellcheck shell=bash
chapter 'An account of 100, and two withdrawals of 100 at once'

sql setup "SELECT keep.create_ledger('bank')"
shows 'A ledger is two ordinary tables, of accounts and of transfers.' "$(field create_ledger)" = bank
sql setup "SELECT account, balance FROM keep.open_account('bank', 'cash', 'EUR', min_balance => NULL)"
shows 'Cash stands for the world outside: it may be overdrawn.' "$(field account) $(field balance)" = 'cash 0'
sql setup "SELECT account, balance FROM keep.open_account('bank', 'alice', 'EUR')"
shows 'Alice may not: the least that her account may hold is 0.' "$(field account) $(field balance)" = 'alice 0'
sql setup "SELECT status, to_balance FROM keep.transfer('bank', 'deposit-1', 'cash', 'alice', 100)"
shows 'She pays in 100.' "$(field status) $(field to_balance)" = 'posted 100'

# Each stays in its transaction for a while, so that the two do meet.
withdraw="SELECT '@', status, reason, from_balance FROM keep.transfer('bank', 'withdrawal-@', 'alice', 'cash', 100)"
at_once "$withdraw; SELECT pg_sleep(0.5)" atm-1 atm-2
shows 'Of two machines that ask for 100 at the same moment, one pays ...' "$(grep -c '|posted||0$' <<<"$ANSWER")" = 1
shows '... and the other one refuses, and says why. That is an answer, not an error.' \
	"$(grep -c '|rejected|insufficient_funds|0$' <<<"$ANSWER")" = 1
loser=$(grep '|rejected|' <<<"$ANSWER" | cut -d '|' -f 1)

sql app "SELECT account, balance, version FROM keep.balance('bank', 'alice')"
shows 'The account is at 0 and not at -100.' "$(field balance)" = 0

sql cashier "SELECT status, to_balance FROM keep.transfer('bank', 'deposit-2', 'cash', 'alice', 100)"
shows 'Alice pays in another 100.' "$(field status) $(field to_balance)" = 'posted 100'
sql "$loser" "SELECT status, reason, replayed FROM keep.transfer('bank', 'withdrawal-$loser', 'alice', 'cash', 100)"
shows 'A late repetition of what was refused stays refused: it can never pay out by surprise.' \
	"$(field status) $(field reason) $(field replayed)" = 'rejected insufficient_funds t'
sql "$loser" "SELECT status, reason, replayed FROM keep.transfer('bank', 'withdrawal-$loser-again', 'alice', 'cash', 100)"
shows 'Who wants to try anew gives a new id.' "$(field status) $(field replayed)" = 'posted f'
