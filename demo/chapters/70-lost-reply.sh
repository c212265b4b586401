# Chapter: transfers whose reply is lost, after the commit and before it; retries move the money once.
# shellcheck shell=bash
chapter 'A lost reply, and five retries'

sql setup "SELECT keep.create_ledger('wallets')"
shows 'A ledger for this chapter.' "$(field create_ledger)" = wallets
sql setup "SELECT account FROM keep.open_account('wallets', 'bank', 'EUR', min_balance => NULL)"
shows 'One account from which the money comes ...' "$(field account)" = bank
sql setup "SELECT account FROM keep.open_account('wallets', 'bob', 'EUR')"
shows '... and one to which it goes.' "$(field account)" = bob

pay() {
	printf "status, amount, to_balance, replayed FROM keep.transfer('wallets', '%s', 'bank', 'bob', 100)" "$1"
}
mapfile -t retries < <(seq -f 'retry-%g' 5)

lose_reply app-1 "SELECT $(pay salary-may)"
shows 'The client is killed while the server is at work. It never learns what became of its call.' "$ANSWER" = ''
sql auditor "SELECT balance FROM keep.balance('wallets', 'bob')"
shows 'The server carried it out: the money has moved.' "$(field balance)" = 100

at_once "SELECT '@', $(pay salary-may)" "${retries[@]}"
shows 'Whoever takes over sends the same again, here five times at once over connections of their own. All get the first answer ...' \
	"$(grep -c '|posted|100|100|' <<<"$ANSWER")" = 5
shows '... and learn that it is a repetition.' "$(grep -c '|t$' <<<"$ANSWER")" = 5
sql auditor "SELECT balance, credits_posted, version FROM keep.balance('wallets', 'bob')"
shows 'The money has moved once.' "$(field balance) $(field credits_posted)" = '100 100'

cut_off app-1 "SELECT $(pay salary-june)"
shows 'June. This time the connection breaks before the commit. The client cannot tell the one from the other.' \
	"$(grep -ciE 'terminat|closed' <<<"$ANSWER")" -gt 0
sql auditor "SELECT balance FROM keep.balance('wallets', 'bob')"
shows 'But now nothing has happened.' "$(field balance)" = 100

at_once "SELECT '@', $(pay salary-june)" "${retries[@]}"
shows 'It need not know: it does the same. Of five retries one moves the money ...' "$(grep -c '|posted|100|200|f$' <<<"$ANSWER")" = 1
shows '... and the other four get its answer.' "$(grep -c '|posted|100|200|t$' <<<"$ANSWER")" = 4
sql auditor "SELECT balance FROM keep.balance('wallets', 'bob')"
shows 'Two salaries, paid once each.' "$(field balance)" = 200

sql app-2 "SELECT * FROM keep.transfer('wallets', 'salary-june', 'bank', 'bob', 999)"
shows 'The same id for another amount is no retry but a mistake, and refused (KP422).' \
	"$(grep -c '^ERROR:  KP422: ' <<<"$ANSWER")" = 1
