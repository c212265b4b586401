# Chapters: an order of three steps that fails at the carrier, and one whose handlers die half-way; both are undone.
# shellcheck shell=bash
chapter 'An order that fails at the carrier'

sql setup "CREATE TABLE stock (article text PRIMARY KEY, in_stock int CHECK (in_stock >= 0))"
sql setup "INSERT INTO stock VALUES ('lamp', 5)"
shows 'There are five lamps.' "$ANSWER" = 'INSERT 0 1'
sql setup "SELECT keep.create_ledger('tills')"
for account in "outside', min_balance => NULL" "dora'" "shop'"; do
	sql setup "SELECT account FROM keep.open_account('tills', unit => 'EUR', account => '$account)"
done
sql setup "SELECT status, to_balance FROM keep.transfer('tills', 'deposit', 'outside', 'dora', 100)"
shows 'Dora has 100.' "$(field status) $(field to_balance)" = 'posted 100'

sql setup "CREATE FUNCTION reserve_stock(args jsonb) RETURNS jsonb LANGUAGE sql SET search_path = public AS '
	UPDATE stock SET in_stock = in_stock - 1 WHERE article = args ->> ''article'' RETURNING to_jsonb(in_stock)'"
sql setup "CREATE FUNCTION return_stock(step jsonb) RETURNS jsonb LANGUAGE sql SET search_path = public AS '
	UPDATE stock SET in_stock = in_stock + 1 WHERE article = step -> ''args'' ->> ''article'' RETURNING to_jsonb(in_stock)'"
shows 'The first step reserves a lamp, and its compensation puts it back.' "$ANSWER" = 'CREATE FUNCTION'
sql setup "CREATE FUNCTION take_payment(args jsonb) RETURNS jsonb LANGUAGE plpgsql SET search_path = public AS '
	DECLARE t keep.transfer_result;
	BEGIN
		SELECT * INTO t FROM keep.transfer(''tills'', args ->> ''id'', ''dora'', ''shop'', (args ->> ''amount'')::bigint);
		IF t.status <> ''posted'' THEN RAISE EXCEPTION ''%'', t.reason; END IF;
		RETURN to_jsonb(t.id);
	END'"
sql setup "CREATE FUNCTION return_payment(step jsonb) RETURNS jsonb LANGUAGE plpgsql SET search_path = public AS '
	DECLARE
		paid text := step ->> ''result'';
		t keep.transfer_result;
	BEGIN
		SELECT * INTO t FROM keep.reverse_transfer(''tills'', paid || ''/back'', paid);
		IF t.status <> ''posted'' THEN RAISE EXCEPTION ''%'', t.reason; END IF;
		RETURN to_jsonb(t.id);
	END'"
shows 'The second takes the payment, by a transfer, and its compensation reverses it.' "$ANSWER" = 'CREATE FUNCTION'
sql setup "SELECT keep.create_saga_log('order_sagas')"
shows 'A saga log is two ordinary tables, of sagas and of steps.' "$(field create_saga_log)" = order_sagas

# The carrier, a service of others, which does each thing once for a key.
declare -A parcels=()
carrier() {
	local had=${parcels[$2]:-}
	case $1:$had in
		book:) parcels[$2]=booked ;;
		cancel:*) parcels[$2]=cancelled ;;
	esac
	printf '\n    (%s at the carrier, for %s: it was %s, it is %s)\n' "$1" "$2" "${had:-unknown}" "${parcels[$2]}"
}
stock_step() {
	printf "SELECT * FROM keep.run_step('order_sagas', '%s', 'stock', 'reserve_stock(jsonb)', '{\"article\": \"lamp\"}', 'return_stock(jsonb)')" "$1"
}
payment_step() {
	printf "status, result, replayed FROM keep.run_step('order_sagas', '%s', 'payment', 'take_payment(jsonb)', '{\"id\": \"%s/payment\", \"amount\": 60}', 'return_payment(jsonb)')" "$1" "$1"
}
enter_parcel() {
	printf "SELECT * FROM keep.enter_step('order_sagas', '%s', 'parcel', compensation => 'cancel', lease => '%s')" "$1" "$2"
}
effects() {
	sql auditor "SELECT in_stock, balance AS dora FROM stock, keep.balance('tills', 'dora')"
}

sql app-1 "SELECT state FROM keep.begin_saga('order_sagas', 'order-1', deadline => '1 hour')"
shows 'Dora orders a lamp.' "$(field state)" = running
sql app-1 "$(stock_step order-1)"
shows 'A handler can run only what the owner of the log has allowed (42501).' "$(grep -c '^ERROR:  42501: ' <<<"$ANSWER")" = 1
sql setup "SELECT keep.allow_saga_function('order_sagas', f) FROM unnest(ARRAY['reserve_stock(jsonb)', 'return_stock(jsonb)',
	'take_payment(jsonb)', 'return_payment(jsonb)']::regprocedure[]) f"
sql app-1 "$(stock_step order-1)"
shows 'The owner allows these four, and a lamp is reserved.' "$(field status) $(field result)" = 'done 4'
at_once "SELECT '@', $(payment_step order-1); SELECT pg_sleep(0.3)" app-1 app-2
shows 'Two instances take the payment at the same moment: one does, the other is told that it is done.' \
	"$(grep -c '|done|"order-1/payment"|f$' <<<"$ANSWER") $(grep -c '|done|"order-1/payment"|t$' <<<"$ANSWER")" = '1 1'
effects
shows 'One lamp and 60 are gone.' "$(field in_stock) $(field dora)" = '4 40'

sql app-1 "$(enter_parcel order-1 '1 minute')"
shows 'The carrier is called between two calls.' "$(field status)" = run
token=$(field token)
sql app-2 "$(enter_parcel order-1 '1 minute')"
shows 'Meanwhile nobody else should.' "$(field status)" = busy
sql app-1 "SELECT status FROM keep.leave_step('order_sagas', 'order-1', 'parcel', $token, false, '{\"error\": \"no such address\"}')"
shows 'The carrier says no.' "$(field status)" = failed
cut_off app-1 "SELECT * FROM keep.compensate_saga('order_sagas', 'order-1')"
effects
shows 'The way back is cut off before its commit: nothing has happened.' "$(field in_stock) $(field dora)" = '4 40'
sql app-2 "SELECT * FROM keep.compensate_saga('order_sagas', 'order-1')"
shows 'Another instance does it: first the payment is sent back, then the lamp put back.' "$(field state) $(field pending_remote)" = 'compensated 0'
effects
shows 'All is as it was before.' "$(field in_stock) $(field dora)" = '5 100'
sql app-1 "SELECT * FROM keep.compensate_saga('order_sagas', 'order-1')"
shows 'Once more, and ...' "$(field state)" = compensated
effects
shows '... nothing is given back twice.' "$(field in_stock) $(field dora)" = '5 100'

chapter 'An order whose handlers die half-way'

sql app-1 "SELECT state FROM keep.begin_saga('order_sagas', 'order-2', deadline => '5 seconds')"
shows 'The next order. If it is not through in time, it is to be undone.' "$(field state)" = running
sql app-1 "$(stock_step order-2)"
shows 'A lamp is reserved ...' "$(field status)" = 'done'
lose_reply app-1 "SELECT $(payment_step order-2)"
sql app-2 "$(stock_step order-2)"
shows '... and the first handler is killed. A second one gets the order, and does the same again: the lamp is reserved already.' \
	"$(field status) $(field replayed)" = 'done t'
sql app-2 "SELECT $(payment_step order-2)"
shows 'So is the payment taken. No call needs to know how far the other came.' "$(field status) $(field replayed)" = 'done t'
sql app-2 "$(enter_parcel order-2 '2 seconds')"
shows 'Now the carrier.' "$(field status)" = run
zombie=$(field token)
carrier book order-2/parcel
shows 'The parcel is booked, and the second handler dies before it can say so.' "${parcels[order-2/parcel]}" = booked

pause 5.2
sql cron "CALL keep.run_due_compensations('order_sagas')"
sql auditor "SELECT state, waits_for FROM order_sagas WHERE saga = 'order-2'"
shows 'Nobody came back in time. A job finds the saga and turns it round.' "$(field state) $(field waits_for)" = 'compensating remote'
effects
shows 'The parcel may have been booked, as nobody knows, so it comes first: nothing else is undone yet.' "$(field in_stock) $(field dora)" = '4 40'

claim="SELECT saga, step, compensation, token FROM keep.claim_compensations('order_sagas', '%s', lease => '2 seconds')"
# shellcheck disable=SC2059  # the format is above
sql worker-1 "$(printf "$claim" worker-1)"
shows 'A worker takes what is to be done elsewhere.' "$(field saga) $(field step) $(field compensation)" = 'order-2 parcel cancel'
late=$(field token)
# shellcheck disable=SC2059
sql worker-2 "$(printf "$claim" worker-2)"
shows 'A second worker gets nothing meanwhile.' "$(field saga)" = ''
carrier cancel order-2/parcel
pause 2.2
# shellcheck disable=SC2059
sql worker-2 "$(printf "$claim" worker-2)"
shows 'The first worker dies as well. When its lease is over the second takes over.' "$(field saga) $(field step)" = 'order-2 parcel'
token=$(field token)
carrier cancel order-2/parcel
sql worker-2 "SELECT state FROM keep.finish_compensation('order_sagas', 'order-2', 'parcel', $token, true)"
shows 'It cancels what was booked under that key, and says so.' "$(field state) ${parcels[order-2/parcel]}" = 'compensating cancelled'
sql worker-1 "SELECT state FROM keep.finish_compensation('order_sagas', 'order-2', 'parcel', $late, false)"
shows 'The first worker has nothing more to say (KP412).' "$(grep -c '^ERROR:  KP412: ' <<<"$ANSWER")" = 1

sql cron "CALL keep.run_due_compensations('order_sagas')"
sql auditor "SELECT state FROM order_sagas WHERE saga = 'order-2'"
shows 'The job does the rest.' "$(field state)" = compensated
effects
shows 'All is as it was before.' "$(field in_stock) $(field dora)" = '5 100'

sql app-2 "SELECT status FROM keep.leave_step('order_sagas', 'order-2', 'parcel', $zombie, true, '{\"parcel\": \"P-2\"}')"
shows 'The second handler was only asleep. What it knows comes too late (KP412) ...' "$(grep -c '^ERROR:  KP412: ' <<<"$ANSWER")" = 1
sql app-2 "SELECT status FROM keep.run_step('order_sagas', 'order-2', 'gift', 'reserve_stock(jsonb)', '{\"article\": \"lamp\"}')"
shows '... and so does its next step: it is refused.' "$(field status)" = refused
effects
shows 'Nothing is half-done.' "$(field in_stock) $(field dora)" = '5 100'
sql auditor "SELECT id, status FROM tills_transfers WHERE id LIKE 'order-2/%' ORDER BY created_at"
shows 'The payment was taken once and sent back once.' "$(grep -c '| posted' <<<"$ANSWER")" = 2
