import com.google.gson.JsonArray;
import com.google.gson.JsonObject;
import com.google.gson.JsonParser;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.net.http.WebSocket;
import java.time.Duration;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CompletionStage;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;

/**
 * Alice and bob talk: alice over REST, bob over a WebSocket, both with what Java has of its own (and Gson), from docs/api.md alone.
 *
 * <p>Needs ROOKERY_URL, TOKEN_ALICE and TOKEN_BOB.
 */
final class Client {
    private static final String URL = System.getenv("ROOKERY_URL");
    private static final Duration DEADLINE = Duration.ofSeconds(20);
    private static final HttpClient HTTP = HttpClient.newBuilder().connectTimeout(DEADLINE).build();

    /** Asks as alice; the body is null for a GET. */
    private static HttpResponse<String> ask(String path, JsonObject body, String... headers) throws Exception {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(URL + path)).timeout(DEADLINE)
            .header("Authorization", "Bearer " + System.getenv("TOKEN_ALICE"));
        if (headers.length > 0) {
            request.headers(headers);
        }
        if (body != null) {
            request.header("Content-Type", "application/json").POST(BodyPublishers.ofString(body.toString()));
        }
        return HTTP.send(request.build(), BodyHandlers.ofString());
    }

    /** The body of an answer with this status; a problem says in its detail what to do. */
    private static JsonObject expect(int status, HttpResponse<String> answer) {
        check(answer.statusCode() == status, answer.statusCode() + " " + answer.body());
        return JsonParser.parseString(answer.body()).getAsJsonObject();
    }

    private static void check(boolean holds, Object otherwise) {
        if (!holds) {
            throw new IllegalStateException(otherwise.toString());
        }
    }

    /** One WebSocket: a frame may come in several parts. */
    private static final class Session implements WebSocket.Listener {
        private final BlockingQueue<JsonObject> frames = new LinkedBlockingQueue<>();
        private final StringBuilder parts = new StringBuilder();
        private final WebSocket socket;

        /** Connects with the token in the subprotocols, as a browser has to, and waits until everything arrives. */
        Session(String token) throws Exception {
            URI uri = URI.create(URL.replaceFirst("http", "ws") + "/v1/ws");
            socket = HTTP.newWebSocketBuilder().connectTimeout(DEADLINE)
                .subprotocols("rookery.v1", "rookery.bearer." + token)
                .buildAsync(uri, this).get(DEADLINE.toSeconds(), TimeUnit.SECONDS);
            check(socket.getSubprotocol().equals("rookery.v1"), socket.getSubprotocol());
            next("ready");
        }

        @Override
        public CompletionStage<?> onText(WebSocket socket, CharSequence part, boolean last) {
            parts.append(part);
            if (last) {
                frames.add(JsonParser.parseString(parts.toString()).getAsJsonObject());
                parts.setLength(0);
            }
            socket.request(1);
            return null;
        }

        /** The next frame of this kind. Others are skipped, those of a newer server among them. */
        JsonObject next(String kind) throws InterruptedException {
            while (true) {
                JsonObject frame = frames.poll(DEADLINE.toSeconds(), TimeUnit.SECONDS);
                check(frame != null, "no " + kind + " frame in time");
                String t = frame.get("t").getAsString();
                check(!t.equals("error"), frame);
                if (t.equals(kind)) {
                    return frame;
                }
            }
        }

        void send(JsonObject frame) {
            socket.sendText(frame.toString(), true).join();
        }
    }

    public static void main(String[] arguments) throws Exception {
        Session bob = new Session(System.getenv("TOKEN_BOB"));

        JsonArray participants = new JsonArray();
        participants.add("bob");
        JsonObject wanted = new JsonObject();
        wanted.add("participants", participants);
        wanted.addProperty("title", "Java");
        JsonObject conversation = expect(201, ask("/v1/conversations", wanted));
        String path = "/v1/conversations/" + conversation.get("name").getAsString();

        // Under a key of its own a send may be repeated after any error: there will be one message.
        String key = UUID.randomUUID().toString();
        JsonObject message = new JsonObject();
        message.addProperty("text", "noon?");
        JsonObject sent = expect(201, ask(path + "/messages", message, "Idempotency-Key", key));
        JsonObject again = expect(200, ask(path + "/messages", message, "Idempotency-Key", key));
        check(sent.equals(again), sent + " and " + again);

        JsonObject received = bob.next("message");
        check(received.get("id").equals(sent.get("id")) && received.get("source").getAsString().equals("alice"), received);

        JsonObject answer = new JsonObject();
        answer.addProperty("t", "send");
        answer.addProperty("ref", 1);
        answer.add("conversation", conversation.get("name"));
        answer.addProperty("text", "noon.");
        answer.add("reply_to", sent.get("id"));
        bob.send(answer);
        check(bob.next("ok").get("ref").getAsInt() == 1, "the answer to bob's frame repeats its ref");
        bob.socket.sendClose(WebSocket.NORMAL_CLOSURE, "").join();

        JsonArray items = expect(200, ask(path + "/messages", null)).getAsJsonArray("items");
        JsonObject newest = items.get(0).getAsJsonObject();
        check(items.size() == 2 && newest.get("reply_to").equals(sent.get("id")), items);

        JsonObject refused = expect(403, ask("/v1/conversations/not-theirs", null));
        check(refused.get("code").getAsString().equals("not_participant"), refused);
        System.out.println("seq " + newest.get("seq") + ": " + newest.get("text").getAsString());
    }
}
