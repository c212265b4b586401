// The payment provider and the carrier, over HTTP. Both take an idempotency key.
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;

class Remote {
    record Reply(int status, String body) {
        boolean refused() {
            return status >= 400;
        }

        // What {"error": "..."} says.
        String error() {
            return body.replaceFirst(".*\"error\": *\"", "").replaceFirst("\"}.*", "");
        }
    }

    static class NoAnswer extends Exception {
        NoAnswer(String message) {
            super(message);
        }
    }

    private static final HttpClient client = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();

    // The body of the payment is the provider's as well: it takes the card and the amount from it.
    static Reply charge(String key, String body) throws NoAnswer {
        return request("POST", "/charges", key, body);
    }

    static Reply ship(String key, String args) throws NoAnswer {
        return request("POST", "/shipments", key, args);
    }

    static Reply cancel(String shipment, String key) throws NoAnswer {
        return request("DELETE", "/shipments", key, "{\"shipment\": \"" + shipment + "\"}");
    }

    private static Reply request(String method, String path, String key, String body) throws NoAnswer {
        HttpRequest request = HttpRequest.newBuilder(URI.create(System.getenv("REMOTE_URL") + path))
            .header("Idempotency-Key", key).header("Content-Type", "application/json")
            .method(method, BodyPublishers.ofString(body)).build();
        HttpResponse<String> answer;
        try {
            answer = client.send(request, BodyHandlers.ofString());
        } catch (IOException | InterruptedException error) {
            throw new NoAnswer(String.valueOf(error.getMessage()));
        }
        if (answer.statusCode() >= 500) {
            throw new NoAnswer("status " + answer.statusCode());
        }
        return new Reply(answer.statusCode(), answer.body());
    }
}
