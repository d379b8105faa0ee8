import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.net.Socket;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpClient.Version;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Scanner;
import java.util.concurrent.CompletableFuture;
import javax.net.ssl.SSLContext;
import javax.net.ssl.SSLEngine;
import javax.net.ssl.TrustManager;
import javax.net.ssl.X509ExtendedTrustManager;

/** A client of Java's java.net.http: java Peer.java URL. Exits with 0 if all went well. */
public class Peer {
    private static String url;
    private static HttpClient client;

    public static void main(String[] arguments) throws Exception {
        url = arguments[0];
        var tls = SSLContext.getInstance("TLS");
        tls.init(null, new TrustManager[] {new Anybody()}, null);
        client = HttpClient.newBuilder().version(Version.HTTP_2).sslContext(tls).build();

        // Over TLS the client asks for HTTP/2 by ALPN. In plaintext it asks by `Upgrade: h2c`, which
        // RFC 9113 has dropped, and the server answers over HTTP/1.1.
        var isTls = url.startsWith("https:");
        var first = send(request("/hello").build());
        same(first.version(), isTls ? Version.HTTP_2 : Version.HTTP_1_1);
        same(text(first), "Hello, world!");

        // Many requests at once.
        var answers = new ArrayList<CompletableFuture<HttpResponse<byte[]>>>();
        for (var n = 0; n < 50; n++) {
            answers.add(client.sendAsync(request("/bytes/" + n * 100).build(), BodyHandlers.ofByteArray()));
        }
        for (var n = 0; n < 50; n++) {
            same(answers.get(n).get().body().length, n * 100);
        }

        // Large content in each direction, of known and of unknown length.
        var large = new byte[1_000_000];
        for (var n = 0; n < large.length; n++) {
            large[n] = (byte) (n / 7);
        }
        same(send(request("/bytes/3000000").build()).body().length, 3_000_000);
        var known = BodyPublishers.ofByteArray(large);
        var unknown = BodyPublishers.ofInputStream(() -> new ByteArrayInputStream(large));
        for (var content : List.of(known, unknown)) {
            same(text(send(request("/sink").POST(content).build())), "1000000");
            same(Arrays.equals(send(request("/echo").POST(content).build()).body(), large), true);
            same(text(send(request("/sink").expectContinue(true).POST(content).build())), "1000000");
        }

        var head = send(request("/bytes/1000").method("HEAD", BodyPublishers.noBody()).build());
        same(head.headers().firstValue("content-length").get(), "1000");
        same(head.body().length, 0);

        // An answer that is cancelled. Over HTTP/2 the connection remains.
        var endless = client.send(request("/bytes/1000000000000").build(), BodyHandlers.ofInputStream());
        endless.body().readNBytes(1_000_000);
        endless.body().close();
        same(text(send(request("/hello").build())), "Hello, world!");
        if (!isTls) {
            System.exit(0);
        }
        same(text(send(request("/status").build())).contains("\"accepted\": 1,"), true);

        // The server drains, and the next requests go elsewhere. A request that is in progress when
        // GOAWAY comes would be answered (RFC 9113 6.8), but Java 17 gives it up by itself. So this
        // client tries again, until the other program, which is new, has answered.
        System.out.println("busy");
        same(new Scanner(System.in).nextLine(), "elsewhere");
        while (!isElsewhere()) {
            Thread.onSpinWait();
        }
        System.exit(0);
    }

    private static boolean isElsewhere() throws Exception {
        try {
            var status = text(send(request("/status").build()));
            return Integer.parseInt(status.replaceAll("(?s).*\"requests\": (\\d+).*", "$1")) < 10;
        } catch (IOException lost) {
            return false;
        }
    }

    private static HttpRequest.Builder request(String path) {
        return HttpRequest.newBuilder(URI.create(url + path));
    }

    private static HttpResponse<byte[]> send(HttpRequest request) throws Exception {
        return client.send(request, BodyHandlers.ofByteArray());
    }

    private static String text(HttpResponse<byte[]> answer) {
        return new String(answer.body());
    }

    private static void same(Object got, Object expected) {
        if (!got.equals(expected)) {
            throw new AssertionError("got " + got + ", expected " + expected);
        }
    }

    /** Accepts every certificate. */
    private static class Anybody extends X509ExtendedTrustManager {
        public void checkClientTrusted(X509Certificate[] chain, String type) {}
        public void checkClientTrusted(X509Certificate[] chain, String type, Socket socket) {}
        public void checkClientTrusted(X509Certificate[] chain, String type, SSLEngine engine) {}
        public void checkServerTrusted(X509Certificate[] chain, String type) {}
        public void checkServerTrusted(X509Certificate[] chain, String type, Socket socket) {}
        public void checkServerTrusted(X509Certificate[] chain, String type, SSLEngine engine) {}
        public X509Certificate[] getAcceptedIssuers() { return new X509Certificate[0]; }
    }
}
