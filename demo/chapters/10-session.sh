# Chapter: a login session, loaded by several instances, kept alive by touches, then expired.
# shellcheck shell=bash
chapter 'A login session, shared by instances that remember nothing'

sql app-1 "SELECT keep.create_store('sessions', ttl => '3 seconds', expire_after => 'access')"
shows 'A store is an ordinary table. In this one, what is not used for 3 seconds expires.' \
	"$(field create_store)" = sessions

sql app-1 "SELECT * FROM keep.put('sessions', 's:9f2c', '{\"user\": \"alice\"}')"
shows 'Alice logs in at the first instance.' "$(field status)" = created
first_expiry=$(field expires_at)

pause 2
sql app-2 "SELECT value, expires_at FROM keep.get_and_touch('sessions', 's:9f2c')"
shows 'Another instance loads her session; the same call keeps it alive.' "$(field expires_at)" '>' "$first_expiry"

pause 2
sql app-3 "SELECT value, expires_at FROM keep.get_and_touch('sessions', 's:9f2c')"
shows '4 seconds after the login she is still known, thanks to the touch.' "$(field value)" = '{"user": "alice"}'

pause 3.2
sql app-2 "SELECT value, expires_at FROM keep.get_and_touch('sessions', 's:9f2c')"
shows 'Nobody came for 3 seconds: the session is over.' "$(field value)" = ''

sql app-1 "SELECT count(*) AS rows_on_disk FROM sessions"
shows 'The row is still there. Expired means absent all the same: correctness waits for no clean-up.' \
	"$(field rows_on_disk)" = 1

sql app-1 "SELECT * FROM keep.touch('sessions', 's:9f2c')"
shows 'And no touch brings it back to life.' "$(field status)" = absent
