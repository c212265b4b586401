// A saga and the worker for its remote compensations, with JDBC.
import java.sql.*;
import org.postgresql.util.PSQLException;

class Orders {
    // [order]
    // The order cannot be carried out.
    static class Undo extends Exception {
        Undo(String message) {
            super(message);
        }
    }

    record Step(String status, long token, String result) {
    }

    // PUT /orders/ID: the first attempt and every later one run the same code; what is done is only replayed.
    static Answer placeOrder(Connection db, String order, String body, String lease, String deadline)
            throws SQLException {
        if (!Db.isKey(order)) {
            return Answer.error(400, "the name must be 1 to 1024 bytes long");
        }
        try {
            Db.call(db, null, "SELECT state FROM keep.begin_saga('order_sagas', ?, deadline => ?::interval)",
                order, deadline);
            // An action takes from its arguments what it needs; here each is given those of the whole order.
            String args = Db.call(db, row -> row.getString(1),
                "SELECT ?::jsonb || jsonb_build_object('order', ?::text)", body, order);
            runStep(db, order, "stock", "reserve_stock(jsonb)", args, "return_stock(jsonb)");
            runStep(db, order, "pay", "pay_order(jsonb)", args, "refund_order(jsonb)");

            Step step = Db.call(db, row -> new Step(row.getString(1), row.getLong(2), row.getString(3)),
                "SELECT status, token, result FROM keep.enter_step('order_sagas', ?, 'ship',"
                + " compensation => 'cancel_shipment', args => ?::jsonb, lease => ?::interval)", order, args, lease);
            if (step.status.equals("refused")) {
                throw new Undo("the order was cancelled");
            }
            if (step.status.equals("busy")) {
                return Answer.error(409, "in progress, ask again");
            }
            String parcel = step.status.equals("done") ? step.result : ship(db, order, args, step.token);

            String state = Db.call(db, row -> row.getString(1),
                "SELECT state FROM keep.complete_saga('order_sagas', ?)", order);
            if (state.equals("running")) {                  // another remote step is still open
                return Answer.error(409, "in progress, ask again");
            }
            if (!state.equals("completed")) {
                throw new Undo("the order was cancelled");
            }
            return new Answer(201, parcel);
        } catch (Remote.NoAnswer error) {                   // it may be on its way: the step stays open
            return Answer.error(503, "no answer from the carrier");
        } catch (Undo undo) {
            String state = Db.call(db, row -> row.getString(1),
                "CALL keep.run_compensations('order_sagas', ?)", order);
            if (state.equals("completed")) {                // by others: they had no use for the step that was refused here
                return Db.call(db, row -> new Answer(201, row.getString(1)),
                    "SELECT result FROM order_sagas_steps WHERE saga = ? AND step = 'ship'", order);
            }
            return Answer.error(410, undo.getMessage());
        } catch (SQLException error) {
            switch (String.valueOf(error.getSQLState())) {
                case "KP412":                               // our lease was over, and someone took over
                    return Answer.error(409, "in progress, ask again");
                case "KP422":
                    return Answer.error(422, "this order exists with other contents");
                default:
                    throw error;                            // nothing is decided: a retry goes on from here
            }
        }
    }

    static void runStep(Connection db, String order, String step, String action, String args, String compensation)
            throws SQLException, Undo {
        try {
            String status = Db.call(db, row -> row.getString(1), "SELECT status, result, replayed FROM"
                + " keep.run_step('order_sagas', ?, ?, ?::regprocedure, ?::jsonb, ?::regprocedure)",
                order, step, action, args, compensation);
            if (status.equals("refused")) {
                throw new Undo("the order was cancelled");
            }
        } catch (PSQLException error) {
            if (!"P0001".equals(error.getSQLState())) {
                throw error;
            }
            throw new Undo(error.getServerErrorMessage().getMessage());     // RAISE EXCEPTION: the action says no
        }
    }

    static String ship(Connection db, String order, String args, long token)
            throws SQLException, Undo, Remote.NoAnswer {
        Remote.Reply parcel = Remote.ship(order + "/ship", args);   // saga/step is the carrier's idempotency key
        Db.call(db, null, "SELECT status FROM keep.leave_step('order_sagas', ?, 'ship', ?, ok => ?,"
            + " result => ?::jsonb)", order, token, !parcel.refused(), parcel.body());
        if (parcel.refused()) {
            throw new Undo(parcel.error());
        }
        return parcel.body();
    }
    // [/order]

    // [worker]
    record Task(String saga, String step, String compensation, long token) {
    }

    // Run this every few seconds, in as many processes as you like.
    static int compensate(Connection db, String worker, String lease) throws SQLException {
        Db.call(db, null, "CALL keep.run_due_compensations('order_sagas')");
        for (int done = 0;; done++) {
            Task task = Db.call(db,                         // one at a time, as the lease counts from now
                row -> new Task(row.getString(1), row.getString(2), row.getString(3), row.getLong(4)),
                "SELECT saga, step, compensation, token"
                + " FROM keep.claim_compensations('order_sagas', ?, max => 1, lease => ?::interval)", worker, lease);
            if (task == null) {
                return done;
            }
            boolean ok = false;
            String result = null;
            try {
                if (task.compensation.equals("cancel_shipment")) {  // also where nobody knows whether it was shipped
                    String shipment = task.saga + "/" + task.step;
                    result = Remote.cancel(shipment, shipment + "/undo").body();
                    ok = true;
                }
            } catch (Remote.NoAnswer error) {
                result = Answer.error(503, error.getMessage()).body();  // again later; `stuck` after max_attempts
            }
            try {
                String state = Db.call(db, row -> row.getString(1), "SELECT state FROM"
                    + " keep.finish_compensation('order_sagas', ?, ?, ?, ok => ?, result => ?::jsonb)",
                    task.saga, task.step, task.token, ok, result);
                if (state.equals("compensating")) {
                    Db.call(db, null, "CALL keep.run_compensations('order_sagas', ?)", task.saga);
                }
            } catch (SQLException error) {
                if (!"KP412".equals(error.getSQLState())) {
                    throw error;                            // else our lease was over: another worker has it
                }
            }
        }
    }
    // [/worker]
}
