// Starts Redis, two servers and the worker, writes the ready file, and ends them all.

import { randomBytes } from 'node:crypto';
import { spawn } from 'node:child_process';
import { mkdirSync, openSync, renameSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { createClient } from 'redis';

const SERVERS = 2;
const START_MS = 30_000;
const STOP_MS = 10_000;

const { values: options } = parseArgs({
  options: {
    data: { type: 'string' },
    'ready-file': { type: 'string' },
    'redis-server': { type: 'string' },
    'redis-conf': { type: 'string' },
  },
});
if (!options.data) {
  console.error('socketio: --data FOLDER is needed');
  process.exit(64);
}
mkdirSync(options.data, { recursive: true });

const here = dirname(fileURLToPath(import.meta.url));
const children = new Map();
let ending = false;

// Ends everything, the servers before Redis; whoever does not end in time is killed.
async function end(code) {
  if (ending) return;
  ending = true;
  for (const [name, child] of [...children].reverse()) {
    if (child.exitCode !== null || child.signalCode !== null) continue;
    const ended = new Promise((resolve) => child.once('exit', resolve));
    child.kill('SIGTERM');
    const late = setTimeout(() => child.kill('SIGKILL'), STOP_MS);
    await ended;
    clearTimeout(late);
    children.delete(name);
  }
  process.exit(code);
}
for (const signal of ['SIGTERM', 'SIGINT']) process.on(signal, () => end(0));

function start(name, program, args) {
  const log = openSync(join(options.data, `${name}.log`), 'a');
  // The pipe is never written to: a child sees by its end that this process is gone, however it went.
  const child = spawn(program, args, { stdio: ['pipe', log, log], cwd: options.data });
  children.set(name, child);
  const tell = (why) => {
    if (ending) return;
    console.error(`socketio: ${name} ended (${why}); see ${join(options.data, `${name}.log`)}`);
    end(1);
  };
  child.once('error', (error) => tell(error.message));
  child.once('exit', (code, signal) => tell(code ?? signal));
  return child;
}

// A port that nobody had a moment ago.
function freePort() {
  return new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once('error', reject);
    probe.listen(0, '127.0.0.1', () => {
      const { port } = probe.address();
      probe.close(() => resolve(port));
    });
  });
}

async function until(what, check) {
  const deadline = Date.now() + START_MS;
  while (!(await check().catch(() => false))) {
    if (Date.now() > deadline) throw new Error(`not within ${START_MS / 1000} s: ${what}`);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function startAll() {
  const redisPort = await freePort();
  const flags = ['--port', String(redisPort), '--bind', '127.0.0.1', '--dir', options.data];
  start('redis', options['redis-server'], [options['redis-conf'], ...flags]);
  const redis = `redis://127.0.0.1:${redisPort}`;
  await until('Redis answers', async () => {
    const client = createClient({ url: redis, socket: { reconnectStrategy: false } });
    client.on('error', () => {});
    await client.connect();
    const answer = await client.ping();
    client.destroy();
    return answer === 'PONG';
  });

  const secret = randomBytes(32).toString('hex');
  const processes = [];
  const startNode = async (name, file, extra) => {
    const port = await freePort();
    const settings = JSON.stringify({ port, redis, database: join(options.data, 'chat.db'), ...extra });
    const child = start(name, process.execPath, [join(here, file), settings]);
    const address = `127.0.0.1:${port}`;
    await until(`${name} answers`, async () => (await fetch(`http://${address}/metrics`)).ok);
    processes.push({ name, pid: child.pid, address });
    return address;
  };
  // The worker first: it makes the tables.
  await startNode('worker', 'worker.mjs', {});
  const clients = [];
  for (let number = 1; number <= SERVERS; number++) {
    clients.push(await startNode(`server-${number}`, 'server.mjs', { secret }));
  }
  return { clients, processes, redis: [`127.0.0.1:${redisPort}`], secret };
}

try {
  const ready = await startAll();
  if (options['ready-file']) {
    writeFileSync(`${options['ready-file']}.new`, JSON.stringify(ready), { mode: 0o600 });
    renameSync(`${options['ready-file']}.new`, options['ready-file']);
  } else {
    console.log(JSON.stringify(ready, null, 2));
  }
} catch (error) {
  console.error(`socketio: ${error.message}`);
  await end(1);
}
