// The steady scenario for k6, a load generator that others wrote: a cross-check of `loadtest steady`, whose figures it should
// come near. Open loop at one rate; users with a socket each; conversations of some of them; every message to every member.
//
//   k6 run -e URL=http://127.0.0.1:8082 -e SECRET="$(cat data/cluster/jwt-secret)" -e RATE=200 loadtest/k6/steady.js
//
// Settings, with the defaults of `loadtest steady` where it has them: RATE (200), DURATION in seconds (30), USERS (100), MEMBERS
// (10), CONVERSATIONS (16), PAYLOAD (120). It fails, with exit code 99, when a send failed or a delivery did not come.
//
// What it does not do: it reads no history back and judges no order; its clock has whole milliseconds, it counts latency from
// the moment a send started and not from when it was due, and it costs some ten times the processor of `loadtest`.

import encoding from 'k6/encoding';
import crypto from 'k6/crypto';
import http from 'k6/http';
import { check, fail } from 'k6';
import exec from 'k6/execution';
import { WebSocket } from 'k6/experimental/websockets';
import { Counter, Trend } from 'k6/metrics';

const setting = (name, otherwise) => Number(__ENV[name] || otherwise);
const RATE = setting('RATE', 200);
const DURATION = setting('DURATION', 30);
const USERS = setting('USERS', 100);
const MEMBERS = setting('MEMBERS', 10);
const CONVERSATIONS = setting('CONVERSATIONS', 16);
const PAYLOAD = setting('PAYLOAD', 120);
// Sockets are open before the first send, and so long after the last.
const OPENING = 3;
const LEAVING = 3;

const deliver = new Trend('send_to_delivered', true);
const accepted = new Counter('sends_accepted');
const delivered = new Counter('deliveries');
// What is to come: up with each accepted send, down with each delivery.
const missing = new Counter('deliveries_missing');
// Only for its threshold: a socket that ended before the run did.
const ended = new Counter('sockets_ended');

export const options = {
  scenarios: {
    listeners: {
      executor: 'per-vu-iterations',
      exec: 'listen',
      vus: USERS,
      iterations: 1,
      maxDuration: `${OPENING + DURATION + LEAVING + 30}s`,
    },
    senders: {
      executor: 'constant-arrival-rate',
      exec: 'send',
      startTime: `${OPENING}s`,
      rate: RATE,
      timeUnit: '1s',
      duration: `${DURATION}s`,
      preAllocatedVUs: Math.min(1000, Math.max(20, RATE)),
    },
  },
  thresholds: {
    checks: ['rate==1'],
    dropped_iterations: ['count==0'],
    deliveries_missing: ['count==0'],
    sockets_ended: ['count==0'],
  },
  summaryTrendStats: ['med', 'p(90)', 'p(99)', 'max'],
};

// A token of HS256, good for an hour.
function token(user) {
  const part = (value) => encoding.b64encode(JSON.stringify(value), 'rawurl');
  const signed = `${part({ alg: 'HS256', typ: 'JWT' })}.${part({ sub: user, exp: Math.floor(Date.now() / 1000) + 3600 })}`;
  return `${signed}.${crypto.hmac('sha256', __ENV.SECRET, signed, 'base64rawurl')}`;
}

const headers = (bearer) => ({ Authorization: `Bearer ${bearer}`, 'Content-Type': 'application/json' });

// Creates the conversations. Conversation c has the MEMBERS users from c * MEMBERS on, around the end.
export function setup() {
  if (!__ENV.URL || !__ENV.SECRET) fail('URL and SECRET are needed: -e URL=http://host:port -e SECRET=…');
  if (MEMBERS > USERS) fail(`MEMBERS ${MEMBERS} needs at least so many USERS`);
  const run = `k6-${Date.now().toString(16)}`;
  const users = Array.from({ length: USERS }, (_, user) => `${run}-user-${user}`);
  const tokens = users.map(token);
  const conversations = Array.from({ length: CONVERSATIONS }, (_, number) => ({
    name: `${run}-${number}`,
    members: Array.from({ length: MEMBERS }, (_, member) => (number * MEMBERS + member) % USERS),
  }));
  for (const { name, members } of conversations) {
    const participants = members.map((member) => users[member]);
    const body = JSON.stringify({ name, participants });
    const answer = http.post(`${__ENV.URL}/v1/conversations`, body, { headers: headers(tokens[members[0]]) });
    if (answer.status !== 201) fail(`creating a conversation: ${answer.status} ${answer.body}`);
  }
  return { run, tokens, conversations };
}

// One user: counts what comes until some seconds after the last send.
export function listen({ run, tokens }) {
  const user = exec.scenario.iterationInTest;
  let ending = false;
  const socket = new WebSocket(`${__ENV.URL.replace(/^http/, 'ws')}/v1/ws`, null, {
    headers: { Authorization: `Bearer ${tokens[user]}` },
  });
  socket.onmessage = ({ data }) => {
    const now = Date.now();
    const frame = JSON.parse(data);
    if (frame.t !== 'message' || !frame.conversation.startsWith(run)) return;
    deliver.add(now - Number(frame.text.split(' ', 1)[0]));
    delivered.add(1);
    missing.add(-1);
  };
  socket.onclose = () => {
    if (!ending) ended.add(1);
  };
  setTimeout(
    () => {
      ending = true;
      socket.close();
    },
    (OPENING + DURATION + LEAVING) * 1000,
  );
}

// One send, into the conversations in turn, from their members in turn. The text begins with the time.
export function send({ tokens, conversations }) {
  const number = exec.scenario.iterationInTest;
  const { name, members } = conversations[number % CONVERSATIONS];
  const sender = members[Math.floor(number / CONVERSATIONS) % MEMBERS];
  const body = JSON.stringify({ text: `${Date.now()} `.padEnd(PAYLOAD, 'x') });
  const answer = http.post(`${__ENV.URL}/v1/conversations/${name}/messages`, body, {
    headers: headers(tokens[sender]),
    tags: { name: 'send' },
  });
  if (check(answer, { 'a send is answered with 201': (it) => it.status === 201 })) {
    accepted.add(1);
    missing.add(MEMBERS);
  }
}
