# Chapter: patches to one cart from two connections at the same time; both are kept.
# shellcheck shell=bash
chapter 'Two patches to one cart'

sql setup "SELECT keep.create_store('carts', ttl => '30 days')"
shows 'Carts live for 30 days after the last write.' "$(field create_store)" = carts
sql setup "SELECT * FROM keep.put('carts', 'c:alice', '{\"items\": {\"tea\": 1}}')"
shows 'There is tea in the cart.' "$(field status)" = created

at_once "SELECT status, value FROM keep.merge('carts', 'c:alice', '{\"items\": {\"from-@\": 1}}')" phone laptop
shows 'The phone and the laptop add something at the same time, each without reading first.' \
	"$(grep -c '^updated|' <<<"$ANSWER")" = 2

sql app "SELECT keep.get('carts', 'c:alice')"
shows 'Both additions are in the cart.' "$(field get)" = '{"items": {"tea": 1, "from-phone": 1, "from-laptop": 1}}'
