# Chapter: two writers read the same version; the second one to write is told.
# shellcheck shell=bash
chapter 'Two writers with the same version'

sql setup "SELECT keep.create_store('documents')"
shows 'A store without a ttl: its entries stay.' "$(field create_store)" = documents
sql setup "SELECT * FROM keep.put('documents', 'price-list', '{\"tea\": 4}')"
shows 'Each entry has a version, which every write raises.' "$(field version)" -gt 0

sql writer-1 "SELECT value, version FROM keep.get_entry('documents', 'price-list')"
version=$(field version)
shows 'One writer reads the entry with its version ...' "${version:-0}" -gt 0
sql writer-2 "SELECT value, version FROM keep.get_entry('documents', 'price-list')"
shows '... and another one reads the same.' "$(field version)" = "$version"

sql writer-1 "SELECT * FROM keep.compare_and_swap('documents', 'price-list', $version, '{\"tea\": 5}')"
shows 'The first to write succeeds.' "$(field status)" = updated

sql writer-2 "SELECT * FROM keep.compare_and_swap('documents', 'price-list', $version, '{\"tea\": 6}')"
shows 'The second is told "stale" and gets the current entry: nothing is overwritten unseen.' \
	"$(field status) $(field value)" = 'stale {"tea": 5}'

sql writer-2 "SELECT * FROM keep.compare_and_swap('documents', 'price-list', $(field version), '{\"tea\": 6}')"
shows 'With the version it was handed it can go on at once, without another read.' "$(field status)" = updated
