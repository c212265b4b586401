// The answer of a handler: an HTTP status and a body in JSON.
record Answer(int status, String body) {
    static Answer error(int status, String message) {
        return new Answer(status, "{\"error\": \"" + message.replace("\\", "\\\\").replace("\"", "\\\"") + "\"}");
    }
}
