# Chapter: a request with work at a payment provider: one at a time, a crash between, and a zombie that is refused.
# shellcheck shell=bash
chapter 'A card is charged elsewhere, and a zombie comes back'

sql setup "SELECT keep.create_request_log('card_requests')"
shows 'A log for requests whose work is done by another service.' "$(field create_request_log)" = card_requests

# The provider, a service that knows idempotency keys itself.
declare -A charged=()
charge() {
	if [ -n "${charged[$1]:-}" ]; then
		printf '\n    (the provider knows %s: not charged again)\n' "$1"
	else
		charged[$1]=ch_$((${#charged[@]} + 1))
		printf '\n    (the provider charges the card for %s)\n' "$1"
	fi
}
begin() {
	printf "SELECT * FROM keep.begin_request('card_requests', '%s', '{\"card\": \"dora\", \"amount\": 70}'%s)" "$1" "${2:-}"
}

sql app-1 "$(begin dora/70 ", lease => '3 seconds'")"
shows 'The first instance begins the request, and has it for 3 seconds.' "$(field state)" = started
first=$(field token)
sql app-2 "$(begin dora/70)"
shows 'A second one is told at once that somebody is at it: it answers 409, come back later.' "$(field state) $(field token)" = 'in_flight '

charge dora/70
sql app-1 "SELECT keep.checkpoint_request('card_requests', 'dora/70', $first, '{\"charge\": \"${charged[dora/70]}\"}')"
shows 'The first notes how far it is. Then it falls silent: a long pause, a crash, who knows.' "$(grep -c ERROR <<<"$ANSWER")" = 0

sql app-2 "$(begin dora/70 ", lease => '1 minute', wait => '10 seconds'")"
shows 'A retry waits for it, until its lease is over, and then goes on where it was: the card is charged already.' \
	"$(field state) $(field checkpoint)" = 'resumed {"charge": "ch_1"}'
second=$(field token)
shows 'Its token is greater than that of the one before.' "${second:-0}" -gt "$first"

sql app-1 "SELECT keep.complete_request('card_requests', 'dora/70', $first, '{\"paid\": 0}')"
shows 'The first one wakes up, and would have the last word. It is refused (KP412).' "$(grep -c '^ERROR:  KP412: ' <<<"$ANSWER")" = 1
sql app-1 "SELECT keep.checkpoint_request('card_requests', 'dora/70', $first, '{}')"
shows 'Nor can it spoil the checkpoint.' "$(grep -c '^ERROR:  KP412: ' <<<"$ANSWER")" = 1

lose_reply app-2 "SELECT keep.complete_request('card_requests', 'dora/70', $second, '{\"paid\": 70}')"
sql app-2 "SELECT keep.complete_request('card_requests', 'dora/70', $second, '{\"paid\": 70}')"
shows 'The present holder completes it. Its reply is lost, so it says so twice, which does no harm.' "$(grep -c ERROR <<<"$ANSWER")" = 0
sql app-3 "$(begin dora/70)"
shows 'Everybody who asks from now on has this response.' "$(field state) $(field response)" = 'completed {"paid": 70}'

sql app-1 "$(begin dora/71 ", lease => '1 second'")"
shows 'Another request. This time the instance dies between the charge and the note of it.' "$(field state)" = started
charge dora/71
pause 1.2
sql app-2 "$(begin dora/71 ", on_lapse => 'indeterminate'")"
shows 'Who would rather not guess is told that the outcome is unknown (KP423).' "$(grep -c '^ERROR:  KP423: ' <<<"$ANSWER")" = 1
sql app-2 "$(begin dora/71)"
shows 'Who may ask the provider takes it over; there is no checkpoint.' "$(field state) $(field checkpoint)" = 'resumed '
token=$(field token)
charge dora/71
sql app-2 "SELECT keep.complete_request('card_requests', 'dora/71', $token, '{\"paid\": 70}')"
shows 'It charges again under the same key, and the provider does it once. What is done elsewhere needs the key there, too.' \
	"${#charged[@]}" = 2

sql app-1 "$(begin dora/72 ", lease => '1 hour'")"
token=$(field token)
shows 'A third one ...' "$(field state)" = started
sql app-1 "SELECT keep.release_request('card_requests', 'dora/72', $token)"
sql app-2 "$(begin dora/72)"
shows '... is given up at once, as the provider is down: the next need not wait for the lease.' "$(field state)" = resumed
token=$(field token)
sql app-2 "SELECT keep.fail_request('card_requests', 'dora/72', $token, '{\"error\": \"card declined\"}')"
sql app-3 "$(begin dora/72)"
shows 'A failure that is final stays so for this key.' "$(field state) $(field response)" = 'failed {"error": "card declined"}'
