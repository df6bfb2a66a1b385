// One of the two servers of the peer: a small chat back end on socket.io, as one would write it for production.
//
// What it does for a message: checks the token (a verified one is kept, as Rookery keeps it), checks that the sender is a
// member (kept too), appends the message to a stream of Redis with AOF, and only then answers 201 and emits it to the
// members' sockets, at this server and, by the redis-streams adapter, at the other. A worker writes the stream to SQLite in
// batches. Requests and frames have the shape of Rookery's, so that the same load test drives both.
//
// What it does not do, and Rookery does: seqs and their order over all members, receipts, idempotency keys, resuming a session
// without loss, rate limits, replicas of a shard and their takeover, moving work between servers. A member who joins later
// gets frames from the next connection on.
//
// What is done in its favour: WebSocket only, no compression, no sticky balancer in front (clients know both servers),
// node:http without a framework, plain-text packets, requests to Redis pipelined by its client, garbage left to V8's defaults.

import { createServer } from 'node:http';
import { createAdapter } from '@socket.io/redis-streams-adapter';
import jwt from 'jsonwebtoken';
import { createClient } from 'redis';
import { Server } from 'socket.io';
import { LOG, endWithParent, metrics, openDatabase, settings } from './process.mjs';

// Bounds. A cache that is full is emptied and fills again; a stream that is full drops its oldest entries, which the worker
// has written long before (LOG_MAX) or the other server has read (ADAPTER_MAX).
const TOKENS_MAX = 100_000;
const CONVERSATIONS_MAX = 100_000;
const LOG_MAX = 1_000_000;
const ADAPTER_MAX = 100_000;
const BODY_MAX = 128 * 1024;
const TEXT_MAX = 16_384;
const PAGE_MAX = 200;

const redis = createClient({ url: settings.redis });
redis.on('error', (error) => console.error(error.message));
await redis.connect();
const database = openDatabase();
const http = createServer({ keepAliveTimeout: 75_000 }, answer);
const io = new Server(http, {
  transports: ['websocket'],
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
  adapter: createAdapter(redis, { maxLen: ADAPTER_MAX, onlyPlaintext: true }),
});

class Refusal extends Error {
  constructor(status, code) {
    super(code);
    Object.assign(this, { status, code });
  }
}

// --- Users and conversations --------------------------------------------------------------------------------------------

const verified = new Map();

// Returns the user of a token.
function userOf(token) {
  const kept = verified.get(token);
  if (kept && kept.exp * 1000 > Date.now()) return kept.sub;
  let claims;
  try {
    claims = jwt.verify(token, settings.secret, { algorithms: ['HS256'] });
  } catch {
    throw new Refusal(401, 'unauthorized');
  }
  if (verified.size >= TOKENS_MAX) verified.clear();
  verified.set(token, claims);
  return claims.sub;
}

const membersOfConversation = database.prepare('SELECT user FROM members WHERE conversation = ?').pluck();
const conversationsOfUser = database.prepare('SELECT conversation FROM members WHERE user = ?').pluck();
const insertMember = database.prepare('INSERT OR IGNORE INTO members (conversation, user) VALUES (?, ?)');
const pageAfter = database.prepare(
  'SELECT number, id, source, text FROM messages WHERE conversation = ? AND number > ? ORDER BY number LIMIT ?',
);
const members = new Map();

function checkMember(conversation, user) {
  let known = members.get(conversation);
  if (!known) {
    known = new Set(membersOfConversation.all(conversation));
    if (known.size === 0) throw new Refusal(404, 'not_found');
    if (members.size >= CONVERSATIONS_MAX) members.clear();
    members.set(conversation, known);
  }
  if (!known.has(user)) throw new Refusal(403, 'not_participant');
}

const create = database.transaction((name, users) => {
  for (const user of users) insertMember.run(name, user);
});

// --- Requests -----------------------------------------------------------------------------------------------------------

async function send(conversation, user, { text }) {
  if (typeof text !== 'string' || Buffer.byteLength(text) > TEXT_MAX) throw new Refusal(400, 'invalid');
  checkMember(conversation, user);
  const at = Date.now();
  const entry = { conversation, source: user, text, at: String(at) };
  const id = await redis.xAdd(LOG, '*', entry, {
    TRIM: { strategy: 'MAXLEN', strategyModifier: '~', threshold: LOG_MAX },
  });
  io.to(conversation).emit('message', { t: 'message', id, conversation, source: user, text, at });
  return { status: 201, body: { id, conversation, at } };
}

function createConversation(user, { name, participants }) {
  if (typeof name !== 'string' || !Array.isArray(participants)) throw new Refusal(400, 'invalid');
  create.immediate(name, [user, ...participants]);
  return { status: 201, body: { name } };
}

function history(conversation, user, query) {
  checkMember(conversation, user);
  const limit = Math.min(Number(query.get('limit') ?? PAGE_MAX), PAGE_MAX);
  const items = pageAfter.all(conversation, Number(query.get('after') ?? 0), limit);
  const next = items.length === limit ? items.at(-1).number : null;
  return { status: 200, body: { items: items.map(({ number, ...item }) => item), next } };
}

async function route(request) {
  const [path, query] = request.url.split('?', 2);
  const user = userOf((request.headers.authorization ?? '').slice('Bearer '.length));
  const [, version, collection, conversation, what] = path.split('/');
  if (version !== 'v1' || collection !== 'conversations') throw new Refusal(404, 'not_found');
  if (request.method === 'POST' && what === 'messages') return send(conversation, user, await json(request));
  if (request.method === 'POST' && conversation === undefined) return createConversation(user, await json(request));
  if (request.method === 'GET' && what === 'events') return history(conversation, user, new URLSearchParams(query));
  throw new Refusal(404, 'not_found');
}

function json(request) {
  return new Promise((resolve, reject) => {
    const chunks = [];
    let bytes = 0;
    request.on('data', (chunk) => {
      bytes += chunk.length;
      if (bytes > BODY_MAX) reject(new Refusal(413, 'too_large'));
      else chunks.push(chunk);
    });
    request.on('error', reject);
    request.on('end', () => {
      try {
        resolve(JSON.parse(chunks.length === 1 ? chunks[0] : Buffer.concat(chunks)));
      } catch {
        reject(new Refusal(400, 'invalid'));
      }
    });
  });
}

async function answer(request, response) {
  if (request.url === '/metrics') {
    response.end(metrics());
    return;
  }
  let answered;
  try {
    answered = await route(request);
  } catch (error) {
    if (!(error instanceof Refusal)) console.error(error);
    const code = error instanceof Refusal ? error.code : 'unavailable';
    answered = { status: error.status ?? 503, body: { code } };
  }
  const body = JSON.stringify(answered.body);
  response.writeHead(answered.status, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) });
  response.end(body);
}

// --- Sockets ------------------------------------------------------------------------------------------------------------

io.use((socket, next) => {
  try {
    socket.data.user = userOf(socket.handshake.auth.token);
    next();
  } catch (error) {
    next(error);
  }
});

io.on('connection', (socket) => {
  socket.join(conversationsOfUser.all(socket.data.user));
  // What is emitted from now on arrives.
  socket.emit('ready', { t: 'ready' });
});

process.on('SIGTERM', () => process.exit(0));
endWithParent();
http.listen(settings.port, '127.0.0.1');
