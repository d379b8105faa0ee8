// A server of Node's: answers with what it was sent, and the trailers of the request as trailers.
import http from 'node:http';

const server = http.createServer((request, response) => {
  let length = 0;
  request.on('data', (data) => { length += data.length; });
  request.on('end', () => {
    response.setHeader('Trailer', 'x-sum');
    response.write(JSON.stringify({
      method: request.method, target: request.url, fields: request.headers, length,
    }));
    response.addTrailers({ 'x-sum': request.trailers['x-sum'] ?? 'none' });
    response.end();
  });
});
server.listen(0, '127.0.0.1', () => console.log(`listening on http://127.0.0.1:${server.address().port}`));
