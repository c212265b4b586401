// The connection of the JDBC handlers, and how their calls are repeated.

// [db]
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.util.Properties;
import java.util.concurrent.ThreadLocalRandom;

class Db {
    interface Work<T> {
        T run() throws SQLException;
    }

    interface Reader<T> {
        T read(ResultSet row) throws SQLException;
    }

    static Connection connect(String host, String port, String database) throws SQLException {
        Properties properties = new Properties();
        properties.setProperty("user", System.getenv("PGUSER"));
        properties.setProperty("password", System.getenv("PGPASSWORD"));
        properties.setProperty("prepareThreshold", "0");    // no named statements: for PgBouncer before 1.21
        return DriverManager.getConnection("jdbc:postgresql://" + host + ":" + port + "/" + database, properties);
    }

    static boolean isKey(String key) {
        return !key.isEmpty() && key.getBytes(StandardCharsets.UTF_8).length <= 1024 && key.indexOf('\0') < 0;
    }

    // A serialization failure or a deadlock has changed nothing: do it again.
    static <T> T retry(Work<T> work) throws SQLException {
        for (int attempt = 1;; attempt++) {
            try {
                return work.run();
            } catch (SQLException error) {
                boolean again = "40001".equals(error.getSQLState()) || "40P01".equals(error.getSQLState());
                if (!again || attempt == 10) {
                    throw error;
                }
                sleep(ThreadLocalRandom.current().nextLong(10L << attempt));
            }
        }
    }

    // One statement, which is a transaction of its own where autocommit is on. Reads its first row.
    static <T> T call(Connection db, Reader<T> reader, String sql, Object... values) throws SQLException {
        return retry(() -> execute(db, reader, sql, values));
    }

    // Several statements in one transaction.
    static void transaction(Connection db, Work<Void> work) throws SQLException {
        retry(() -> {
            db.setAutoCommit(false);
            try {
                work.run();
                db.commit();
            } catch (Throwable error) {                 // whatever it is: setAutoCommit(true) commits what is left open
                try {
                    db.rollback();
                    db.setAutoCommit(true);
                } catch (SQLException broken) {
                    db.close();
                }
                throw error;
            }
            db.setAutoCommit(true);
            return null;
        });
    }

    static <T> T execute(Connection db, Reader<T> reader, String sql, Object... values) throws SQLException {
        try (PreparedStatement statement = db.prepareStatement(sql)) {
            for (int i = 0; i < values.length; i++) {
                statement.setObject(i + 1, values[i]);
            }
            if (!statement.execute()) {
                return null;
            }
            try (ResultSet row = statement.getResultSet()) {
                return reader != null && row.next() ? reader.read(row) : null;
            }
        }
    }

    private static void sleep(long milliseconds) {
        try {
            Thread.sleep(milliseconds);
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }
}
// [/db]
