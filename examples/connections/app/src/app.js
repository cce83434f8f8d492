import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';

import { HttpError, toHttpError } from './errors.js';
import { log } from './log.js';
import { routes } from './routes.js';

const MAX_BODY_BYTES = 16 * 1024;
const QUIET = new Set(['/healthz']);

const table = Object.entries(routes).map(([path, methods]) => ({
  pattern: new RegExp(`^${path.replace(/:(\w+)/g, '(?<$1>[^/]+)')}$`),
  methods,
}));

function findHandler(method, path) {
  const route = table.find(({ pattern }) => pattern.test(path));
  if (!route) throw new HttpError(404, 'not_found', `there is nothing at ${path}`);
  const handler = route.methods[method === 'HEAD' ? 'GET' : method];
  if (!handler) {
    const error = new HttpError(405, 'method_not_allowed', `${path} does not answer ${method}`);
    error.headers = { allow: Object.keys(route.methods).join(', ') };
    throw error;
  }
  return { handler, params: { ...route.pattern.exec(path).groups } };
}

async function readBody(request) {
  if (request.method !== 'POST') return undefined;
  if (!/^application\/json\b/i.test(request.headers['content-type'] ?? '')) {
    throw new HttpError(415, 'unsupported_media_type', 'send application/json');
  }
  const chunks = [];
  let bytes = 0;
  for await (const chunk of request) {
    bytes += chunk.length;
    if (bytes > MAX_BODY_BYTES) throw new HttpError(413, 'too_large', `a body has at most ${MAX_BODY_BYTES} bytes`);
    chunks.push(chunk);
  }
  try {
    return JSON.parse(Buffer.concat(chunks).toString('utf8'));
  } catch {
    throw new HttpError(400, 'invalid_json', 'the body is not valid JSON');
  }
}

async function answer(request, url, context) {
  const { handler, params } = findHandler(request.method, url.pathname);
  const body = await readBody(request);
  return handler({ ...context, params, query: url.searchParams, body });
}

/** The HTTP server over a database and a release ({ version, revision, colour }); not yet listening. */
export function createApp(context) {
  const server = createServer(async (request, response) => {
    const started = performance.now();
    const given = request.headers['x-request-id'];
    const requestId = /^[\w.-]{1,64}$/.test(given ?? '') ? given : randomUUID();
    const path = (request.url ?? '/').split('?', 1)[0];
    let result;
    try {
      const url = URL.canParse(request.url, 'http://service') ? new URL(request.url, 'http://service') : null;
      if (!url) throw new HttpError(400, 'invalid_url', 'the request target is not a valid URL');
      result = await answer(request, url, context);
    } catch (error) {
      const httpError = toHttpError(error);
      if (httpError.status >= 500) log('error', 'request failed', { request_id: requestId, reason: error.message });
      result = { status: httpError.status, body: httpError, headers: error.headers };
    }
    const text = JSON.stringify(result.body);
    response.writeHead(result.status, {
      'content-type': 'application/json; charset=utf-8',
      'content-length': Buffer.byteLength(text),
      'cache-control': 'no-store',
      'x-request-id': requestId,
      ...(!server.listening || result.status === 413 ? { connection: 'close' } : {}),
      ...result.headers,
    });
    response.end(request.method === 'HEAD' ? undefined : text);
    if (!QUIET.has(path) || result.status >= 400) {
      const ms = Math.round((performance.now() - started) * 10) / 10;
      log('info', 'request', { request_id: requestId, method: request.method, path, status: result.status, ms });
    }
  });
  // Longer than the load balancer's idle timeout (60 s), else it reuses connections that were just closed: 502.
  server.keepAliveTimeout = 65_000;
  server.headersTimeout = 66_000;
  server.requestTimeout = 30_000;
  return server;
}
