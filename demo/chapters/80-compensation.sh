# Chapter: a debit whose second half fails and is compensated: held and voided, or posted and sent back.
# shellcheck shell=bash
chapter 'A debit whose second half fails'

sql setup "SELECT keep.create_ledger('travel', history => true)"
shows 'This ledger keeps the history of its accounts.' "$(field create_ledger)" = travel
for account in airline hotel carol; do
	sql setup "SELECT account, balance FROM keep.open_account('travel', '$account', 'EUR')"
	shows "An account: $account." "$(field account) $(field balance)" = "$account 0"
done
sql setup "SELECT account FROM keep.open_account('travel', 'bank', 'EUR', min_balance => NULL)"
shows 'And the bank.' "$(field account)" = bank
sql setup "SELECT status, to_balance FROM keep.transfer('travel', 'deposit', 'bank', 'carol', 100)"
shows 'Carol has 100.' "$(field status) $(field to_balance)" = 'posted 100'

balances() {
	sql "$1" "SELECT a AS account, balance, available FROM unnest('{carol,airline,hotel}'::text[]) a, keep.balance('travel', a)"
}

balances app
before=$ANSWER
shows 'Before the trip is booked.' "$(field balance) $(field available)" = '100 100'

sql app-1 "SELECT status, from_balance, to_balance FROM keep.transfer('travel', 'trip-1/flight', 'carol', 'airline', 60, hold => '10 minutes')"
shows 'The first half: 60 for the flight are held, not yet paid.' "$(field status)" = pending
balances app-1
shows 'She still has them, but cannot spend them elsewhere.' "$(field balance) $(field available)" = '100 40'
sql app-1 "SELECT status, reason FROM keep.transfer('travel', 'trip-1/hotel', 'carol', 'hotel', 70)"
shows 'The second half fails: 70 for the hotel are more than what is left.' \
	"$(field status) $(field reason)" = 'rejected insufficient_funds'
sql app-1 "SELECT status, replayed FROM keep.void_transfer('travel', 'trip-1/flight')"
shows 'So the first is given up.' "$(field status) $(field replayed)" = 'voided f'
sql app-2 "SELECT status, replayed FROM keep.void_transfer('travel', 'trip-1/flight')"
shows 'Another instance, which did not hear of it, gives it up as well: it happens once.' \
	"$(field status) $(field replayed)" = 'voided t'
balances app
shows 'All is as it was before.' "$ANSWER" = "$before"

sql app-1 "SELECT status, from_balance, to_balance FROM keep.transfer('travel', 'trip-2/flight', 'carol', 'airline', 60)"
shows 'The other way: the flight is paid at once ...' "$(field status) $(field from_balance)" = 'posted 40'
sql app-1 "SELECT account, frozen FROM keep.freeze_account('travel', 'hotel')"
shows '... meanwhile the hotel closes ...' "$(field frozen)" = t
sql app-1 "SELECT status, reason FROM keep.transfer('travel', 'trip-2/hotel', 'carol', 'hotel', 30)"
shows '... and cannot be paid.' "$(field status) $(field reason)" = 'rejected account_frozen'
sql app-1 "SELECT status, amount, to_balance, replayed FROM keep.reverse_transfer('travel', 'trip-2/flight/refund', 'trip-2/flight')"
shows 'What was paid is sent back, by a transfer of its own.' "$(field status) $(field amount) $(field to_balance)" = 'posted 60 100'
sql app-2 "SELECT status, amount, to_balance, replayed FROM keep.reverse_transfer('travel', 'trip-2/flight/refund', 'trip-2/flight')"
shows 'A retry of that sends nothing back a second time ...' "$(field status) $(field replayed)" = 'posted t'
sql app-2 "SELECT status, reason FROM keep.reverse_transfer('travel', 'trip-2/flight/refund-2', 'trip-2/flight')"
shows '... and neither does somebody with another id: nothing is left to send back.' \
	"$(field status) $(field reason)" = 'rejected exceeds_remaining'
balances app
shows 'All is as it was before.' "$ANSWER" = "$before"

sql app-1 "SELECT id, status, reason FROM keep.transfer_batch('travel', '[
	{\"id\": \"trip-3/flight\", \"from_account\": \"carol\", \"to_account\": \"airline\", \"amount\": 60, \"chain\": \"trip-3\"},
	{\"id\": \"trip-3/hotel\", \"from_account\": \"carol\", \"to_account\": \"hotel\", \"amount\": 30, \"chain\": \"trip-3\"}]')"
shows 'Where both halves are in this ledger, nothing needs to be compensated: a chain is all or nothing.' \
	"$(grep -c -e 'rejected | chain_failed' -e 'rejected | account_frozen' <<<"$ANSWER")" = 2

sql auditor "SELECT transfer, counterparty, amount, balance, reverses FROM keep.statement('travel', 'carol')"
shows 'The statement shows what was paid and sent back, and nothing of what was only held.' \
	"$(awk -F '|' '{ gsub(/ /, ""); print $1 $3 }' <<<"$ANSWER" | grep -cx -e 'deposit100' -e 'trip-2/flight-60' -e 'trip-2/flight/refund60')/$(tail -n 1 <<<"$ANSWER")" = '3/(3 rows)'
sql auditor "SELECT * FROM keep.verify_ledger('travel')"
shows 'And the books are right: every sum is that of its transfers.' \
	"$(grep -c '| t ' <<<"$ANSWER") $(grep -c '| f ' <<<"$ANSWER")" = "$(($(wc -l <<<"$ANSWER") - 3)) 0"
