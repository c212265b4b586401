# Chapter: a payment request that is sent again, by many at once, after a lost reply and after a crash; it is paid once.
# shellcheck shell=bash
chapter 'A payment request, sent again and again'

sql setup "SELECT keep.create_request_log('payment_requests')"
shows 'A request log is an ordinary table, of keys and what came of their requests.' "$(field create_request_log)" = payment_requests
sql setup "CREATE TABLE payments (id int GENERATED ALWAYS AS IDENTITY, customer text, amount int CHECK (amount > 0))"
shows 'Payments are rows of this table.' "$ANSWER" = 'CREATE TABLE'
sql setup "CREATE FUNCTION pay(args jsonb) RETURNS jsonb LANGUAGE sql AS 'INSERT INTO payments (customer, amount)
	VALUES (args ->> ''customer'', (args ->> ''amount'')::int) RETURNING jsonb_build_object(''payment'', id)'"
shows 'And this is how one is made: a function of ours.' "$ANSWER" = 'CREATE FUNCTION'

pay_once() {
	printf "response, replayed FROM keep.call_once('payment_requests', '%s', 'pay(jsonb)', '{\"customer\": \"dora\", \"amount\": %s}')" "$1" "$2"
}
count_payments() {
	sql auditor "SELECT count(*) AS payments, sum(amount) AS amount FROM payments"
}
mapfile -t callers < <(seq -f 'app-%g' 6)

sql app-1 "SELECT $(pay_once dora/1 10)"
shows 'Dora pays 10. The key of the request is one that her browser made.' "$(field replayed)" = f
first=$(field response)
sql app-2 "SELECT $(pay_once dora/1 10)"
shows 'She presses the button again, and another instance gets it: it has the first answer and pays nothing.' \
	"$(field replayed) $(field response)" = "t $first"
sql app-2 "SELECT $(pay_once dora/1 999)"
shows 'The same key for another amount is no retry but a mistake, and refused (KP422).' \
	"$(grep -c '^ERROR:  KP422: ' <<<"$ANSWER")" = 1
sql app-2 "SELECT $(pay_once dora/2 -5)"
shows 'An error of the function passes through as it is. Nothing is stored.' "$(grep -c '^ERROR:  23514: ' <<<"$ANSWER")" = 1
sql app-2 "SELECT $(pay_once dora/2 20)"
shows 'So the key is free, and the request may be put right.' "$(field replayed)" = f

# Each stays in its transaction for a while, so that they do meet.
at_once "SELECT '@', $(pay_once dora/3 30); SELECT pg_sleep(0.2)" "${callers[@]}"
shows 'Six instances get one request at the same moment. One of them runs it ...' "$(grep -c '|f$' <<<"$ANSWER")" = 1
shows '... the others wait for it, and all have the same answer.' \
	"$(grep -c '|t$' <<<"$ANSWER") $(cut -d '|' -f 2 <<<"$ANSWER" | sort -u | wc -l)" = '5 1'

lose_reply app-1 "SELECT $(pay_once dora/4 40)"
shows 'The client is killed before the answer comes.' "$ANSWER" = ''
sql app-2 "SELECT $(pay_once dora/4 40)"
shows 'The retry finds that it was paid.' "$(field replayed)" = t

cut_off app-1 "SELECT $(pay_once dora/5 50)"
shows 'This time the connection breaks before the commit.' "$(grep -ciE 'terminat|closed' <<<"$ANSWER")" -gt 0
sql app-2 "SELECT $(pay_once dora/5 50)"
shows 'Nothing was paid, and nothing says that it was: the retry pays.' "$(field replayed)" = f

count_payments
shows 'Five requests, five payments: 10 + 20 + 30 + 40 + 50.' "$(field payments) $(field amount)" = '5 150'
