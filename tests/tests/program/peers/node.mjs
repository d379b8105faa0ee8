// A client of Node's `http2` module: node node.mjs URL. Exits with 0 if all went well.

import assert from 'node:assert/strict';
import { once } from 'node:events';
import http2 from 'node:http2';
import { createInterface } from 'node:readline';

const url = process.argv[2];
const { NGHTTP2_CANCEL, NGHTTP2_NO_ERROR } = http2.constants;
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();

async function connect() {
    // Node resets streams itself while the content that it has still to send takes more than 10 MB.
    const session = http2.connect(url, { rejectUnauthorized: false, maxSessionMemory: 100 });
    await Promise.all([once(session, 'connect'), once(session, 'remoteSettings')]);
    assert.equal(session.alpnProtocol, url.startsWith('https:') ? 'h2' : 'h2c');
    return session;
}

/** Opens a stream. `answered` is its answer: status, head, content and trailers. */
function open(session, method, path, fields = {}, options = {}) {
    const stream = session.request({ ':method': method, ':path': path, ...fields }, options);
    stream.answered = (async () => {
        let trailers;
        stream.on('trailers', (fields) => { trailers = fields; });
        const [head] = await once(stream, 'response');
        const pieces = [];
        stream.on('data', (piece) => pieces.push(piece));
        await once(stream, 'end');
        return { status: head[':status'], head, content: Buffer.concat(pieces), trailers };
    })();
    return stream;
}

function get(session, path) {
    return open(session, 'GET', path).end().answered;
}

function post(session, path, content, fields, options) {
    return open(session, 'POST', path, fields, { endStream: false, ...options }).end(content).answered;
}

/** Begins a download, and pauses it within its content. What it returns finishes it. */
async function pausedDownload(session, length) {
    const stream = session.request({ ':path': `/bytes/${length}` });
    let received = 0;
    stream.on('data', (piece) => { received += piece.length; });
    await once(stream, 'data');
    stream.pause();
    return async () => {
        stream.resume();
        await once(stream, 'end');
        assert.equal(received, length);
    };
}

const session = await connect();
assert.equal(session.remoteSettings.enableConnectProtocol, true);

// Many requests at once.
const answers = await Promise.all([...Array(100).keys()].map((n) => get(session, `/bytes/${n * 100}`)));
answers.forEach(({ status, content }, n) => assert.deepEqual([status, content.length], [200, n * 100]));
assert.equal((await get(session, '/nowhere')).status, 404);

// Large content in each direction, and in both at once.
const large = Buffer.from(Array.from({ length: 1_000_000 }, (_, n) => (n * n) % 251));
assert.equal((await get(session, '/bytes/3000000')).content.length, 3_000_000);
assert.equal((await post(session, '/sink', large)).content.toString(), '1000000');
assert.equal((await post(session, '/sink', large, { 'content-length': 1_000_000 })).content.toString(), '1000000');
assert.equal((await post(session, '/lazy/50', large)).content.toString(), '1000000');
const echoes = await Promise.all([1, 2, 3].map(() => post(session, '/echo', large)));
echoes.forEach(({ content }) => assert(content.equals(large), `${content.length} bytes`));

const { head, content } = await open(session, 'HEAD', '/bytes/1000').end().answered;
assert.deepEqual([head[':status'], head['content-length'], content.length], [200, '1000', 0]);

// Trailers, which come back with the content.
const counted = open(session, 'POST', '/echo', {}, { endStream: false, waitForTrailers: true });
counted.on('wantTrailers', () => counted.sendTrailers({ checksum: 'abc' }));
const echo = await counted.end('counted').answered;
assert.deepEqual([echo.content.toString(), echo.trailers?.checksum], ['counted', 'abc']);

// 100 (Continue).
const hesitant = open(session, 'POST', '/sink', { expect: '100-continue' }, { endStream: false });
await once(hesitant, 'continue');
assert.equal((await hesitant.end('12345').answered).content.toString(), '5');

// A websocket (RFC 8441): a message with the mask 0 comes back without it.
const websocket = session.request({
    ':method': 'CONNECT', ':protocol': 'websocket', ':path': '/ws', 'sec-websocket-version': '13',
}, { endStream: false });
assert.equal((await once(websocket, 'response'))[0][':status'], 200);
websocket.write(Buffer.concat([Buffer.from([0x81, 0x85, 0, 0, 0, 0]), Buffer.from('hello')]));
assert.equal((await once(websocket, 'data'))[0].toString('latin1'), '\x81\x05hello');
websocket.write(Buffer.from([0x88, 0x80, 0, 0, 0, 0]));
assert.equal((await once(websocket, 'data'))[0].toString('latin1').slice(0, 1), '\x88');
websocket.end();
await once(websocket, 'close');

// Requests that are cancelled within their answer, and within their content.
for (const [method, path] of [['GET', '/bytes/1000000000000'], ['POST', '/echo'], ['POST', '/sink']]) {
    const stream = session.request({ ':method': method, ':path': path }, { endStream: method == 'GET' });
    if (method == 'POST') {
        stream.write(large.subarray(0, 1000));
    }
    if (path != '/sink') {
        await once(stream, 'data');
    }
    stream.close(NGHTTP2_CANCEL);
    await once(stream, 'close');
}
await new Promise((done, fail) => session.ping((error) => (error ? fail(error) : done())));

// A smaller window for streams, also for those that are open.
const finish = await pausedDownload(session, 300_000);
await new Promise((done) => session.settings({ initialWindowSize: 5000 }, done));
await finish();
await new Promise((done) => session.settings({ initialWindowSize: 65_535 }, done));
assert.equal((await get(session, '/bytes/300000')).content.length, 300_000);

// The server drains while requests are in progress: all of them are answered.
const idle = await connect();
const upload = open(session, 'POST', '/sink', {}, { endStream: false });
upload.write(large);
const finishDownload = await pausedDownload(session, 1_000_000);
const chat = session.request({ ':method': 'POST', ':path': '/echo' }, { endStream: false });
chat.write('before');
assert.equal((await once(chat, 'data'))[0].toString(), 'before');
const leaving = [session, idle].map(async (session) => {
    const [code] = await once(session, 'goaway');
    assert.equal(code, NGHTTP2_NO_ERROR);
});
const left = [session, idle].map((session) => once(session, 'close'));
console.log('busy');
assert.equal((await lines.next()).value, 'elsewhere');
await Promise.all(leaving);
assert.throws(() => session.request({ ':path': '/hello' }), { code: 'ERR_HTTP2_GOAWAY_SESSION' });
chat.end('after');
assert.equal((await once(chat, 'data'))[0].toString(), 'after');
assert.equal((await upload.end('rest').answered).content.toString(), '1000004');
await finishDownload();
await Promise.all(left);

const other = await connect();
assert.equal((await get(other, '/hello')).content.toString(), 'Hello, world!');
other.close();
await once(other, 'close');
process.exit(0);
