# Chapter: put_if_absent raced by twenty connections; there is one winner, and all learn who it is.
# shellcheck shell=bash
chapter 'Twenty want the same thing, one gets it'

sql setup "SELECT keep.create_store('seats')"
shows 'One entry for each seat that is taken.' "$(field create_store)" = seats

mapfile -t guests < <(seq -f 'guest-%02.0f' 20)
at_once "SELECT '@', status, value FROM keep.put_if_absent('seats', '12A', '{\"guest\": \"@\"}')" "${guests[@]}"
shows 'Of twenty connections at once, one created the entry.' "$(grep -c '|created|' <<<"$ANSWER")" = 1
shows 'The other nineteen are told that it exists.' "$(grep -c '|exists|' <<<"$ANSWER")" = 19
shows 'And all twenty name the same winner.' "$(cut -d '|' -f 3 <<<"$ANSWER" | sort -u | wc -l)" = 1

winner=$(grep '|created|' <<<"$ANSWER" | cut -d '|' -f 1)
sql app "SELECT keep.get('seats', '12A')"
shows "The seat is $winner's." "$(field get)" = "{\"guest\": \"$winner\"}"
