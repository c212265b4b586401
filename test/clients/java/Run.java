// Carries out the calls of the test: a line in is a call with its arguments, a line out its answer, parted by tabs.
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.sql.*;
import java.util.HashSet;
import java.util.Set;

class Run {
    private static Connection db;

    public static void main(String[] args) throws Exception {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = in.readLine(); line != null; line = in.readLine()) {
            Answer answer;
            try {
                if (db == null || db.isClosed()) {
                    db = Db.connect(System.getenv("PGHOST"), System.getenv("PGPORT"), System.getenv("PGDATABASE"));
                }
                answer = call(line.split("\t", -1));
            } catch (SQLException error) {
                answer = Answer.error(500, error.getSQLState() + " " + error.getMessage().replace('\n', ' '));
                answer = new Answer(500, answer.body().substring("{\"error\": ".length(), answer.body().length() - 1));
            } catch (IllegalStateException error) {
                answer = Answer.error(500, error.getMessage());
            }
            System.out.println(answer.status() + "\t" + answer.body());
        }
    }

    private static Answer call(String[] line) throws SQLException {
        switch (line[0]) {
            case "pay":
                return Payments.pay(db, line[1], line[2], given(line, 3, "30 s"), given(line, 4, "0"),
                    given(line, 5, "reclaim"));
            case "signup":
                return Payments.signUp(db, line[1], line[2]);
            case "order":
                return Orders.placeOrder(db, line[1], line[2], given(line, 3, "30 s"), given(line, 4, "10 min"));
            case "worker":
                return new Answer(200, String.valueOf(Orders.compensate(db, line[1], given(line, 2, "1 min"))));
            case "values":
                return new Answer(200, Values.values(db));
            case "pids":
                return new Answer(200, String.valueOf(pids(Integer.parseInt(line[1]))));
            case "halfway":
                Db.transaction(db, () -> {
                    Db.execute(db, null, "INSERT INTO payments (request, amount) VALUES (?, 500)", line[1]);
                    throw new IllegalStateException("an error of the program");
                });
                return null;
            default:
                throw new SQLException("no such call: " + line[0]);
        }
    }

    private static String given(String[] line, int i, String otherwise) {
        return i < line.length && !line[i].isEmpty() ? line[i] : otherwise;
    }

    // The server's processes that carry out some transactions of one connection.
    private static int pids(int count) throws SQLException {
        Set<Integer> found = new HashSet<>();
        for (int i = 0; i < count; i++) {
            found.add(Db.execute(db, row -> row.getInt(1), "SELECT pg_backend_pid()"));
        }
        return found.size();
    }
}
