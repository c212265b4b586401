// Handlers on a request log, with JDBC.
import java.sql.*;

class Payments {
    // [pay]
    record Request(String state, long token, String checkpoint, int status, String body) {
    }

    // POST /payments with an Idempotency-Key: charges a card at a provider, at most once a key.
    static Answer pay(Connection db, String key, String body, String lease, String wait, String onLapse)
            throws SQLException {
        if (!Db.isKey(key)) {
            return Answer.error(400, "the key must be 1 to 1024 bytes long");
        }
        try {
            Request request = Db.call(db,
                row -> new Request(row.getString(1), row.getLong(2), row.getString(3), row.getInt(4), row.getString(5)),
                "SELECT state, token, checkpoint, response ->> 'status', response -> 'body'"
                + " FROM keep.begin_request('requests', ?, ?::jsonb, lease => ?::interval, wait => ?::interval,"
                + " on_lapse => ?)",
                key, body, lease, wait, onLapse);
            switch (request.state) {
                case "completed":
                case "failed":
                    return new Answer(request.status, request.body);    // what was answered the first time
                case "in_flight":
                    return Answer.error(409, "in progress, ask again");
                default:                                                // started, resumed
                    return charge(db, key, body, request, onLapse);
            }
        } catch (SQLException error) {
            switch (String.valueOf(error.getSQLState())) {
                case "KP412":                               // our lease was over, and someone took over
                    return Answer.error(409, "in progress, ask again");
                case "KP422":
                    return Answer.error(422, "this key was used for another request");
                case "KP423":
                    return Answer.error(423, "outcome unknown, we look into it");
                default:
                    throw error;
            }
        }
    }

    static Answer charge(Connection db, String key, String body, Request request, String onLapse)
            throws SQLException {
        String charged = request.checkpoint;                // from an attempt that got so far
        if (charged == null) {
            try {
                Remote.Reply reply = Remote.charge(key, body);          // outside of any transaction
                if (reply.refused()) {                      // declined, for good
                    Db.call(db, null, "SELECT keep.fail_request('requests', ?, ?,"
                        + " jsonb_build_object('status', 402, 'body', ?::jsonb))", key, request.token, reply.body());
                    return new Answer(402, reply.body());
                }
                charged = reply.body();
            } catch (Remote.NoAnswer error) {
                // It may have been charged. The provider knows our key and may be asked again; else nobody may.
                if (onLapse.equals("reclaim")) {
                    Db.call(db, null, "SELECT keep.release_request('requests', ?, ?)", key, request.token);
                }
                return Answer.error(503, "no answer from the provider");
            }
            Db.call(db, null, "SELECT keep.checkpoint_request('requests', ?, ?, ?::jsonb)",
                key, request.token, charged);
        }
        String answer = charged;
        Db.transaction(db, () -> {                          // our own data and the outcome: both or none
            Db.execute(db, null, "INSERT INTO payments (request, amount, charge)"
                + " SELECT ?, (?::jsonb ->> 'amount')::bigint, ?::jsonb ->> 'charge'", key, body, answer);
            return Db.execute(db, null, "SELECT keep.complete_request('requests', ?, ?,"
                + " jsonb_build_object('status', 201, 'body', ?::jsonb))", key, request.token, answer);
        });
        return new Answer(201, answer);
    }
    // [/pay]

    // [signup]
    // POST /signups with an Idempotency-Key: all of it is in the database, so one call does.
    static Answer signUp(Connection db, String key, String body) throws SQLException {
        if (!Db.isKey(key)) {
            return Answer.error(400, "the key must be 1 to 1024 bytes long");
        }
        try {
            return Db.call(db, row -> new Answer(row.getInt(1), row.getString(2)),
                "SELECT response ->> 'status', response -> 'body'"
                + " FROM keep.call_once('requests', ?, 'sign_up(jsonb)', ?::jsonb)", key, body);
        } catch (SQLException error) {
            if (!"KP422".equals(error.getSQLState())) {
                throw error;
            }
            return Answer.error(422, "this key was used for another request");
        }
    }
    // [/signup]
}
