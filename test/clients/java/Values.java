// How values of each type go in and come out, with JDBC.
import java.sql.*;

class Values {
    static String values(Connection db) throws SQLException {
        StringBuilder keys = new StringBuilder();
        long sum = 0;
        // [values]
        // text[] by createArrayOf; interval and jsonb as a string with a cast
        Db.call(db, null, "SELECT status FROM keep.put('types', ?, ?::jsonb, ttl => ?::interval)",
            "a", "{\"n\": 1}", "1 hour");
        try (PreparedStatement statement = db.prepareStatement("SELECT key, value FROM keep.get_many('types', ?)")) {
            statement.setArray(1, db.createArrayOf("text", new String[] {"a", "b"}));
            ResultSet row = statement.executeQuery();
            while (row.next()) {
                keys.append(row.getString("key")).append(" ").append(row.getString("value"));
            }
        }

        // JSON is a string in both directions, so a word has its quotes
        Db.call(db, null, "SELECT status FROM keep.put('types', ?, ?::jsonb)", "list", "[\"x\", \"y\"]");
        Db.call(db, null, "SELECT status FROM keep.put('types', ?, ?::jsonb)", "word", "\"x\"");

        // bigint is a long
        long version = Db.call(db, row -> row.getLong(1), "SELECT version FROM keep.get_entry('types', ?)", "a");
        String swapped = Db.call(db, row -> row.getString(1),
            "SELECT status FROM keep.compare_and_swap('types', ?, ?, ?::jsonb)", "a", version, "{\"n\": 2}");

        // bigint[], jsonb[]
        try (PreparedStatement statement = db.prepareStatement("SELECT id, status, amount"
                + " FROM keep.transfer_many('wallets', ?, ?, ?, ?, metadata => ?)")) {
            statement.setArray(1, db.createArrayOf("text", new String[] {"t-1", "t-2"}));
            statement.setArray(2, db.createArrayOf("text", new String[] {"bank", "bank"}));
            statement.setArray(3, db.createArrayOf("text", new String[] {"till", "till"}));
            statement.setArray(4, db.createArrayOf("bigint", new Long[] {9007199254740993L, 5L}));
            statement.setArray(5, db.createArrayOf("jsonb", new String[] {"{\"for\": \"a\"}", null}));
            ResultSet row = statement.executeQuery();
            while (row.next()) {
                sum += row.getLong("amount");
            }
        }
        // [/values]
        return Db.call(db, row -> row.getString(1), "SELECT jsonb_build_object('read', ?::text, 'swapped', ?::text,"
            + " 'sum', ?::text, 'list', keep.get('types', 'list'), 'word', keep.get('types', 'word'))",
            keys.toString(), swapped, String.valueOf(sum));
    }
}
